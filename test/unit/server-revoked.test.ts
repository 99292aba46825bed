/** An agent that is revoked: at the door in every role, and what of it runs, waits or is parked when that happens. */
import { afterEach, describe, expect, test } from "bun:test";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { REVOKED_END_MS } from "#server/limits.ts";
import type { RevokedView } from "#server/revocation-guard.ts";
import { Revocations } from "#server/revocations.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import {
  beginOf,
  helloOf,
  RUN,
  type ScriptConnection,
  ServerWorld,
  type WorldOptions,
} from "#test/support/server-world.ts";
import type { Message } from "#wire/messages.ts";

let world: ServerWorld | undefined;
let revocations = new Revocations();

afterEach(async () => {
  await world?.close();
  world = undefined;
});

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  revocations = options.revocations ?? new Revocations();
  world = await ServerWorld.start({ ...options, revocations });
  return world;
}

/** What an administrator's command asks for, now. */
async function revoke(w: ServerWorld, agent = "web-1"): Promise<RevokedView> {
  const atMs = Math.floor(w.clock.wall() / 1000) * 1000;
  const around = {} as Parameters<ServerWorld["server"]["admin"]["handle"]>[1];
  return (await w.wait(w.server.admin.handle({ command: "revoke", agent, atMs }, around))) as RevokedView;
}

/** A connection with a certificate of that time. */
function connect(w: ServerWorld, notBeforeMs: number, fields: Partial<Message<"hello">> = {}): ScriptConnection {
  const peer: PeerIdentity = {
    ...{ commonName: "web-1", fingerprint: "01".repeat(32), notBeforeMs, notAfterMs: 2e12, serial: "02" },
  };
  const connection = w.connectAs(() => peer);
  connection.link.send("hello", helloOf(fields));
  return connection;
}

const SESSION = "00000000-0000-4000-8000-00000000000a";
const REFUSED = { code: "E_REVOKED", retry: false };

describe("a revoked certificate", () => {
  const roles: readonly (readonly [string, Partial<Message<"hello">>])[] = [
    ["a session", {}],
    ["a session that resumes", { session: SESSION }],
    ["a stream", { role: "stream", session: SESSION, slot: 0 }],
    ["health", { role: "health" }],
    ["reading", { role: "read" }],
    ["the control channel", { role: "control", keepaliveMs: 30_000 }],
  ];
  for (const [what, fields] of roles) {
    test(`is refused at a Hello for ${what}, one made later is not`, async () => {
      const w = await start();
      const view = await revoke(w);
      const { link } = connect(w, view.revokedWallMs, fields);
      expect(await w.wait(link.expect("refused"))).toMatchObject(REFUSED);
      expect(w.eventsOf("connection.refused").at(-1)?.fields).toMatchObject({ agent: "web-1", code: "E_REVOKED" });
      const later = connect(w, view.revokedWallMs + 1000, fields);
      const { session } = fields;
      if (session === undefined) await w.wait(later.link.expect("welcome"));
      else expect(await w.wait(later.link.expect("refused"))).toMatchObject({ code: "E_SESSION_GONE" });
    });
  }

  test("says to its agent what to do, and to a control channel not to ask again soon", async () => {
    const w = await start();
    await revoke(w);
    const refused = await w.wait(connect(w, 0).link.expect("refused"));
    expect(refused.hint).toContain("nbackup-server pki enroll-token web-1");
    expect(refused.retryAfterMs).toBe(3_600_000);
  });
});

