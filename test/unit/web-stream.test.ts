/** The live stream: what comes when, to whom, and what becomes of a client that does not read. */
import { describe, expect, test } from "bun:test";
import { endRecord, eventRecord, liveView, PageKit, PASSWORD } from "#test/support/page-kit.ts";
import type { WebAnswer } from "#web/http.ts";
import { guarded } from "#web/web-server.ts";
import { STREAM_CLIENTS_MAX } from "#web/stream.ts";
import { SimClock } from "#test/support/sim-clock.ts";

interface Told {
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** A page that reads what has come so far. */
class Reader {
  readonly #reader: { read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }> };

  constructor(body: WebAnswer["body"]) {
    if (!(body instanceof ReadableStream)) throw new Error(`no stream: ${String(body)}`);
    this.#reader = body.getReader();
  }

  /** Takes what every page is told at first. */
  async greeted(): Promise<this> {
    expect([(await this.next()).type, (await this.next()).type]).toEqual(["hello", "tick"]);
    return this;
  }

  async next(): Promise<Told> {
    for (;;) {
      const { value, done } = await this.#reader.read().catch(() => ({ done: true, value: undefined }));
      if (done) return { type: "closed", data: {} };
      const [, type, data] = /^event: (\S+)\ndata: (.*)\n\n$/.exec(new TextDecoder().decode(value)) ?? [];
      if (type !== undefined && data !== undefined) return { type, data: JSON.parse(data) as Told["data"] };
    }
  }
}

const open = async (kit: PageKit, query = ""): Promise<Reader> =>
  new Reader((await kit.ask(`/api/v1/stream${query}`)).body);

describe("the live stream", () => {
  test("greets with what runs, then tells events, ends, and a tick every second while something runs", async () => {
    const kit = new PageKit();
    kit.live = [liveView(3)];
    const reader = await open(kit);
    expect(await reader.next()).toMatchObject({ type: "hello", data: { boot: "b" } });
    expect(await reader.next()).toMatchObject({ type: "tick", data: { sessions: [{ session: "0a", bytes: 3 }] } });
    kit.app.stream.event(eventRecord({ message: "a\n\nevent: forged\ndata: {}" }));
    expect(await reader.next()).toMatchObject({ type: "event", data: { message: "a\n\nevent: forged\ndata: {}" } });
    kit.app.stream.ended(endRecord());
    expect(await reader.next()).toMatchObject({ type: "ended", data: { outcome: "committed" } });
    kit.live = [liveView(5)];
    kit.app.stream.look();
    expect(await reader.next()).toMatchObject({ type: "tick", data: { sessions: [{ session: "0a", bytes: 5 }] } });
    kit.app.stream.changed("archives");
    kit.app.stream.changed("archives");
    kit.app.stream.look();
    expect(await reader.next()).toEqual({ type: "changed", data: { routes: ["archives"] } });
    expect((await reader.next()).type).toBe("tick");
  });

  test("ticks every five seconds while nothing runs, and tells a session only to who asked for it", async () => {
    const kit = new PageKit();
    const [all, one] = [await open(kit), await open(kit, "?session=0a")];
    await all.greeted();
    await one.greeted();
    for (let i = 0; i < 5; i += 1) kit.app.stream.look();
    kit.app.stream.event(eventRecord());
    expect([(await all.next()).type, (await all.next()).type]).toEqual(["tick", "event"]);
    expect([(await one.next()).type, (await one.next()).type]).toEqual(["tick", "event"]);
    kit.live = [liveView(5)];
    kit.app.stream.look();
    kit.app.stream.event(eventRecord());
    expect([(await all.next()).type, (await all.next()).type]).toEqual(["tick", "event"]);
    expect([(await one.next()).type, await one.next()]).toMatchObject([
      "tick",
      { type: "session", data: { session: "0a", slots: [{ slot: 0, rttMs: 12 }] } },
    ]);
  });

  test("lets go of a client that does not read, and goes on for the others", async () => {
    const kit = new PageKit();
    const [slow, good] = [await open(kit), await open(kit)];
    await good.greeted();
    const message = "x".repeat(100_000);
    for (let i = 0; i < 30; i += 1) {
      kit.app.stream.event(eventRecord({ message }));
      expect((await good.next()).type).toBe("event");
    }
    expect(kit.app.stream.clientCount).toBe(1);
    const seen: string[] = [];
    for (let told = await slow.next(); told.type !== "closed"; told = await slow.next()) seen.push(told.type);
    // Nothing of it is kept for a client that may never read.
    expect(seen).toEqual([]);
  });

  test("tells at most fifty events a second: a storm is in the log", async () => {
    const kit = new PageKit();
    const reader = await (await open(kit)).greeted();
    for (let i = 0; i < 80; i += 1) kit.app.stream.event(eventRecord({ wallMs: i }));
    kit.live = [liveView()];
    kit.app.stream.look();
    const seen: string[] = [];
    for (let told = await reader.next(); told.type !== "tick"; told = await reader.next()) seen.push(told.type);
    expect(seen.filter((type) => type === "event")).toHaveLength(50);
  });

  test("ends for who has logged out, or whose login has ended, and for nobody else", async () => {
    const kit = new PageKit({ password: true });
    const cookie = async (): Promise<string> => (await kit.login(PASSWORD)).headers["set-cookie"]?.split(";")[0] ?? "";
    const [first, second] = [{ cookie: await cookie() }, { cookie: await cookie() }];
    const basic = { authorization: `Basic ${btoa(`me:${PASSWORD}`)}` };
    for (const headers of [first, second, basic]) await kit.ask("/api/v1/stream", { headers });
    kit.app.stream.look();
    expect(kit.app.stream.clientCount).toBe(3);
    await kit.ask("/api/v1/logout", { method: "POST", headers: first });
    kit.app.stream.look();
    expect(kit.app.stream.clientCount).toBe(2);
    // To look on is no use of a login.
    for (let hours = 0; hours < 13; hours += 1) {
      await kit.clock.advance(3_600_000);
      kit.app.stream.look();
    }
    expect(kit.app.stream.clientCount).toBe(1);
  });

  test("keeps no place for a client that went away before its answer", async () => {
    const kit = new PageKit();
    await kit.ask("/api/v1/stream", { signal: AbortSignal.abort() });
    expect(kit.app.stream.clientCount).toBe(0);
  });

  test("takes so many clients and no more, and again one more when one has gone", async () => {
    const kit = new PageKit();
    const stop = new AbortController();
    await kit.ask("/api/v1/stream", { signal: stop.signal });
    for (let i = 1; i < STREAM_CLIENTS_MAX; i += 1) await open(kit);
    expect((await kit.ask("/api/v1/stream")).status).toBe(503);
    stop.abort();
    expect((await kit.ask("/api/v1/stream")).status).toBe(200);
    kit.app.stream.close();
    expect(kit.app.stream.clientCount).toBe(0);
  });
});

describe("an answer that is long", () => {
  test("breaks off when its client has taken nothing for write_timeout, and what it came from hears of it", async () => {
    const clock = new SimClock();
    const reasons: unknown[] = [];
    const told: unknown[] = [];
    const source = new ReadableStream<Uint8Array>(
      { pull: (c) => c.enqueue(new Uint8Array(10)), cancel: (reason) => void reasons.push(reason) },
      { highWaterMark: 0 },
    );
    const reader = guarded(source, 15_000, { clock, brokeOff: (error) => void told.push(error) }).getReader();
    expect((await reader.read()).value?.length).toBe(10);
    await clock.advance(14_000);
    expect((await reader.read()).value?.length).toBe(10);
    await clock.advance(16_000);
    expect([reasons.length, String(told)]).toEqual([1, "Error: the client took nothing for 15 s"]);
    const end = await reader.read().then(
      () => "an end",
      (error: unknown) => error,
    );
    // Bun writes what it gets here to the standard error.
    expect(end).toBeUndefined();
  });

  test("a client that leaves while bytes are on their way is nothing that broke off, whenever it does", async () => {
    for (let turns = 0; turns < 12; turns += 1) {
      const clock = new SimClock();
      const told: unknown[] = [];
      const coming = Promise.withResolvers<Uint8Array>();
      const source = new ReadableStream<Uint8Array>({
        pull: async (controller) => controller.enqueue(await coming.promise),
      });
      const reader = guarded(source, 15_000, { clock, brokeOff: (error) => void told.push(error) }).getReader();
      const reading = reader.read();
      coming.resolve(new Uint8Array(10));
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      await Promise.allSettled([reading, reader.cancel()]);
      await clock.advance(16_000);
      expect([turns, told, clock.pendingCount]).toEqual([turns, [], 0]);
    }
  });
});
