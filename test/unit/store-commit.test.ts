/** Finish and commit: what is compared, what a commit leaves, and what a crash at any moment leaves. */
import { expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import type { SessionProof } from "#store/session-types.ts";
import { Storage } from "#store/storage.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { settle, SimClock } from "#test/support/sim-clock.ts";
import {
  begin,
  chunkAt,
  type Kit,
  listLog,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  SESSION_B,
  storageOptions,
  type TestFile,
  testFile,
} from "#test/support/store-kit.ts";

const DIRECTORY = "web-01/home";
const NAME = "2026-02-12T02-00-00-123Z";
const quiet = (): undefined => undefined;

const archiveFile = testFile(seededRandom(1), [70_000, 1, 300_000, 2000]);
const indexFile = testFile(seededRandom(2), [5000, 5000], 1);

/** Runs a whole session; resolves with its answer. */
async function backup(
  kit: Pick<Kit, "storage" | "clock">,
  changes: Parameters<typeof request>[0],
  ...files: TestFile[]
) {
  const store = await kit.storage.createSession(request(changes), listen().events);
  for (const chunk of files.flatMap((file) => file.chunks)) send(store, chunk);
  return kit.clock.until(store.finish(proofOf(...files), quiet), 60_000);
}

test("a commit leaves the archive, its index and its checksum, and nothing of the session", async () => {
  const kit = await openKit();
  await backup(kit, {}, archiveFile, indexFile);
  const tree = kit.disk.tree("/srv/backup");
  expect([...tree.keys()]).toEqual([
    ".nbackup/",
    ".nbackup/commits.jsonl",
    ".nbackup/lock",
    ".nbackup/sessions/",
    "web-01/",
    `${DIRECTORY}/`,
    `${DIRECTORY}/${NAME}.idx`,
    `${DIRECTORY}/${NAME}.tar.gz`,
    `${DIRECTORY}/${NAME}.tar.gz.sha256`,
  ]);
  expect(tree.get(`${DIRECTORY}/${NAME}.tar.gz`)).toEqual(archiveFile.bytes);
  expect(tree.get(`${DIRECTORY}/${NAME}.idx`)).toEqual(indexFile.bytes);
  const hex = Buffer.from(archiveFile.proof.sha256).toString("hex");
  expect(String(tree.get(`${DIRECTORY}/${NAME}.tar.gz.sha256`))).toBe(`${hex}  ${NAME}.tar.gz\n`);
  await kit.storage.close();
  expect([kit.disk.openFiles, kit.clock.pendingCount]).toEqual([0, 0]);
});

test("what the commit answered survives a power loss at that moment", async () => {
  const kit = await openKit();
  const answer = await backup(kit, {}, archiveFile, indexFile);
  const disk = kit.disk.reboot();
  const tree = disk.tree(`/srv/backup/${DIRECTORY}`);
  expect([...tree.keys()]).toEqual([`${NAME}.idx`, `${NAME}.tar.gz`, `${NAME}.tar.gz.sha256`]);
  expect(tree.get(`${NAME}.tar.gz`)).toEqual(archiveFile.bytes);
  const after = await openKit({ disk });
  expect(after.storage.commitRecord(SESSION_A)).toMatchObject(answer);
  expect(after.storage.lastCommitted("web-01", "home")).toMatchObject({ entries: 7, rawBytes: 4096 });
});

test("Finish asked again gets the same answer and the archive is committed once", async () => {
  const kit = await openKit();
  const store = await kit.storage.createSession(request(), listen().events);
  for (const chunk of archiveFile.chunks) send(store, chunk);
  const phases: string[] = [];
  const first = store.finish(proofOf(archiveFile), () => phases.push("first"));
  const second = store.finish(proofOf(archiveFile), (phase) => phases.push(phase));
  const answers = await kit.clock.until(Promise.all([first, second]), 10_000);
  expect(answers[0]).toBe(answers[1]);
  expect(await store.finish(proofOf(archiveFile), quiet)).toBe(answers[0]);
  expect(phases).toEqual(["first", "committing", "rotating"]);
  expect(await kit.storage.archives("web-01", "home")).toHaveLength(1);
  // Too late to abort.
  await store.abort(new Failure("E_ABORTED", "by the test"));
  expect(await kit.storage.archives("web-01", "home")).toHaveLength(1);
  // A copy of a chunk that was slower than Finish is still recognised; a new chunk is a breach.
  expect(send(store, chunkAt(archiveFile, 2))).toBe("duplicate");
  const { bytes } = archiveFile;
  expect(() => store.beginChunk({ file: 0, sequence: 4, offset: bytes.length, storedLength: 1 })).toThrow(
    "after Finish",
  );
});

test("counts or proofs that differ are a mismatch: nothing is committed and the abort removes everything", async () => {
  const good = proofOf(archiveFile, indexFile);
  const [archive, index] = [must(good.files[0], "archive"), must(good.files[1], "index")];
  const other = Buffer.alloc(32, 1);
  const wrong: [string, SessionProof][] = [
    ["5 chunks", { ...good, files: [{ ...archive, chunks: 5 }, index] }],
    ["chunks of 372002 bytes were sent", { ...good, files: [{ ...archive, bytes: archive.bytes + 1 }, index] }],
    [
      "file 0: every chunk is what was sent, but the SHA-256",
      { ...good, files: [{ ...archive, sha256: other }, index] },
    ],
    ["file 1: the list of chunks", { ...good, files: [archive, { ...index, root: other }] }],
    ["file 1: 2 chunks", { ...good, files: [archive] }],
  ];
  for (const [text, proof] of wrong) {
    const kit = await openKit();
    const { heard, events } = listen();
    const store = await kit.storage.createSession(request(), events);
    for (const chunk of [...archiveFile.chunks, ...indexFile.chunks]) send(store, chunk);
    const failure = await kit.clock.until(
      store.finish(proof, quiet).catch((error: unknown) => error),
      10_000,
    );
    expect(String(failure)).toContain("E_MISMATCH");
    expect(String(failure)).toContain(text);
    expect(await store.finish(good, quiet).catch((error: unknown) => error)).toBe(failure);
    await store.abort(failure instanceof Failure ? failure : new Failure("E_INTERNAL", "not a failure"));
    expect([...kit.disk.tree("/srv/backup").keys()]).toEqual([
      ".nbackup/",
      ".nbackup/commits.jsonl",
      ".nbackup/lock",
      ".nbackup/sessions/",
    ]);
    expect(heard.failed).toEqual([]);
    await kit.storage.close();
    expect([kit.disk.openFiles, kit.clock.pendingCount]).toEqual([0, 0]);
  }
});

test("Finish before everything arrived is a breach of the protocol", async () => {
  for (const state of ["missing", "on its way", "empty"] as const) {
    const kit = await openKit();
    const store = await kit.storage.createSession(request(), listen().events);
    if (state !== "empty") for (const sequence of [0, 2, 3]) send(store, chunkAt(archiveFile, sequence));
    if (state === "on its way") begin(store, chunkAt(archiveFile, 1));
    const proof = state === "empty" ? proofOf(testFile(seededRandom(1), [])) : proofOf(archiveFile);
    const text = { missing: "are missing", "on its way": "are on their way", empty: "names no archive" }[state];
    expect(store.finish(proof, quiet)).rejects.toThrow(text);
    await settle();
    await store.abort(new Failure("E_ABORTED", "by the test"));
  }
});

test("a file that lies where the archive would go is never overwritten", async () => {
  const kit = await openKit();
  const first = await kit.storage.createSession(request(), listen().events);
  for (const chunk of archiveFile.chunks) send(first, chunk);
  await kit.disk.mkdir("/srv/backup/web-01", 0o755);
  await kit.disk.mkdir(`/srv/backup/${DIRECTORY}`, 0o755);
  kit.disk.plant(`/srv/backup/${DIRECTORY}/${NAME}.tar.gz`, Buffer.from("precious"));
  const failure = kit.clock.until(
    first.finish(proofOf(archiveFile), quiet).catch((error: unknown) => error),
    10_000,
  );
  expect(String(await failure)).toContain("E_STORAGE_FAILED");
  await first.abort(new Failure("E_ABORTED", "by the test"));
  const tree = kit.disk.tree(`/srv/backup/${DIRECTORY}`);
  expect([...tree].map(([name, bytes]) => [name, String(bytes)])).toEqual([[`${NAME}.tar.gz`, "precious"]]);
});

test("an error at any step of the commit takes it back, or the archive stands whole", async () => {
  const outcomes = { committed: 0, undone: 0 };
  for (let step = 0; ; step += 1) {
    const kit = await openKit();
    const { heard, events } = listen();
    const store = await kit.storage.createSession(request(), events);
    for (const chunk of [...archiveFile.chunks, ...indexFile.chunks]) send(store, chunk);
    store.push();
    await settle();
    const start = kit.disk.calls;
    let hit = false;
    kit.disk.hook = ({ index, call }) => {
      if (index !== start + step || call === "close") return;
      hit = true;
      throw diskError("ENOSPC");
    };
    const result = await kit.clock.until(
      store.finish(proofOf(archiveFile, indexFile), quiet).catch((error: unknown) => error),
      10_000,
    );
    kit.disk.hook = () => undefined;
    if (result instanceof Error) {
      expect(String(result)).toContain("E_DISK_FULL");
      await store.abort(new Failure("E_ABORTED", "by the test"));
      expect([...kit.disk.tree("/srv/backup").keys()].filter((path) => !path.startsWith(".nbackup"))).toEqual([]);
      expect([...kit.disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
      outcomes.undone += 1;
    } else {
      expect(kit.disk.tree(`/srv/backup/${DIRECTORY}`).get(`${NAME}.tar.gz`)).toEqual(archiveFile.bytes);
      outcomes.committed += 1;
    }
    expect(heard.failed).toEqual([]);
    await kit.storage.close();
    expect([kit.disk.openFiles, kit.clock.pendingCount]).toEqual([0, 0]);
    // What is left of a commit that could not be recorded, the next start puts in order.
    const next = await openKit({ disk: kit.disk });
    expect(next.storage.commitRecord(SESSION_A) !== undefined).toBe(!(result instanceof Error));
    expect([...kit.disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
    await next.storage.close();
    if (!hit && kit.disk.calls < start + step) break;
  }
  expect(outcomes.undone).toBeGreaterThan(10);
  expect(outcomes.committed).toBeGreaterThan(5);
});

test("names that a failed sync put on the disk are gone for good when the commit was taken back", async () => {
  const kit = await openKit();
  const store = await kit.storage.createSession(request(), listen().events);
  for (const chunk of archiveFile.chunks) send(store, chunk);
  let failed = false;
  kit.disk.hook = async ({ call, path }) => {
    if (failed || call !== "syncDirectory" || path !== `/srv/backup/${DIRECTORY}`) return;
    failed = true;
    await kit.disk.syncDirectory(path);
    throw diskError("EIO");
  };
  const failure = await kit.clock.until(
    store.finish(proofOf(archiveFile), quiet).catch((error: unknown) => error),
    10_000,
  );
  expect([failed, String(failure)]).toEqual([true, expect.stringContaining("E_DISK")]);
  await store.abort(new Failure("E_DISK", "by the test"));
  const found = [...kit.disk.reboot().tree("/srv/backup").keys()].filter((path) => /\.(gz|sha256)$/.test(path));
  expect(found).toEqual([]);
  await kit.storage.close();
});

test("a commit that was recorded is not carried out again by the next start, whatever became of its archive", async () => {
  const kit = await openKit();
  const store = await kit.storage.createSession(request(), listen().events);
  for (const chunk of archiveFile.chunks) send(store, chunk);
  const crashed = Promise.withResolvers<void>();
  kit.disk.hook = ({ call, path }) => {
    if (call !== "unlink" || !path.endsWith("journal")) return;
    kit.disk.crash();
    crashed.resolve();
  };
  void store.finish(proofOf(archiveFile), quiet);
  await kit.clock.until(crashed.promise, 10_000);
  const disk = kit.disk.reboot();
  await disk.unlink(`/srv/backup/${DIRECTORY}/${NAME}.tar.gz`);
  const after = await openKit({ disk });
  expect(after.storage.commitRecord(SESSION_A)?.bytes).toBe(archiveFile.bytes.length);
  expect(await after.storage.archives("web-01", "home")).toEqual([]);
  expect([...disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
});

/** A whole life of a storage: one archive is there, a second one is made and rotates the first away. */
async function life(disk: MemoryDisk, answered: () => void): Promise<void> {
  const clock = new SimClock();
  const storage = await Storage.open(storageOptions({ disk, clock, maxBackups: 1 }));
  await backup({ storage, clock }, { session: SESSION_B, startWallMs: Date.UTC(2026, 1, 13) }, archiveFile, indexFile);
  answered();
  await storage.close();
}

async function diskWithOneArchive(): Promise<MemoryDisk> {
  const kit = await openKit({ maxBackups: 1 });
  await backup(kit, {}, testFile(seededRandom(3), [1000]));
  await kit.storage.close();
  return kit.disk.reboot();
}

async function crashAt(call: number, seed: number | undefined): Promise<"before" | "answered" | "ended"> {
  const disk = await diskWithOneArchive();
  const crashed = Promise.withResolvers<void>();
  disk.hook = ({ index }) => {
    if (index < call) return;
    disk.crash();
    crashed.resolve();
  };
  let answered = false;
  const done = life(disk, () => {
    answered = true;
  });
  const ended = await Promise.race([crashed.promise.then(() => false), done.then(() => true)]);
  await settle();
  const after = disk.reboot(seed === undefined ? undefined : seededRandom(seed));
  const log = listLog();
  const storage = await Storage.open(storageOptions({ disk: after, log, maxBackups: 1 }));
  // What can go on is the business of store-recovery.test.ts.
  for (const left of storage.takeLeft().sessions) await left.discard();
  const archives = (await storage.archives("web-01", "home")).map((archive) => archive.archive);
  const second = `${DIRECTORY}/2026-02-13T00-00-00-000Z.tar.gz`;
  const first = `${DIRECTORY}/${NAME}.tar.gz`;
  const tree = after.tree("/srv/backup");
  const committed = archives.includes(second);
  // Either it is wholly there or nothing of it is visible, and what was answered holds.
  expect(storage.commitRecord(SESSION_B)?.archive).toBe(committed ? second : undefined);
  if (answered) expect(archives).toEqual([second]);
  if (committed) {
    expect(tree.get(second)).toEqual(archiveFile.bytes);
    expect(tree.get(second.replace(".tar.gz", ".idx"))).toEqual(indexFile.bytes);
    expect(String(tree.get(`${second}.sha256`))).toContain("2026-02-13T00-00-00-000Z.tar.gz\n");
  } else {
    expect(archives).toEqual([first]);
    expect([...tree.keys()].filter((path) => path.includes("2026-02-13"))).toEqual([]);
  }
  // The old archive is whole as long as it is there, and nothing of a session is left.
  if (archives.includes(first)) expect(must(tree.get(first), "the first archive")).toHaveLength(1000);
  expect([...tree.keys()].filter((path) => path.startsWith(".nbackup/sessions/") && path.length > 18)).toEqual([]);
  const bases = [...tree.keys()].filter((path) => path.startsWith(`${DIRECTORY}/`)).map((path) => path.split(".")[0]);
  for (const base of bases.slice(1)) expect(archives).toContain(`${base}.tar.gz`);
  expect(log.lines.filter((line) => line.level === "error")).toEqual([]);
  expect(await storage.rotate("web-01", "home", { dryRun: false })).toEqual(archives.length > 1 ? [first] : []);
  await storage.close();
  expect(after.openFiles).toBe(0);
  if (ended) return "ended";
  return answered || committed ? "answered" : "before";
}

test("a power loss before any call of a session's life leaves the archive wholly there or not at all", async () => {
  const seen = { before: 0, answered: 0 };
  for (let call = 0; ; call += 1) {
    const outcome = await crashAt(call, undefined);
    if (outcome === "ended") break;
    seen[outcome] += 1;
  }
  expect(seen.before).toBeGreaterThan(40);
  expect(seen.answered).toBeGreaterThan(20);
});

test("so does one that keeps any part of what was not synced", async () => {
  let crashes = 0;
  for (let seed = 1; seed <= 6; seed += 1) {
    for (let call = 0; (await crashAt(call, seed * 1000 + call)) !== "ended"; call += 1) crashes += 1;
  }
  expect(crashes).toBeGreaterThan(400);
});
