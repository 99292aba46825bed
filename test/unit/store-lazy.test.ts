/** Lazy sessions as a whole: where their chunks lie, what a commit, an abort and an error leave. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import type { SessionProof } from "#store/session-types.ts";
import { type Staging, STAGINGS } from "#test/support/lazy-kit.ts";
import { diskError } from "#test/support/memory-file.ts";
import { settle } from "#test/support/sim-clock.ts";
import {
  begin,
  chunkAt,
  end,
  type Kit,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  shuffled,
  type TestFile,
  testFile,
} from "#test/support/store-kit.ts";

const SESSION = `.nbackup/sessions/${SESSION_A}`;
const NAME = "web-01/home/2026-02-12T02-00-00-123Z";
const quiet = (): undefined => undefined;

const archive = testFile(seededRandom(11), [70_000, 1, 300_000, 2000, 40_000]);
const index = testFile(seededRandom(12), [5000, 5000], 1);

function nameOf({ shardLevels, chunkFsync }: Staging): string {
  return `${shardLevels} level${shardLevels === 1 ? "" : "s"}, ${chunkFsync ? "each chunk" : "the filesystem"} synced`;
}

/** A session with everything sent and nothing finished. */
async function sent(kit: Pick<Kit, "storage" | "clock">, ...files: TestFile[]) {
  const { heard, events } = listen();
  const store = await kit.storage.createSession(request(), events);
  for (const chunk of shuffled(
    files.flatMap((file) => file.chunks),
    seededRandom(3),
  ))
    send(store, chunk);
  return { store, heard };
}

function staged(kit: Kit): string[] {
  const paths = [...kit.disk.tree(`/srv/backup/${SESSION}`).keys()];
  return paths.filter((path) => path.startsWith("chunks/") && !path.endsWith("/"));
}