describe("a revocation", () => {
  test("ends running sessions with their streams, and closes every other connection of the agent, at once", async () => {
    const w = await start();
    const { link, admitted } = await w.session({ parallels: 2 });
    const stream = w.stream(admitted.session, 0);
    await w.wait(stream.link.expect("welcome"));
    const [control, read] = [connect(w, 0, { role: "control", keepaliveMs: 30_000 }), connect(w, 0, { role: "read" })];
    const silent = w.connect();
    for (const one of [control, read]) await w.wait(one.link.expect("welcome"));
    const other = await w.session({}, { agent: "web-2" });
    const view = await revoke(w);
    expect(view).toMatchObject({ agent: "web-1", sessions: 1, connections: 3 });
    for (const one of [link, stream.link]) {
      expect(await w.wait(one.expect("ended"))).toMatchObject({ session: admitted.session, ...REFUSED });
    }
    for (const one of [control, read, silent]) {
      expect(await w.wait(one.link.expect("refused"))).toMatchObject(REFUSED);
    }
    for (const one of [link, stream.link, control.link, read.link, silent.link]) await w.wait(one.closed());
    expect(w.eventsOf("certificate.revoked")).toMatchObject([
      { level: "warn", fields: { agent: "web-1", sessions: 1 } },
    ]);
    expect(w.eventsOf("session.ended")).toMatchObject([
      { end: { agent: "web-1", outcome: "aborted", code: "E_REVOKED" } },
    ]);
    expect(w.unfinished().every((path) => path.includes(other.admitted.session))).toBe(true);
    expect(other.link.isClosed).toBe(false);
  });

  test("turns away who waits in line", async () => {
    const w = await start({ sessionsMax: 1 });
    await w.session({}, { agent: "web-2" });
    const { link } = await w.hello();
    link.send("begin", beginOf());
    await w.wait(link.expect("queued"));
    await revoke(w);
    expect(await w.wait(link.expect("refused"))).toMatchObject(REFUSED);
    expect(w.server.view()).toMatchObject({ sessionCount: 1, waitingCount: 0 });
  });

  test("ends parked sessions; who comes back for one with a newer certificate hears so", async () => {
    const w = await start();
    const { pipe, admitted } = await w.session();
    pipe.cut();
    await w.clock.advance(60_000);
    expect(w.eventsOf("session.parked")).toHaveLength(1);
    const { revokedWallMs } = await revoke(w);
    await w.clock.advance(1_000);
    expect(w.unfinished()).toEqual([]);
    const { link } = connect(w, revokedWallMs + 1000, { session: admitted.session, run: RUN });
    await w.wait(link.expect("welcome"));
    expect(await w.wait(link.expect("ended"))).toMatchObject({ session: admitted.session, ...REFUSED });
  });

  test("leaves alone what was begun with a certificate made after it", async () => {
    const w = await start();
    const { revokedWallMs } = await revoke(w);
    await w.clock.advance(2_000);
    const { link } = connect(w, revokedWallMs + 1000);
    await w.wait(link.expect("welcome"));
    link.send("begin", beginOf());
    await w.wait(link.expect("admitted"));
    revocations.use(new Map([["web-1", revokedWallMs]]));
    await w.clock.advance(20_000);
    expect(link.isClosed).toBe(false);
    expect(w.eventsOf("certificate.revoked")).toHaveLength(1);
  });

  test("ends what was begun between its decision and its coming to count, with a certificate of before", async () => {
    const w = await start();
    const decidedMs = Math.floor(w.clock.wall() / 1000) * 1000;
    await w.clock.advance(30_000);
    const { link } = await w.session();
    await revocations.add("web-1", decidedMs);
    expect(await w.wait(link.expect("ended"))).toMatchObject(REFUSED);
    expect(w.server.view().sessionCount).toBe(0);
  });

  test("read in the list beside the CA at a reload counts as one that was told", async () => {
    const w = await start();
    const { link } = await w.session();
    revocations.use(new Map([["web-1", w.clock.wall()]]));
    expect(await w.wait(link.expect("ended"))).toMatchObject(REFUSED);
  });

  test("does not take back a commit that has begun", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    const chunks = makeChunks(3, 500);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 3));
    let committing: (() => void) | undefined;
    const begun = Promise.withResolvers<void>();
    w.disk.hook = ({ call }) => {
      if (call !== "link") return undefined;
      begun.resolve();
      return new Promise<void>((resolve) => {
        committing = resolve;
      });
    };
    link.send("finish", finishOf(chunks));
    await w.wait(begun.promise);
    await revoke(w);
    w.disk.hook = () => undefined;
    committing?.();
    expect(await w.wait(link.expect("committed"))).toMatchObject({ archive: admitted.archive });
    await w.wait(link.closed());
    expect(w.eventsOf("session.committed")).toHaveLength(1);
  });

  test("closes the connections of a session whose disk hangs all the same", async () => {
    const w = await start();
    const { link } = await w.session();
    const hang = Promise.withResolvers<void>();
    w.disk.hook = ({ call }) => (call === "unlink" || call === "rmdir" ? hang.promise : undefined);
    await revoke(w);
    expect(link.isClosed).toBe(false);
    await w.clock.advance(REVOKED_END_MS);
    expect(await w.wait(link.expect("refused"))).toMatchObject(REFUSED);
    w.disk.hook = () => undefined;
    hang.resolve();
  });

  test("made while no server ran ends the sessions that the next start finds", async () => {
    const first = await start();
    const { admitted } = await first.session();
    const beganMs = first.clock.wall();
    await first.session({}, { agent: "web-2" });
    void first.server.shutdown();
    await first.wait(first.server.shutdown());
    await first.clock.advance(10_000);
    const { clock, knownStorages } = first;
    const told = new Revocations(new Map([["web-1", beganMs + 5_000]]));
    const w = await start({ clock, knownStorages, disk: first.disk.restart(), seed: 8, revocations: told });
    await w.clock.advance(1_000);
    expect(w.eventsOf("session.ended")).toMatchObject([{ fields: { session: admitted.session, code: "E_REVOKED" } }]);
    expect(w.server.view().sessionCount).toBe(1);
  });
});
