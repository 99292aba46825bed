/** What a storage finds of sessions whose server died, and how they go on: from any point, with any part of the rest. */
import { describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import type { SessionStore } from "#store/session-store.ts";
import { type LeftSession, Storage } from "#store/storage.ts";
import { type Staging, STAGINGS } from "#test/support/lazy-kit.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { settle, SimClock } from "#test/support/sim-clock.ts";
import {
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
  shuffled,
  storageOptions,
  type TestChunk,
  testFile,
} from "#test/support/store-kit.ts";

const quiet = (): undefined => undefined;
const SESSIONS = "/srv/backup/.nbackup/sessions";
const archiveFile = testFile(seededRandom(1), [70_000, 1, 300_000, 2000, 40_000, 600_000]);
const indexFile = testFile(seededRandom(2), [5000, 5000], 1);
const allChunks = [...archiveFile.chunks, ...indexFile.chunks];

/** Sends what the store says that it has not, as an agent would, and commits. */
async function goOn(store: SessionStore, clock: SimClock) {
  const said = store.acknowledgement(1000);
  const has = (file: number, sequence: number): boolean => {
    const one = said.find((each) => each.file === file);
    return (
      one !== undefined &&
      (sequence < one.durableChunks || one.received.some(([first, last]) => sequence >= first && sequence <= last))
    );
  };
  for (const chunk of allChunks) if (!has(chunk.file, chunk.sequence)) send(store, chunk);
  return await clock.until(store.finish(proofOf(archiveFile, indexFile), quiet), 60_000);
}

interface Life {
  /** Of the archive, as the agent was told. */
  durableChunks: number;
  committed: boolean;
}

/** Where chunks lie: at their place, and staged in each way, with batches of a few. */
const PLACEMENTS: readonly (Staging | undefined)[] = [
  undefined,
  ...STAGINGS.map((staging) => ({ ...staging, batchBytes: 200_000 })),
];

function nameOf(staging: Staging | undefined): string {
  if (staging === undefined) return "eager";
  return `lazy, ${staging.shardLevels} levels, ${staging.chunkFsync ? "each chunk synced" : "the filesystem synced"}`;
}

/** A whole session; `life` says how far it came before it stopped for good. */
async function live(
  disk: MemoryDisk,
  order: typeof allChunks,
  life: Life,
  staging: Staging | undefined,
): Promise<void> {
  const clock = new SimClock();
  const storage = await Storage.open(storageOptions({ disk, clock, staging }));
  const store = await storage.createSession(request(), {
    ...listen().events,
    durable: () => {
      life.durableChunks = must(store.acknowledgement(1)[0], "the archive").durableChunks;
    },
  });
  for (const chunk of order) {
    send(store, chunk);
    await clock.advance(400);
  }
  await clock.until(store.finish(proofOf(archiveFile, indexFile), quiet), 60_000);
  life.committed = true;
  await storage.close();
}

type CrashOutcome = "ended" | "gone" | "went on" | "committed";

async function crashAt(call: number, seed: number | undefined, staging: Staging | undefined): Promise<CrashOutcome> {
  const disk = new MemoryDisk();
  const crashed = Promise.withResolvers<boolean>();
  disk.hook = ({ index }) => {
    if (index < call) return;
    disk.crash();
    crashed.resolve(false);
  };
  const life: Life = { durableChunks: 0, committed: false };
  const order = seed === undefined ? allChunks : shuffled(allChunks, seededRandom(seed));
  const ended = await Promise.race([crashed.promise, live(disk, order, life, staging).then(() => true)]);
  await settle();
  const after = disk.reboot(seed === undefined ? undefined : seededRandom(seed));
  const kit = await openKit({ disk: after, staging });
  const { sessions, casualties } = kit.storage.takeLeft();
  expect(casualties).toEqual([]);
  const [left] = sessions;
  let outcome: "gone" | "went on" | "committed" = "gone";
  if (left === undefined) {
    // What was acknowledged is committed, or nothing was.
    if (kit.storage.commitRecord(SESSION_A) === undefined)
      expect([life.durableChunks, life.committed]).toEqual([0, false]);
    else outcome = "committed";
  } else {
    const { heard, events } = listen();
    const store = left.adopt(events);
    expect(must(store.acknowledgement(1)[0], "the archive").durableChunks).toBeGreaterThanOrEqual(life.durableChunks);
    await goOn(store, kit.clock);
    expect(heard).toMatchObject({ failed: [], lost: [], verified: 1 });
    outcome = "went on";
  }
  const name = (await kit.storage.archives("web-01", "home"))[0]?.archive;
  if (outcome === "gone") expect(name).toBeUndefined();
  else expect(after.tree("/srv/backup").get(must(name, "archive"))).toEqual(archiveFile.bytes);
  expect([...after.tree(SESSIONS).keys()]).toEqual([]);
  await kit.storage.close();
  expect(after.openFiles).toBe(0);
  expect(kit.clock.pendingCount).toBe(0);
  return ended ? "ended" : outcome;
}

describe.each(PLACEMENTS.map((staging) => [nameOf(staging), staging] as const))("a session, %s,", (_name, staging) => {
  test("goes on after a power loss before any call of its life, and nothing acknowledged is lost", async () => {
    const seen = { gone: 0, "went on": 0, committed: 0 };
    for (let call = 0; ; call += 1) {
      const outcome = await crashAt(call, undefined, staging);
      if (outcome === "ended") break;
      seen[outcome] += 1;
    }
    expect(seen.gone).toBeGreaterThan(10);
    expect(seen["went on"]).toBeGreaterThan(20);
    expect(seen.committed).toBeGreaterThan(10);
  });

  test("does so whatever part of what was not synced the disk has kept, in whatever order chunks came", async () => {
    let crashes = 0;
    for (let seed = 1; seed <= (staging === undefined ? 4 : 1); seed += 1) {
      for (let call = 0; (await crashAt(call, seed * 1000 + call, staging)) !== "ended"; call += 1) crashes += 1;
    }
    expect(crashes).toBeGreaterThan(staging === undefined ? 250 : 80);
  });
});

/** A storage with a session in it of which these chunks are durable, as a killed server leaves it. */
async function killed(
  chunks: readonly TestChunk[] = allChunks,
  changes: Parameters<typeof request>[0] = {},
  disk = new MemoryDisk(),
) {
  const kit = await openKit({ disk });
  const store = await kit.storage.createSession(request(changes), listen().events);
  for (const chunk of chunks) send(store, chunk);
  store.push();
  await kit.clock.advance(50);
  expect(store.settled).toBe(true);
  return kit.disk.reboot();
}

async function reopened(disk: MemoryDisk): Promise<{ readonly kit: Kit; readonly left: readonly LeftSession[] }> {
  const kit = await openKit({ disk });
  return { kit, left: kit.storage.takeLeft().sessions };
}

describe("a session of a dead server", () => {
  test("says what was agreed with its agent", async () => {
    const { kit, left } = await reopened(await killed(allChunks, { parallels: 7, expectedBytes: 123, lastEntries: 4 }));
    expect(left[0]?.head).toMatchObject({ ...request(), parallels: 7, expectedBytes: 123, lastEntries: 4 });
    await left[0]?.leave();
    await kit.storage.close();
  });

  test("keeps its entry until it is over", async () => {
    const { kit, left } = await reopened(await killed());
    const refused = await kit.storage
      .createSession(request({ session: SESSION_B }), listen().events)
      .then(String, String);
    expect(refused).toContain("E_BUSY");
    await must(left[0], "session").discard();
    expect([...kit.disk.tree(SESSIONS).keys()]).toEqual([]);
    const store = await kit.storage.createSession(request({ session: SESSION_B }), listen().events);
    await goOn(store, kit.clock);
    await kit.storage.close();
  });

  test("that nobody takes is there again at the next start", async () => {
    const first = await openKit({ disk: await killed() });
    await first.storage.close();
    const { kit, left } = await reopened(first.disk);
    await goOn(must(left[0], "session").adopt(listen().events), kit.clock);
    await kit.storage.close();
  });

  test("whose journal is torn goes on where it is whole, and the torn end is cut off", async () => {
    const disk = await killed(archiveFile.chunks.slice(0, 4));
    const journal = await disk.open(`${SESSIONS}/${SESSION_A}/journal`, "read-write");
    const size = await journal.size();
    // The last record lost its last byte, and half a record of something follows.
    await journal.truncate(size - 1);
    await journal.write(Buffer.alloc(30, 7), size - 1);
    await journal.close();
    const { kit, left } = await reopened(disk);
    const store = must(left[0], "session").adopt(listen().events);
    expect(store.acknowledgement(10)).toEqual([{ file: 0, durableChunks: 3, durableBytes: 370_001, received: [] }]);
    expect((await disk.lstat(`${SESSIONS}/${SESSION_A}/journal`)).size).toBe(size - 72);
    await goOn(store, kit.clock);
    await kit.storage.close();
  });

  test("whose bytes the disk has lost ends with E_DISK that names the chunk, and leaves nothing", async () => {
    const disk = await killed(archiveFile.chunks);
    const part = await disk.open(`${SESSIONS}/${SESSION_A}/archive.part`, "read-write");
    await part.truncate(archiveFile.bytes.length - 1);
    await part.close();
    const kit = await openKit({ disk });
    const { sessions, casualties } = kit.storage.takeLeft();
    expect(sessions).toEqual([]);
    expect(String(casualties[0]?.failure)).toBe(
      "E_DISK: chunk 5 of file 0 was acknowledged and is not on the disk any more",
    );
    expect([...disk.tree(SESSIONS).keys()]).toEqual([]);
    await kit.storage.close();
  });

  test("that another one was about to replace ends as superseded, the newer one goes on", async () => {
    const disk = await killed();
    // As if the older one's removal had not come about.
    const older = [...disk.tree(`${SESSIONS}/${SESSION_A}`)];
    const kit = await openKit({ disk });
    await must(kit.storage.takeLeft().sessions[0], "session").discard();
    await kit.storage.createSession(
      request({ session: SESSION_B, startWallMs: Date.UTC(2026, 1, 13) }),
      listen().events,
    );
    const both = disk.reboot();
    await both.mkdir(`${SESSIONS}/${SESSION_A}`, 0o700);
    for (const [name, bytes] of older) both.plant(`${SESSIONS}/${SESSION_A}/${name}`, Buffer.from(bytes));
    const next = await openKit({ disk: both });
    const { sessions, casualties } = next.storage.takeLeft();
    expect(sessions.map(({ head }) => head.session)).toEqual([SESSION_B]);
    expect(casualties.map(({ head, failure }) => [head.session, failure.code])).toEqual([[SESSION_A, "E_SUPERSEDED"]]);
    await sessions[0]?.discard();
    await next.storage.close();
    expect(both.openFiles).toBe(0);
  });

  test("whose journal contradicts itself is given up", async () => {
    const disk = await killed(archiveFile.chunks.slice(0, 2));
    const other = await killed(testFile(seededRandom(9), [10, 20, 30]).chunks);
    const path = `${SESSIONS}/${SESSION_A}/journal`;
    const [own, foreign] = [disk, other].map((one) =>
      Buffer.from(must(one.tree(SESSIONS).get(`${SESSION_A}/journal`), "journal")),
    );
    const journal = await disk.open(path, "read-write");
    // Whole records of another archive behind its own.
    await journal.write(must(foreign, "journal").subarray(-72), must(own, "journal").length);
    await journal.close();
    const kit = await openKit({ disk });
    const { casualties } = kit.storage.takeLeft();
    expect(casualties[0]?.failure.code).toBe("E_DISK");
    expect(casualties[0]?.failure.message).toContain("the journal contradicts itself");
    await kit.storage.close();
  });
});

test("a session that is suspended has made durable what it had received, and goes on from there", async () => {
  const kit = await openKit();
  const store = await kit.storage.createSession(request(), listen().events);
  for (const chunk of archiveFile.chunks.slice(0, 4)) send(store, chunk);
  const { Failure } = await import("#base/errors.ts");
  await kit.clock.until(store.suspend(new Failure("E_SHUTDOWN", "the server is stopping")), 10_000);
  await kit.storage.close();
  expect(kit.disk.openFiles).toBe(0);
  const { kit: next, left } = await reopened(kit.disk.reboot());
  const again = must(left[0], "session").adopt(listen().events);
  expect(again.acknowledgement(10)[0]?.durableChunks).toBe(4);
  await goOn(again, next.clock);
  await next.storage.close();
});

test("chunks that arrive while the old ones are read again are hashed in their turn, in bounded memory", async () => {
  const lengths = Array.from({ length: 3000 }, (_, i) => 200 + (i % 50));
  const long = testFile(seededRandom(5), lengths);
  const disk = await killed(long.chunks.slice(0, 1500));
  const { kit, left } = await reopened(disk);
  const { heard, events } = listen();
  const store = must(left[0], "session").adopt(events);
  // Every read takes its time, and the agent is faster.
  disk.hook = async ({ call }) => {
    if (call === "read") await new Promise<void>((resolve) => kit.clock.after(1, resolve));
  };
  expect(store.catchingUp?.totalBytes).toBe(
    long.chunks.slice(0, 1500).reduce((sum, chunk) => sum + chunk.bytes.length, 0),
  );
  for (const chunk of shuffled(long.chunks.slice(1500, 2900), seededRandom(8))) {
    send(store, chunk);
    if (chunk.sequence % 100 === 0) await kit.clock.advance(20);
  }
  store.push();
  await kit.clock.advance(20);
  for (const chunk of long.chunks.slice(2900)) send(store, chunk);
  const answer = await kit.clock.until(store.finish(proofOf(long), quiet), 600_000);
  expect(Buffer.from(answer.sha256).equals(Buffer.from(long.proof.sha256))).toBe(true);
  expect(heard).toMatchObject({ verified: 1, failed: [], lost: [] });
  await kit.storage.close();
});

test("an established storage is not begun anew in an empty directory: its disk may not be mounted", async () => {
  const disk = new MemoryDisk();
  const options = storageOptions({ disk, log: listLog(), established: true });
  const refused = await Storage.open(options).catch((error: unknown) => error);
  expect(String(refused)).toContain("E_STORAGE_FAILED: /srv/backup has been a storage before");
  expect([...disk.tree("/").keys()]).toEqual([]);
  await (await Storage.open({ ...options, established: false })).close();
  await (await Storage.open(options)).close();
});

test("a chunk of a session that goes on is still told from one that contradicts it", async () => {
  const { kit, left } = await reopened(await killed(archiveFile.chunks.slice(0, 2)));
  const store = must(left[0], "session").adopt(listen().events);
  const { bytes } = chunkAt(archiveFile, 2);
  const wrong = { file: 0, sequence: 2, offset: 70_002, storedLength: bytes.length } as const;
  expect(() => store.beginChunk(wrong)).toThrow("contradicts chunk 1");
  await goOn(store, kit.clock);
  await kit.storage.close();
});
