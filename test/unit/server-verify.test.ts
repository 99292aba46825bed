/** Verification after the commit, in a whole server in memory: what its agent hears, what rotation does, what a stop leaves, and the scrub. */
import { afterEach, describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { parseEventRecord, parseSessionRecord, type SessionRecord } from "#observe/records.ts";
import { RecordStore } from "#observe/record-store.ts";
import type { ServerStatus } from "#observe/views.ts";
import { SCRUB_LOOK_MS } from "#server/limits.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { finishOf, makeChunks } from "#test/support/script-client.ts";
import { ServerWorld, storageConfig, type WorldOptions } from "#test/support/server-world.ts";
import { endedEvent } from "#test/support/session-end.ts";
import { settle } from "#test/support/sim-clock.ts";
import { commit, compareSum, held, spoil } from "#test/support/verify-kit.ts";

const DAY_MS = 86_400_000;
const worlds: ServerWorld[] = [];

async function start(options: WorldOptions = {}): Promise<ServerWorld> {
  const storages = [storageConfig({ maxBackups: 1, verifyIntegrity: true })];
  const world = await ServerWorld.start({ storages, ...options });
  worlds.push(world);
  return world;
}

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

async function stop(world: ServerWorld): Promise<void> {
  worlds.splice(worlds.indexOf(world), 1);
  await world.close();
}

const archives = (w: ServerWorld): string[] => [...w.tree().keys()].filter((path) => path.endsWith(".tar.gz"));
const marks = (w: ServerWorld): string[] => [...w.tree().keys()].filter((path) => path.endsWith(".damaged"));

describe("verify_integrity", () => {
  test("reads the archive after the answer, tells who stayed, and only then rotates", async () => {
    const { verify, go } = held();
    const w = await start({ verifyArchive: verify });
    go();
    const first = await commit(w);
    await w.wait(first.link.expect("verified"));
    const second = await commit(w);
    const verified = await w.wait(second.link.expect("verified"));
    expect(verified).toEqual({ session: second.admitted.session, result: "ok", message: "" });
    expect(await w.wait(second.link.closed())).toBeUndefined();
    expect(archives(w)).toEqual([second.admitted.archive]);
    expect(w.eventsOf("archive.verified").map(({ fields }) => fields["archive"])).toEqual([
      first.admitted.archive,
      second.admitted.archive,
    ]);
    expect(w.eventsOf("archives.removed")[0]?.fields["removed"]).toEqual([first.admitted.archive]);
  });

  test("holds up rotation, speaks to who waits, and one that is damaged removes nothing", async () => {
    const { verify, go } = held();
    const w = await start({ verifyArchive: verify });
    const first = await commit(w);
    const second = await commit(w);
    // Longer than a connection without a word lives.
    for (let beat = 1; beat <= 12; beat += 1) {
      for (const { link } of [first, second]) link.send("ping", { id: beat });
      await w.clock.advance(5_000);
    }
    expect([first.link.isClosed, second.link.isClosed]).toEqual([false, false]);
    expect(second.link.received.filter(({ type }) => type === "ping").length).toBeGreaterThan(8);
    expect(first.link.received.filter(({ type }) => type === "phase").at(-1)).toMatchObject({
      body: { phase: "verifying", total: 800 },
    });
    expect(w.server.view().verifyingCount).toBe(2);
    expect(archives(w)).toHaveLength(2);
    await w.wait(spoil(w.disk, second.admitted.archive));
    go();
    expect((await w.wait(first.link.expect("verified"))).result).toBe("ok");
    const verified = await w.wait(second.link.expect("verified"));
    expect(verified).toMatchObject({ result: "damaged", message: "its SHA-256 is not the one beside it" });
    expect(archives(w)).toHaveLength(2);
    expect(marks(w)).toEqual([`${second.admitted.archive}.damaged`]);
    expect(w.eventsOf("archive.damaged")).toMatchObject([
      {
        level: "error",
        fields: { archive: second.admitted.archive, code: "E_ARCHIVE_DAMAGED", by: "verify_integrity" },
      },
    ]);
    // The next good one takes the place of both.
    const third = await commit(w);
    await w.wait(third.link.expect("verified"));
    expect([archives(w), marks(w)]).toEqual([[third.admitted.archive], []]);
  });

  test("is asked for again by who comes back, and answered at once when it is known", async () => {
    const { verify, go } = held();
    const w = await start({ verifyArchive: verify });
    const { link, admitted, pipe } = await commit(w);
    pipe.cut();
    const back = w.resume(admitted.session);
    await w.wait(back.link.expect("welcome"));
    expect((await w.wait(back.link.expect("committed"))).verify).toBe("pending");
    back.link.send("finish", finishOf(makeChunks(2, 400)));
    await w.wait(back.link.expect("committed"));
    go();
    expect((await w.wait(back.link.expect("verified"))).result).toBe("ok");
    const late = w.resume(admitted.session);
    await w.wait(late.link.expect("welcome"));
    await w.wait(late.link.expect("committed"));
    expect((await w.wait(late.link.expect("verified"))).result).toBe("ok");
    expect(link.received.some(({ type }) => type === "verified")).toBe(false);
  });

  test("of a server that stops is begun anew by its next start, and holds up rotation meanwhile", async () => {
    const first = held();
    const w = await start({ verifyArchive: first.verify });
    const { link, admitted } = await commit(w);
    await w.clock.advance(10);
    expect(first.begun()).toBe(1);
    const stopped = w.server.shutdown();
    expect(await w.wait(link.expect("refused"))).toMatchObject({ code: "E_SHUTDOWN", retry: true });
    await w.wait(stopped);
    await stop(w);
    expect(w.eventsOf("archive.verified")).toEqual([]);
    const { verify, go } = held();
    const next = await start({ disk: w.disk.restart(), clock: w.clock, seed: 8, verifyArchive: verify });
    const back = next.resume(admitted.session);
    await next.wait(back.link.expect("welcome"));
    await next.wait(back.link.expect("committed"));
    go();
    expect((await next.wait(back.link.expect("verified"))).result).toBe("ok");
    expect(next.eventsOf("archive.verified")).toHaveLength(1);
    expect(next.server.view().verifyingCount).toBe(0);
  });

  test("of an archive that is gone is unknown; of a disk that fails it is tried again", async () => {
    const { verify, go } = held();
    const w = await start({ verifyArchive: verify });
    const gone = await commit(w);
    await w.clock.advance(10);
    await w.wait(w.disk.unlink(`/srv/backups/${gone.admitted.archive}`));
    go();
    expect(await w.wait(gone.link.expect("verified"))).toMatchObject({ result: "unknown" });
    w.disk.hook = ({ call, path }) => {
      if (call === "open" && path.endsWith(".tar.gz")) throw diskError("ESTALE");
    };
    const failing = await commit(w);
    expect((await w.wait(failing.link.expect("verified"))).message).toContain("ESTALE");
    expect(w.server.view().verifyingCount).toBe(1);
    await w.clock.advance(200_000);
    w.disk.hook = () => undefined;
    await w.clock.advance(400_000);
    expect(w.server.view().verifyingCount).toBe(0);
    expect(w.eventsOf("archive.verified").map(({ fields }) => fields["archive"])).toEqual([failing.admitted.archive]);
  });

  test("that finds a damage which the disk takes no mark of tells it all the same", async () => {
    const { verify, go } = held();
    const w = await start({ verifyArchive: verify });
    const { link, admitted } = await commit(w);
    await w.wait(spoil(w.disk, admitted.archive));
    w.disk.hook = ({ call, path }) => {
      if (call === "create" && path.endsWith("damaged.new")) throw diskError("EROFS");
    };
    go();
    expect(await w.wait(link.expect("verified"))).toMatchObject({ result: "unknown" });
    expect(w.eventsOf("archive.damaged")).toMatchObject([{ fields: { archive: admitted.archive } }]);
    expect(w.eventsOf("archive.unverified")).toHaveLength(1);
    w.disk.hook = () => undefined;
    await w.clock.advance(600_000);
    expect(marks(w)).toEqual([`${admitted.archive}.damaged`]);
  });

  test("shows in status, in the metrics and in the history of its session", async () => {
    const { verify, go } = held();
    const w = await start({ verifyArchive: verify });
    const { link, admitted } = await commit(w);
    const disk = new MemoryDisk();
    await disk.mkdir("/state", 0o700);
    const parts = { disk, linesMax: 100, clock: w.clock, log: memoryLogger() };
    const around = {
      ...{ pid: 1, reading: { readWallMs: 0, failure: null } },
      events: await RecordStore.open({ ...parts, path: "/state/events", parse: parseEventRecord }),
      history: await RecordStore.open({ ...parts, path: "/state/history", parse: parseSessionRecord }),
    };
    const ended = must(w.eventsOf("session.committed")[0]?.end, "the session's end");
    expect(ended.verify).toBe("pending");
    around.history.add({ ...must(endedEvent(ended).end, "end"), endWallMs: 0, repeats: 0 });
    const ask = async <T>(request: unknown): Promise<T> => (await w.wait(w.server.admin.handle(request, around))) as T;
    const before = await ask<ServerStatus>({ command: "status" });
    expect(before.verifying).toMatchObject({ archive: admitted.archive, by: "verify_integrity", total: 800 });
    expect(before.storages).toMatchObject([{ verifyingCount: 1 }]);
    expect(await ask<SessionRecord[]>({ command: "history", limit: 5 })).toMatchObject([{ verify: "pending" }]);
    await w.wait(spoil(w.disk, admitted.archive));
    go();
    await w.wait(link.expect("verified"));
    expect(await ask<SessionRecord[]>({ command: "history", limit: 5 })).toMatchObject([{ verify: "damaged" }]);
    const after = await ask<ServerStatus>({ command: "status" });
    expect(after.verifying).toBeNull();
    const counted = after.metrics.find(({ name }) => name === "nbackup_archives_verified_total");
    expect(counted?.samples).toEqual([{ labels: { storage: "main", result: "damaged" }, value: 1 }]);
    // A command that has read it again, and found it whole, clears the mark through this server.
    const found = {
      command: "verified",
      storage: "main",
      baseDir: "/srv/backups",
      archive: admitted.archive,
      by: "scrub",
    };
    const whole = { ...found, bytes: 800, mtimeMs: 0, finding: { ok: true } };
    expect(await ask<unknown>(whole)).toEqual({ recorded: true });
    expect(marks(w)).toEqual([]);
    expect(await ask<unknown>({ ...whole, bytes: 801 })).toEqual({ recorded: false });
  });
});

describe("scrub_days", () => {
  test("has every archive read again in time, over restarts, and finds what was damaged since", async () => {
    const storages = [storageConfig({ maxBackups: 3, scrubEveryMs: 10 * DAY_MS })];
    let w = await start({ storages });
    for (let count = 0; count < 3; count += 1) {
      const { link } = await w.session();
      const chunks = makeChunks(2, 400);
      for (const chunk of chunks) link.data(chunk, { generation: 1 });
      link.send("finish", finishOf(chunks), 1);
      expect((await w.wait(link.expect("committed"))).verify).toBeUndefined();
    }
    await w.clock.advance(2 * 3_600_000);
    // Their time of change is that of the simulated disk, 1970: all are due.
    const read = (): number => w.eventsOf("archive.verified").length + w.eventsOf("archive.damaged").length;
    expect(read()).toBe(3);
    const [first] = archives(w);
    await w.wait(spoil(w.disk, must(first, "an archive")));
    await w.clock.advance(8 * DAY_MS);
    expect(read()).toBe(3);
    await stop(w);
    w = await start({ storages, disk: w.disk.restart(), clock: w.clock, seed: 9 });
    await w.clock.advance(2 * DAY_MS);
    await settle();
    expect([w.eventsOf("archive.verified").length, w.eventsOf("archive.damaged").length]).toEqual([2, 1]);
    expect(marks(w)).toEqual([`${first ?? ""}.damaged`]);
  });

  test("tells of an index that is damaged, and how it is made again, though the archive is whole", async () => {
    const w = await start({
      storages: [storageConfig({ maxBackups: 3, scrubEveryMs: 10 * DAY_MS })],
      verifyArchive: async (wanted, task) => ({ ...(await compareSum(wanted, task)), indexFault: "a block is wrong" }),
    });
    const { link, admitted } = await w.session();
    const chunks = makeChunks(2, 400);
    for (const chunk of chunks) link.data(chunk, { generation: 1 });
    link.send("finish", finishOf(chunks), 1);
    await w.wait(link.expect("committed"));
    await w.clock.advance(SCRUB_LOOK_MS + 1_000);
    await settle();
    const { archive } = admitted;
    expect(w.eventsOf("archive.verified")).toHaveLength(1);
    expect(w.eventsOf("index.damaged")).toMatchObject([
      {
        level: "warn",
        message: `the index of ${archive} is damaged: a block is wrong`,
        fields: { code: "E_INDEX_DAMAGED", by: "scrub", storage: "main", agent: "web-1" },
      },
    ]);
    expect(w.eventsOf("index.damaged")[0]?.fields["hint"]).toEndWith(
      `nbackup-server index rebuild --storage main ${archive.replace(".tar.gz", "")}`,
    );
  });

  test("goes on with the others when one cannot be read, and tries that once a look", async () => {
    const w = await start({ storages: [storageConfig({ maxBackups: 3, scrubEveryMs: 10 * DAY_MS })] });
    for (let count = 0; count < 3; count += 1) {
      const { link } = await w.session();
      const chunks = makeChunks(2, 400);
      for (const chunk of chunks) link.data(chunk, { generation: 1 });
      link.send("finish", finishOf(chunks), 1);
      await w.wait(link.expect("committed"));
    }
    const [first = "", ...others] = archives(w);
    w.disk.hook = ({ call, path }) => {
      if (call === "open" && path.endsWith(first)) throw diskError("EACCES");
    };
    await w.clock.advance(SCRUB_LOOK_MS + 60_000);
    await settle();
    expect(w.eventsOf("archive.unverified").map(({ fields }) => fields["archive"])).toEqual([first]);
    expect(w.eventsOf("archive.verified").map(({ fields }) => fields["archive"])).toEqual(others);
    w.disk.hook = () => undefined;
    await w.clock.advance(SCRUB_LOOK_MS);
    expect(w.eventsOf("archive.verified").map(({ fields }) => fields["archive"])).toEqual([...others, first]);
  });
});
