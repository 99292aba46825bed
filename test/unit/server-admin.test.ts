/** What an administrator asks of a running server, as the plain values that the control socket carries. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { parseEventRecord, parseSessionRecord } from "#observe/records.ts";
import { RecordStore } from "#observe/record-store.ts";
import type { PruneView, ServerStatus, SessionsView } from "#observe/views.ts";
import type { AdminSurroundings } from "#server/admin.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import { beginOf, ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";
import { sessionEnd } from "#test/support/session-end.ts";
import { SimClock } from "#test/support/sim-clock.ts";

let world: ServerWorld | undefined;
let around: AdminSurroundings;

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  world = await ServerWorld.start(options);
  const disk = new MemoryDisk();
  await disk.mkdir("/state", 0o700);
  const parts = { disk, linesMax: 100, clock: new SimClock(), log: memoryLogger() };
  around = {
    pid: 4711,
    reading: { readWallMs: 5, failure: null },
    events: await RecordStore.open({ ...parts, path: "/state/events", parse: parseEventRecord }),
    history: await RecordStore.open({ ...parts, path: "/state/history", parse: parseSessionRecord }),
  };
  return world;
}

afterEach(async () => {
  await world?.close();
  world = undefined;
});

const ask = async <T>(w: ServerWorld, request: unknown): Promise<T> =>
  (await w.wait(w.server.admin.handle(request, around))) as T;

async function refusal(w: ServerWorld, request: unknown): Promise<Failure> {
  const error: unknown = await ask(w, request).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof Failure) return error;
  throw new Error(`expected a Failure, got ${String(error)}`);
}

describe("status", () => {
  test("says what runs and how the storages are, with every metric", async () => {
    const w = await start({ sessionsMax: 1 });
    const { link } = await w.session();
    const waiting = await w.hello("web-2");
    waiting.link.send("begin", beginOf());
    await w.wait(waiting.link.expect("queued"));
    const chunks = makeChunks(3, 1000);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    link.data(must(chunks[0], "chunk"), { generation: 1 });
    await w.wait(link.sack((sack) => sack.files[0]?.durableChunks === 3));
    const status = await ask<ServerStatus>(w, { command: "status" });
    expect(status).toMatchObject({
      ...{ software: "nbackup-server 0.0.0", boot: w.server.boot, pid: 4711, stopping: false },
      ...{ sessionCount: 1, sessionsMax: 1, waitingCount: 1, connectionCount: 2 },
      storages: [{ name: "main", baseDir: "/srv/backups", state: "ok", code: null, maxBackups: 3, sessionCount: 1 }],
      lostRecords: { events: 0, history: 0, failing: false },
      configuration: { readWallMs: 5, failure: null },
    });
    expect(status.storages[0]?.freeBytes).toBeGreaterThan(0);
    expect(status.memoryBytes).toBeGreaterThan(8_000_000);
    const values = new Map(
      status.metrics.flatMap((metric) =>
        metric.type === "histogram" ? [] : metric.samples.map((sample) => [metric.name, sample.value] as const),
      ),
    );
    expect(Object.fromEntries(values)).toMatchObject({
      ...{ nbackup_chunks_received_total: 3, nbackup_bytes_received_total: 3000, nbackup_bytes_duplicate_total: 1000 },
      ...{ nbackup_sessions: 1, nbackup_agents_waiting: 1, nbackup_connections: 2, nbackup_storage_usable: 1 },
      ...{ nbackup_chunk_buffer_bytes: 0, nbackup_chunk_buffer_limit_bytes: 0 },
      ...{ nbackup_memory_bytes: status.memoryBytes, nbackup_memory_limit_bytes: status.memoryBytesMax },
    });
  });

  test("counts ends of sessions by outcome and the time of commits", async () => {
    const w = await start();
    const { link } = await w.session();
    const chunks = makeChunks(2, 100);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    const { metrics } = await ask<ServerStatus>(w, { command: "status" });
    const named = (name: string): unknown => metrics.find((metric) => metric.name === name)?.samples;
    expect(named("nbackup_sessions_ended_total")).toEqual([{ labels: { outcome: "committed" }, value: 1 }]);
    expect(named("nbackup_commit_seconds")).toMatchObject([{ count: 1 }]);
  });
});

describe("sessions", () => {
  test("lists those that run with their progress, and those that wait in order", async () => {
    const w = await start({ sessionsMax: 1 });
    const { link, admitted } = await w.session({ estimateBytes: 5000 });
    link.send("ping", { id: 1, entries: 9, rawBytes: 7000 });
    link.data(must(makeChunks(1, 800)[0], "chunk"), { generation: 1 });
    for (const agent of ["web-2", "web-3"]) {
      const waiting = await w.hello(agent);
      waiting.link.send("begin", beginOf());
      await w.wait(waiting.link.expect("queued"));
    }
    const { running, waiting } = await ask<SessionsView>(w, { command: "sessions" });
    expect(running).toMatchObject([
      {
        ...{ session: admitted.session, agent: "web-1", backup: "home", storage: "main", state: "receiving" },
        ...{ chunks: 1, bytes: 800, entries: 9, rawBytes: 7000, expectedBytes: 5000, parallels: 0, stalled: false },
        connections: [expect.stringMatching(/^192\.0\.2\.7:\d+$/)],
      },
    ]);
    expect(waiting.map(({ agent, position }) => [agent, position])).toEqual([
      ["web-2", 1],
      ["web-3", 2],
    ]);
  });
});

describe("abort", () => {
  test("ends a session, tells its agent not to come back by itself, and leaves nothing of it", async () => {
    const w = await start();
    const { link, admitted } = await w.session();
    const answer = ask(w, { command: "abort", session: admitted.session });
    expect(await w.wait(link.expect("ended"))).toMatchObject({ code: "E_ABORTED", retry: false });
    expect(await answer).toEqual({ session: admitted.session, outcome: "aborted" });
    expect(w.unfinished()).toEqual([]);
    expect(w.eventsOf("session.ended")[0]?.end).toMatchObject({ outcome: "aborted" });
    expect((await refusal(w, { command: "abort", session: admitted.session })).code).toBe("E_SESSION_GONE");
  });

  test("comes too late for a session whose commit has begun", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, admitted } = await w.session();
    const chunks = makeChunks(1, 100);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    const { promise: linking, resolve } = Promise.withResolvers<void>();
    disk.hook = ({ call }) => (call === "link" ? linking : undefined);
    link.send("finish", finishOf(chunks), 1);
    await w.clock.advance(2000);
    const answer = ask(w, { command: "abort", session: admitted.session });
    await w.clock.advance(10);
    resolve();
    expect(await answer).toEqual({ session: admitted.session, outcome: "committed" });
  });

  test("comes too late for a session that a stop of the server leaves on the disk, and says so", async () => {
    const disk = new MemoryDisk();
    const w = await start({ disk });
    const { link, admitted } = await w.session();
    const { promise: syncing, resolve } = Promise.withResolvers<void>();
    disk.hook = ({ call }) => (call === "fdatasync" ? syncing : undefined);
    link.data(must(makeChunks(1, 800)[0], "chunk"), { generation: 1 });
    await w.clock.advance(10);
    const stopped = w.server.shutdown();
    void w.server.shutdown();
    await w.clock.advance(10);
    const answer = refusal(w, { command: "abort", session: admitted.session });
    await w.clock.advance(10);
    resolve();
    expect((await answer).code).toBe("E_SHUTDOWN");
    await w.wait(stopped);
    expect(w.unfinished().length).toBeGreaterThan(0);
  });
});

describe("prune", () => {
  const name = (day: number): string => `2026-01-0${day}T00-00-00-000Z.tar.gz`;
  const storage = { name: "main", baseDir: "/srv/backups", maxBackups: 2, minAgeMs: 0 };

  async function withArchives(options: WorldOptions = {}): Promise<ServerWorld> {
    const w = await start(options);
    for (const path of ["web-1", "web-1/home"]) await w.disk.mkdir(`/srv/backups/${path}`, 0o750);
    for (let day = 1; day <= 5; day += 1) w.disk.plant(`/srv/backups/web-1/home/${name(day)}`, Buffer.alloc(100));
    return w;
  }

  test("applies the rule it is given, on a full disk too, and is an event", async () => {
    const w = await withArchives();
    w.disk.hook = ({ call }) => {
      if (["create", "write", "mkdir", "link", "rename"].includes(call)) throw diskError("ENOSPC");
    };
    const view = await ask<PruneView>(w, { command: "prune", storages: [storage], dryRun: false });
    expect(view.entries).toMatchObject([{ storage: "main", agent: "web-1", backup: "home", keptCount: 2, stuck: [] }]);
    expect(view.entries[0]?.removed.map(({ archive }) => archive)).toEqual(
      [1, 2, 3].map((day) => `web-1/home/${name(day)}`),
    );
    expect(w.eventsOf("archives.removed")).toMatchObject([
      { message: "3 archives were removed by prune", fields: { storage: "main", agent: "web-1", backup: "home" } },
    ]);
    w.disk.hook = () => undefined;
  });

  test("frees the room that lets in the next backup", async () => {
    const disk = new MemoryDisk({ capacityBytes: 100_000 });
    const none = { percent: 0, bytesMax: 0 };
    const w = await withArchives({ disk, storages: [storageConfig({ reserve: none })] });
    for (let day = 1; day <= 5; day += 1) {
      await disk.unlink(`/srv/backups/web-1/home/${name(day)}`);
      disk.plant(`/srv/backups/web-1/home/${name(day)}`, Buffer.alloc(19_000));
    }
    const { link } = await w.hello();
    link.send("begin", beginOf({ estimateBytes: 19_000 }));
    const refused = await w.wait(link.expect("refused"));
    expect(refused).toMatchObject({ code: "E_FULL", retry: false });
    expect(refused.hint).toContain('"nbackup-server prune --storage main"');
    await ask(w, { command: "prune", storages: [storage], dryRun: false });
    await w.session({ estimateBytes: 19_000 });
  });

  test("that is cut short by the disk says what it had removed by then, in the answer and as an event", async () => {
    const w = await withArchives();
    await w.disk.mkdir("/srv/backups/web-1/var", 0o750);
    w.disk.hook = ({ call, path }) => {
      if (call === "readdir" && path.endsWith("/web-1/var")) throw diskError("EIO");
    };
    const view = await ask<PruneView>(w, { command: "prune", storages: [storage], dryRun: false });
    w.disk.hook = () => undefined;
    expect(view.failures).toMatchObject([{ storage: "main", code: "E_STORAGE_FAILED" }]);
    expect(view.entries.map(({ backup, removed }) => [backup, removed.length])).toEqual([["home", 3]]);
    expect(w.eventsOf("archives.removed")).toHaveLength(1);
  });

  test("only looks in a dry run, and names storages that cannot be pruned beside those that can", async () => {
    const w = await withArchives();
    const storages = [{ ...storage, name: "unknown" }, { ...storage, baseDir: "/srv/elsewhere" }, storage];
    const view = await ask<PruneView>(w, { command: "prune", storages, dryRun: true });
    expect(view.failures.map(({ storage: failed, code }) => [failed, code])).toEqual([
      ["unknown", "E_STORAGE_UNKNOWN"],
      ["main", "E_USAGE"],
    ]);
    expect(view.entries[0]?.removed).toHaveLength(3);
    expect([...w.tree().keys()].filter((path) => path.endsWith(".tar.gz"))).toHaveLength(5);
    expect(w.eventsOf("archives.removed")).toEqual([]);
  });
});

describe("history and events", () => {
  test("come newest first, as many as asked for, of one agent if told", async () => {
    const w = await start();
    for (let i = 0; i < 60; i += 1) {
      around.history.add({ ...sessionEnd({ agent: `web-${i % 2}` }), endWallMs: i, repeats: 0 });
      around.events.add({ wallMs: i, kind: "a", level: "info", message: "b", fields: {} });
    }
    expect(await ask<unknown[]>(w, { command: "history" })).toHaveLength(50);
    const odd = await ask<{ endWallMs: number }[]>(w, { command: "history", limit: 3, agent: "web-1" });
    expect(odd.map(({ endWallMs }) => endWallMs)).toEqual([59, 57, 55]);
    const events = await ask<{ wallMs: number }[]>(w, { command: "events", limit: 2 });
    expect(events.map(({ wallMs }) => wallMs)).toEqual([59, 58]);
  });
});

test("a request that is none is E_USAGE, whatever it is", async () => {
  const w = await start();
  const requests = [
    ...[undefined, null, 7, "status", [], {}, { command: "format" }, { command: "status", more: 1 }],
    ...[{ command: "history", limit: 0 }, { command: "history", limit: 1e9 }, { command: "abort" }],
    { command: "prune", storages: [], dryRun: false, agent: "../../etc" },
    { command: "prune", storages: [{ name: "main", baseDir: "/", maxBackups: 0, minAgeMs: 0 }], dryRun: false },
  ];
  for (const request of requests) expect((await refusal(w, request)).code).toBe("E_USAGE");
});
