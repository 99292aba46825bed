/** Orders about slots, maintenance and the rotation of slow streams, on a server in memory. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { type Failure, toFailure } from "#base/errors.ts";
import type { MaintenanceAnswer, MaintenanceView, RotateView, SessionsView, SlotView } from "#observe/views.ts";
import type { AdminRequest } from "#server/admin.ts";
import { FlowPolicy, type FlowSample } from "#server/flow-policy.ts";
import { MaintenanceFile } from "#store/maintenance-file.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { dataFrame, finishOf, makeChunks } from "#test/support/script-client.ts";
import { beginOf, helloOf, type ScriptConnection, ServerWorld, type WorldOptions } from "#test/support/server-world.ts";

let world: ServerWorld | undefined;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

function ask<T>(w: ServerWorld, request: AdminRequest): Promise<T> {
  const nothing = { newest: () => [], droppedLines: 0, failing: false };
  // None of these requests asks for records.
  const around = { pid: 1, events: nothing, history: nothing } as unknown as Parameters<
    typeof w.server.admin.handle
  >[1];
  return w.wait(w.server.admin.handle(request, around)) as Promise<T>;
}

async function refusal(w: ServerWorld, request: AdminRequest): Promise<Failure> {
  try {
    await ask(w, request);
  } catch (error) {
    return toFailure(error);
  }
  throw new Error("it was not refused");
}

async function slotsOf(w: ServerWorld): Promise<readonly SlotView[]> {
  return must((await ask<SessionsView>(w, { command: "sessions" })).running[0], "session").slots;
}

interface Streams {
  readonly id: string;
  readonly main: ScriptConnection;
  readonly streams: ScriptConnection[];
}

async function streams(w: ServerWorld, count: number): Promise<Streams> {
  const { admitted, ...main } = await w.session({ parallels: count });
  const id = admitted.session;
  const opened = Array.from({ length: count }, (_, slot) => w.stream(id, slot));
  for (const { link } of opened) {
    await w.wait(link.expect("welcome"));
    await w.wait(link.sack());
  }
  return { id, main, streams: opened };
}

describe("rotate", () => {
  test("tells the agent, waits until the stream is back, and counts neither a break nor a lost connection", async () => {
    const w = await start();
    const { id, main, streams: own } = await streams(w, 2);
    const rotated = ask<RotateView>(w, { command: "rotate-stream", session: id, slot: 1 });
    expect(await w.wait(main.link.expect("slotOrder"))).toMatchObject({ slot: 1, order: "rotate" });
    must(own[1], "stream").link.send("goodbye", {});
    await w.wait(w.stream(id, 1).link.expect("welcome"));
    expect(await rotated).toMatchObject({ session: id, slot: 1, fromGeneration: 1, toGeneration: 2 });
    expect(w.eventsOf("session.disconnected")).toEqual([]);
    expect(w.eventsOf("stream.rotated")[0]?.fields).toMatchObject({ slot: 1, by: "administrator" });
    expect((await ask<SessionsView>(w, { command: "sessions" })).running[0]?.breaks).toBe(0);
    expect((await slotsOf(w))[1]).toMatchObject({ generation: 2, rotations: 1, reconnects: 0, state: "receiving" });
  });

  test("of a session without streams: Goodbye on its connection, and it goes on with the next one at once", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    const chunks = makeChunks(4, 900);
    for (const chunk of chunks.slice(0, 2)) link.data(chunk, { generation: 1 });
    const rotated = ask<RotateView>(w, { command: "rotate-stream", session: admitted.session, slot: 0 });
    expect(await w.wait(link.expect("slotOrder"))).toMatchObject({ slot: 0, order: "rotate" });
    link.send("goodbye", {}, 1);
    const before = w.clock.now();
    const back = w.resume(admitted.session);
    expect(await w.wait(back.link.expect("welcome"))).toMatchObject({ generation: 2, slotGeneration: 2 });
    expect(w.clock.now() - before).toBeLessThan(100);
    await w.wait(back.link.sack((sack) => sack.files[0]?.durableChunks === 2));
    expect(await rotated).toMatchObject({ slot: 0, toGeneration: 2 });
    expect([...w.eventsOf("session.parked"), ...w.eventsOf("session.disconnected")]).toEqual([]);
    for (const chunk of chunks.slice(2)) back.link.data(chunk, { generation: 2 });
    back.link.send("finish", finishOf(chunks), 2);
    await w.wait(back.link.expect("committed"));
    expect(w.eventsOf("session.committed")[0]?.fields).toMatchObject({ breaks: 0, duplicateBytes: 0 });
  });

  test("a new stream that comes before the Goodbye of the last one is not kept waiting", async () => {
    const w = await start();
    const { id, main, streams: own } = await streams(w, 1);
    const rotated = ask<RotateView>(w, { command: "rotate-stream", session: id, slot: 0 });
    await w.wait(main.link.expect("slotOrder"));
    const before = w.clock.now();
    const next = w.stream(id, 0);
    must(own[0], "stream").link.send("goodbye", {});
    expect(await w.wait(next.link.expect("welcome"))).toMatchObject({ slotGeneration: 2 });
    expect(w.clock.now() - before).toBeLessThan(1_000);
    await rotated;
  });

  test("is refused in a sentence: unknown session, no such slot, slot not up, session finishing, nobody to tell", async () => {
    const w = await start();
    const order = (session: string, slot: number) => refusal(w, { command: "rotate-stream", session, slot });
    expect(await order("no-such", 0)).toMatchObject({
      code: "E_SESSION_GONE",
      message: "no session no-such runs here",
    });
    const { admitted, link, pipe } = await w.session({ parallels: 2 });
    const id = admitted.session;
    expect((await order(id, 7)).message).toBe("there is no slot 7, the session has slots 0 to 1");
    expect((await order(id, 1)).message).toBe("slot 1 is not up but idle");
    const stream = w.stream(id, 0);
    await w.wait(stream.link.expect("welcome"));
    link.send("finish", finishOf(makeChunks(1, 50)), 1);
    await w.clock.advance(10);
    expect(w.eventsOf("session.ended")).toHaveLength(1);
    const second = await w.session({ parallels: 1, backup: "etc" });
    const only = w.stream(second.admitted.session, 0);
    await w.wait(only.link.expect("welcome"));
    second.pipe.cut();
    await w.clock.advance(10);
    expect((await order(second.admitted.session, 0)).message).toContain("the session connection is not up");
    pipe.cut();
  });

  test("says after a minute that the stream is not back yet", async () => {
    const w = await start();
    const { id } = await streams(w, 1);
    expect((await refusal(w, { command: "rotate-stream", session: id, slot: 0 })).code).toBe("E_TIMEOUT");
  });
});

describe("park and resume", () => {
  test("a parked slot is refused without retry until it is resumed", async () => {
    const w = await start();
    const { id, main, streams: own } = await streams(w, 2);
    await ask(w, { command: "park-stream", session: id, slot: 1 });
    expect(await w.wait(main.link.expect("slotOrder"))).toMatchObject({ slot: 1, order: "park" });
    must(own[1], "stream").link.send("goodbye", {});
    await w.clock.advance(10);
    expect((await slotsOf(w))[1]).toMatchObject({ state: "disabled", parked: true, remotePort: null });
    const refused = await w.wait(w.stream(id, 1).link.expect("refused"));
    expect(refused).toMatchObject({ code: "E_LIMIT", retry: false });
    await ask(w, { command: "resume-stream", session: id, slot: 1 });
    expect(await w.wait(main.link.expect("slotOrder"))).toMatchObject({ slot: 1, order: "resume" });
    expect(await w.wait(w.stream(id, 1).link.expect("welcome"))).toMatchObject({ slotGeneration: 2 });
    expect((await refusal(w, { command: "resume-stream", session: id, slot: 1 })).message).toBe("slot 1 is not parked");
  });

  test("the last stream that is up is not parked, and a session without streams not at all", async () => {
    const w = await start();
    const { id } = await streams(w, 2);
    await ask(w, { command: "park-stream", session: id, slot: 0 });
    const last = await refusal(w, { command: "park-stream", session: id, slot: 1 });
    expect(last).toMatchObject({ code: "E_USAGE", message: "slot 1 would leave no stream that is up" });
    const { admitted } = await w.session({ backup: "etc" });
    const main = await refusal(w, { command: "park-stream", session: admitted.session, slot: 0 });
    expect(main.message).toContain("has no streams");
  });

  test("a parked stream is not rotated, also while it still drains", async () => {
    const w = await start();
    const { id } = await streams(w, 2);
    await ask(w, { command: "park-stream", session: id, slot: 1 });
    const refused = await refusal(w, { command: "rotate-stream", session: id, slot: 1 });
    expect(refused).toMatchObject({ code: "E_USAGE", message: "slot 1 is parked" });
  });

  test("a resumed session connection hears between Welcome and Sack which orders stand", async () => {
    const w = await start();
    const { id, main } = await streams(w, 3);
    await ask(w, { command: "park-stream", session: id, slot: 2 });
    const rotating = refusal(w, { command: "rotate-stream", session: id, slot: 1 });
    main.pipe.cut();
    await w.clock.advance(10);
    const back = w.resume(id);
    await w.clock.advance(10);
    const said = back.link.received.map((message) =>
      message.type === "slotOrder" ? `${message.body.order} ${message.body.slot}` : message.type,
    );
    expect(said.slice(0, 4)).toEqual(["welcome", "park 2", "rotate 1", "sack"]);
    expect((await rotating).code).toBe("E_TIMEOUT");
  });
});

describe("maintenance", () => {
  const turn = (w: ServerWorld, request: Omit<Extract<AdminRequest, { command: "maintenance" }>, "command">) =>
    ask<MaintenanceAnswer>(w, { command: "maintenance", ...request });

  test("defers who asks and who waits in line, and lets running sessions go on and come back", async () => {
    const w = await start({ sessionsMax: 1 });
    const { link, pipe, admitted } = await w.session();
    const waiting = await w.hello("web-2");
    waiting.link.send("begin", beginOf());
    await w.wait(waiting.link.expect("queued"));
    const answer = await turn(w, { turn: "on", reason: "new disks" });
    expect(answer).toMatchObject({ maintenance: { reason: "new disks" }, abortedCount: 0, sessionCount: 1 });
    const deferred = { code: "E_MAINTENANCE", retry: true, retryAfterMs: 30_000 };
    const heard = await w.wait(waiting.link.expect("refused"));
    expect(heard).toMatchObject({ ...deferred, message: "the server is in maintenance: new disks" });
    const asking = await w.hello("web-3");
    asking.link.send("begin", beginOf());
    expect(await w.wait(asking.link.expect("refused"))).toMatchObject(deferred);
    const health = w.connect();
    health.link.send("hello", helloOf({ role: "health" }));
    await w.wait(health.link.expect("welcome"));
    expect((await w.wait(health.link.expect("health"))).state).toBe("MAINTENANCE");
    pipe.cut();
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    back.link.data(must(makeChunks(1, 100)[0], "chunk"), { generation: 2 });
    back.link.send("finish", finishOf(makeChunks(1, 100)), 2);
    await w.wait(back.link.expect("committed"));
    expect((await turn(w, { turn: "off" })).maintenance).toBeNull();
    await w.session({}, { agent: "web-3" });
    expect([w.eventsOf("maintenance.on").length, w.eventsOf("maintenance.off").length]).toEqual([1, 1]);
    expect(link.isClosed).toBe(true);
  });

  test("with abort running sessions end with E_MAINTENANCE and retry, and leave nothing", async () => {
    const w = await start();
    const { link } = await w.session();
    const answer = turn(w, { turn: "on", abort: true });
    expect(await w.wait(link.expect("ended"))).toMatchObject({ code: "E_MAINTENANCE", retry: true });
    expect(await answer).toMatchObject({ abortedCount: 1, sessionCount: 0 });
    expect(w.unfinished()).toEqual([]);
    expect(w.eventsOf("session.ended")[0]?.end?.outcome).toBe("maintenance");
  });

  test("is kept over a start, which says so; a file that cannot be read is no maintenance", async () => {
    const disk = new MemoryDisk();
    await disk.mkdir("/state", 0o700);
    const log = memoryLogger();
    const kept: MaintenanceView = { sinceWallMs: 1_000, reason: null };
    await (await MaintenanceFile.open(disk, "/state", log)).keep(kept);
    const again = await MaintenanceFile.open(disk, "/state", log);
    expect(again.kept).toEqual(kept);
    const w = await start({ maintenance: again });
    expect(w.eventsOf("maintenance.on")[0]?.message).toContain("still in maintenance");
    const asking = await w.hello();
    asking.link.send("begin", beginOf());
    expect((await w.wait(asking.link.expect("refused"))).code).toBe("E_MAINTENANCE");
    await turn(w, { turn: "off" });
    expect((await MaintenanceFile.open(disk, "/state", log)).kept).toBeNull();
  });
});

describe("the policy of flow rotation", () => {
  const limits = { minMbps: 1, evalWindowMs: 60_000, cooldownMs: 120_000 };
  /** Bytes in 5 s at so many megabits a second. */
  const step = (mbps: number): number => (mbps * 1_000_000 * 5) / 8;

  /** One rate for each slot; undefined: idle. The slots that were rotated, with the second. */
  function run(rates: (second: number) => readonly (number | undefined)[], seconds: number, held = false): string[] {
    const policy = new FlowPolicy(limits);
    const bytes: number[] = [];
    const rotated: string[] = [];
    for (let second = 0; second <= seconds; second += 5) {
      const samples = rates(second).map((mbps, slot): FlowSample => {
        bytes[slot] = (bytes[slot] ?? 0) + step(mbps ?? 0);
        return { slot, generation: 1, bytes: bytes[slot] ?? 0, busy: mbps !== undefined };
      });
      const slot = policy.take(second * 1000, samples, held);
      if (slot !== undefined) rotated.push(`${slot} at ${second}`);
    }
    return rotated;
  }

  test("rotates a busy stream that stayed below min_mbps for the window while another one was twice as fast", () => {
    expect(run(() => [8, 0.5], 100)).toEqual(["1 at 60"]);
  });

  test("rotates a single stream that was faster before, and not one that never was", () => {
    expect(run((second) => [second < 60 ? 4 : 0.5], 200)).toEqual(["0 at 115"]);
    expect(run(() => [0.5], 1_000)).toEqual([]);
  });

  test("leaves alone what is at least as fast, idle, or slow only now and then", () => {
    expect(run(() => [8, 1.1], 1_000)).toEqual([]);
    expect(run(() => [8, undefined], 1_000)).toEqual([]);
    expect(run((second) => [8, second % 50 === 0 ? undefined : 0.5], 1_000)).toEqual([]);
  });

  test("takes streams that are all alike for held to a limit", () => {
    expect(run(() => [0.5, 0.5, 0.6, 0.5], 1_000)).toEqual([]);
  });

  test("rotates one at a time, the slowest first, and each again only after its cooldown", () => {
    expect(run(() => [8, 0.5, 0.2], 200)).toEqual(["2 at 60", "1 at 65", "2 at 180", "1 at 185"]);
  });

  test("does not measure a stream by one that is gone", () => {
    const policy = new FlowPolicy(limits);
    for (let second = 0; second <= 1_000; second += 5) {
      const own: FlowSample = { slot: 1, generation: 1, bytes: second * 60_000, busy: true };
      const other: FlowSample = { slot: 0, generation: 1, bytes: second * 1_000_000, busy: true };
      expect(policy.take(second * 1000, second < 30 ? [other, own] : [own], false)).toBeUndefined();
    }
  });

  test("does nothing while the server does not read or a stream is on its way", () => {
    expect(run(() => [8, 0.1], 1_000, true)).toEqual([]);
  });
});