for (const staging of STAGINGS) {
  for (const compression of ["gzip", "zst"] as const) {
    test(`a lazy ${compression} session, ${nameOf(staging)}, leaves what an eager one leaves`, async () => {
      const kit = await openKit({ staging: { ...staging, batchBytes: 100_000 } });
      const store = await kit.storage.createSession(request({ compression }), listen().events);
      const chunks = shuffled([...archive.chunks, ...index.chunks], seededRandom(4));
      for (const chunk of chunks) send(store, chunk);
      store.push();
      await settle();
      const shard = staging.shardLevels === 1 ? "chunks/00" : "chunks/00/00";
      const names = [0, 1].flatMap((file) =>
        (file === 0 ? archive : index).chunks.map(({ sequence }) => `${shard}/${file}-0000000${sequence}`),
      );
      expect(staged(kit)).toEqual(names);
      expect(store.acknowledgement(10).map((file) => file.durableChunks)).toEqual([5, 2]);
      const phases: [string, number, number][] = [];
      const finished = store.finish(proofOf(archive, index), (...phase) => phases.push(phase));
      await kit.clock.until(finished, 10_000);
      const extension = compression === "gzip" ? "tar.gz" : "tar.zst";
      const tree = kit.disk.reboot().tree("/srv/backup");
      expect(tree.get(`${NAME}.${extension}`)).toEqual(archive.bytes);
      expect(tree.get(`${NAME}.idx`)).toEqual(index.bytes);
      expect([...kit.disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
      const assembling = phases.filter(([phase]) => phase === "assembling").map(([, done]) => done);
      const total = archive.bytes.length + index.bytes.length;
      expect(assembling.length).toBeGreaterThan(3);
      expect(assembling).toEqual(assembling.toSorted((a, b) => a - b));
      expect(assembling.at(-1)).toBe(total);
      expect(phases.every(([, , of]) => of === total)).toBeTrue();
      expect(kit.storage.staging).toEqual({ stagedChunks: 7, assembledBytes: total });
      await kit.storage.close();
      expect([kit.disk.openFiles, kit.clock.pendingCount]).toEqual([0, 0]);
    });
  }

  test(`what a lazy session acknowledged is on the disk, ${nameOf(staging)}`, async () => {
    const kit = await openKit({ staging });
    const { store } = await sent(kit, archive);
    store.push();
    await settle();
    expect(store.acknowledgement(1)[0]?.durableChunks).toBe(5);
    const tree = kit.disk.reboot().tree(`/srv/backup/${SESSION}`);
    const shard = staging.shardLevels === 1 ? "chunks/00" : "chunks/00/00";
    for (const { sequence, bytes } of archive.chunks) {
      expect(tree.get(`${shard}/0-0000000${sequence}`)).toEqual(Buffer.from(bytes));
    }
    await store.abort(new Failure("E_ABORTED", "by the test"));
    await kit.storage.close();
    expect(kit.disk.openFiles).toBe(0);
  });

  test(`thousands of chunks fill one directory after another with few files open, ${nameOf(staging)}`, async () => {
    const kit = await openKit({ staging: { ...staging, batchBytes: 30_000 } });
    const file = testFile(
      seededRandom(5),
      Array.from({ length: 1500 }, (_, number) => (number === 700 ? 300_000 : 1 + (number % 50))),
    );
    const { heard, events } = listen();
    const store = await kit.storage.createSession(request(), events);
    // One that was begun first and ends last is closed meanwhile to make room, and opened again.
    const slow = chunkAt(file, 700);
    const writer = begin(store, slow);
    writer.write(slow.bytes.subarray(0, 290_000));
    await settle();
    let openMost = 0;
    kit.disk.hook = () => {
      openMost = Math.max(openMost, kit.disk.openFiles);
    };
    for (const chunk of shuffled(file.chunks, seededRandom(6))) if (chunk !== slow) send(store, chunk);
    await settle();
    writer.write(slow.bytes.subarray(290_000));
    end(writer, slow);
    await kit.clock.until(store.finish(proofOf(file), quiet), 60_000);
    expect(kit.disk.tree("/srv/backup").get(`${NAME}.tar.gz`)).toEqual(file.bytes);
    expect(openMost).toBeGreaterThan(200);
    expect(openMost).toBeLessThan(280);
    expect(heard.failed).toEqual([]);
    await kit.storage.close();
    expect([kit.disk.openFiles, kit.clock.pendingCount]).toEqual([0, 0]);
  });
}

test("a chunk that was given up and comes again shorter is as long as the second one, however slow the first is", async () => {
  const kit = await openKit({ staging: { shardLevels: 1, chunkFsync: true } });
  const store = await kit.storage.createSession(request(), listen().events);
  const file = testFile(seededRandom(7), [1000, 20_000]);
  // A peer may say otherwise as long as nobody knows better.
  const placing = store.beginChunk({ file: 0, sequence: 1, offset: 900, storedLength: 600_000 });
  if (placing.verdict !== "new") throw new Error("a duplicate");
  const slow = Promise.withResolvers<void>();
  kit.disk.hook = async ({ call, offset }) => {
    if (call === "write" && offset === 256 * KiB) await slow.promise;
  };
  placing.writer.write(new Uint8Array(550_000));
  await settle();
  placing.writer.abort();
  for (const chunk of file.chunks) send(store, chunk);
  store.push();
  await settle();
  slow.resolve();
  await kit.clock.until(store.finish(proofOf(file), quiet), 10_000);
  expect(kit.disk.tree("/srv/backup").get(`${NAME}.tar.gz`)).toEqual(file.bytes);
  await kit.storage.close();
});

test("a staged chunk that reads back other than it arrived is lost and may come again", async () => {
  for (const staging of STAGINGS) {
    const kit = await openKit({ staging, pendingBytesMax: 0 });
    const { heard, events } = listen();
    const store = await kit.storage.createSession(request(), events);
    for (const chunk of archive.chunks.slice(1)) send(store, chunk);
    await settle();
    const shard = staging.shardLevels === 1 ? "chunks/00" : "chunks/00/00";
    const file = await kit.disk.open(`/srv/backup/${SESSION}/${shard}/0-00000002`, "read-write");
    await file.write(Buffer.alloc(10), 1000);
    await file.close();
    send(store, chunkAt(archive, 0));
    await kit.clock.advance(10);
    expect(heard.lost).toEqual([[0, 2]]);
    send(store, chunkAt(archive, 2));
    await kit.clock.until(store.finish(proofOf(archive), quiet), 10_000);
    expect(kit.disk.tree("/srv/backup").get(`${NAME}.tar.gz`)).toEqual(archive.bytes);
    await kit.storage.close();
    expect(kit.disk.openFiles).toBe(0);
  }
});

test("an error at any call of a lazy session ends it with its code, and the abort leaves nothing", async () => {
  for (const staging of STAGINGS) {
    const outcomes = { committed: 0, failed: 0 };
    for (let step = 0; ; step += 1) {
      const errno = step % 2 === 0 ? "ENOSPC" : "EIO";
      const kit = await openKit({ staging: { ...staging, batchBytes: 90_000 } });
      const start = kit.disk.calls;
      let hit = false;
      kit.disk.hook = ({ index: call, call: name }) => {
        if (call !== start + step || name === "close") return;
        hit = true;
        throw diskError(errno);
      };
      const result = await life(kit, proofOf(archive, index));
      kit.disk.hook = () => undefined;
      if (result instanceof Failure) {
        expect(["E_DISK_FULL", "E_DISK", "E_STORAGE_FAILED"]).toContain(result.code);
        if (result.code !== "E_STORAGE_FAILED") expect(result.code).toBe(errno === "EIO" ? "E_DISK" : "E_DISK_FULL");
        expect([...kit.disk.tree("/srv/backup").keys()].filter((path) => !path.startsWith(".nbackup"))).toEqual([]);
        outcomes.failed += 1;
      } else {
        expect(kit.disk.tree("/srv/backup").get(`${NAME}.tar.gz`)).toEqual(archive.bytes);
        outcomes.committed += 1;
      }
      await kit.storage.close();
      expect([kit.disk.openFiles, kit.clock.pendingCount]).toEqual([0, 0]);
      // What could not be tidied up the next start tidies up.
      const next = await openKit({ disk: kit.disk });
      expect([...kit.disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
      await next.storage.close();
      if (!hit && kit.disk.calls < start + step) break;
    }
    expect(outcomes.failed).toBeGreaterThan(60);
    expect(outcomes.committed).toBeGreaterThan(10);
  }
});

/** A whole session, aborted if it fails; resolves with the failure, if any. */
async function life(kit: Kit, proof: SessionProof): Promise<unknown> {
  try {
    const { store } = await sent(kit, archive, index);
    try {
      await kit.clock.until(store.finish(proof, quiet), 10_000);
      return undefined;
    } catch (error) {
      await store.abort(new Failure("E_ABORTED", "by the test"));
      return error;
    }
  } catch (error) {
    return error;
  }
}

/** Waits for it while time passes and slow calls have their turns. */
async function patiently<T>(kit: Kit, promise: Promise<T>): Promise<T> {
  let settled = false;
  void promise.then(() => {
    settled = true;
  });
  for (let turn = 0; !settled; turn += 1) {
    if (turn > 10_000) throw new Error("it waits for ever");
    kit.clock.step();
    await settle();
  }
  return promise;
}

test("an abort at any point of the assembly leaves nothing", async () => {
  for (const staging of STAGINGS) {
    let [step, aborts, committed] = [0, 0, false];
    for (; !committed; step += 1) {
      const kit = await openKit({ staging: { ...staging, batchBytes: 80_000 } });
      const { store } = await sent(kit, archive, index);
      let assembling = false;
      let calls = 0;
      let aborted: Promise<void> | undefined;
      let [removing, closedEarly] = [0, false];
      kit.disk.hook = async ({ call }) => {
        if (assembling && calls === step) aborted = store.abort(new Failure("E_ABORTED", "by the test"));
        if (assembling) calls += 1;
        // Removals take their time: none may be under way when the session's files are closed.
        if (call === "close") closedEarly ||= removing > 0;
        if (call !== "unlink") return;
        removing += 1;
        for (let turns = 0; turns < 4; turns += 1) await settle();
        removing -= 1;
      };
      const finished = store
        .finish(proofOf(archive, index), (phase) => {
          assembling ||= phase === "assembling";
          if (phase === "committing") assembling = false;
        })
        .catch((error: unknown) => error);
      const result = await patiently(kit, finished);
      await aborted;
      committed = !(result instanceof Error);
      expect(closedEarly).toBeFalse();
      if (!committed) {
        aborts += 1;
        expect(String(result)).toContain("by the test");
        expect([...kit.disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
      }
      expect(await kit.storage.archives("web-01", "home")).toHaveLength(committed ? 1 : 0);
      await kit.storage.close();
      expect([kit.disk.openFiles, kit.clock.pendingCount]).toEqual([0, 0]);
    }
    expect(aborts).toBeGreaterThan(25);
  }
});

test("a staged chunk that is missing, short or empty at the end is E_DISK and commits nothing", async () => {
  const harm: Record<string, (kit: Kit, path: string) => Promise<void>> = {
    "is missing": (kit, path) => kit.disk.unlink(path),
    "is empty": async (kit, path) => (await kit.disk.open(path, "read-write")).truncate(0),
    "were staged, expected": async (kit, path) => (await kit.disk.open(path, "read-write")).truncate(100),
  };
  for (const [text, damage] of Object.entries(harm)) {
    const kit = await openKit({ staging: { shardLevels: 2, chunkFsync: true } });
    const { store } = await sent(kit, archive);
    store.push();
    await settle();
    await damage(kit, `/srv/backup/${SESSION}/chunks/00/00/0-00000003`);
    const result = await kit.clock.until(
      store.finish(proofOf(archive), quiet).catch((error: unknown) => error),
      10_000,
    );
    expect(String(result)).toContain("E_DISK");
    expect(String(result)).toContain(text);
    await store.abort(new Failure("E_ABORTED", "by the test"));
    expect(await kit.storage.archives("web-01", "home")).toEqual([]);
    await kit.storage.close();
  }
});