describe("flow_rotation", () => {
  test("orders a slow stream to connect again, counts it, and counts no failure", async () => {
    const flowRotation = { enabled: true, minMbps: 1, evalWindowMs: 30_000, cooldownMs: 600_000 };
    const w = await start({ flowRotation });
    const { id, main, streams: own } = await streams(w, 2);
    const [fast, slow] = [must(own[0], "0").link, must(own[1], "1").link];
    // A Pong would stand in the middle of a frame.
    for (const link of [fast, slow]) link.ignorePings();
    const chunks = makeChunks(2, 60_000);
    // Frames that never end: one gets a little each second, the other a lot.
    const frames = [
      dataFrame(must(chunks[0], "0"), { slot: 0, generation: 1 }),
      dataFrame(must(chunks[1], "1"), { slot: 1, generation: 1 }),
    ] as const;
    const at = [0, 0];
    let ordered = false;
    void main.link.expect("slotOrder").then((order) => {
      ordered = order.slot === 1 && order.order === "rotate";
    });
    for (let tick = 0; tick < 40 && !ordered; tick += 1) {
      for (const [slot, link, bytes] of [
        [0, fast, 1_400],
        [1, slow, 100],
      ] as const) {
        link.raw(frames[slot].subarray(at[slot], (at[slot] ?? 0) + bytes));
        at[slot] = (at[slot] ?? 0) + bytes;
      }
      await w.clock.advance(1_000);
      main.link.send("ping", { id: tick });
    }
    expect(ordered).toBe(true);
    slow.raw(frames[1].subarray(at[1]));
    slow.send("goodbye", {});
    await w.wait(w.stream(id, 1).link.expect("welcome"));
    expect(w.eventsOf("stream.rotated")[0]?.fields).toMatchObject({ slot: 1, by: "flow rotation" });
    expect(w.eventsOf("session.disconnected")).toEqual([]);
    expect((await slotsOf(w))[1]).toMatchObject({ chunks: 1, rotations: 1, reconnects: 0 });
  });
});
