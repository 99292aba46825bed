/** Placing chunks: arrival in any order, damage, duplicates, dead connections, back-pressure, acknowledgements. */
import { expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { SYNC_DELAY_MS } from "#store/durability.ts";
import type { SessionStore } from "#store/session-store.ts";
import { diskError } from "#test/support/memory-file.ts";
import { settle } from "#test/support/sim-clock.ts";
import {
  begin,
  chunkAt,
  end,
  type Heard,
  type Kit,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  SESSION_B,
  shuffled,
  testFile,
} from "#test/support/store-kit.ts";

const PART = `/srv/backup/.nbackup/sessions/${SESSION_A}/archive.part`;

async function openSession(
  changes: Parameters<typeof request>[0] = {},
  options: Parameters<typeof openKit>[0] = {},
): Promise<Kit & { readonly store: SessionStore; readonly heard: Heard }> {
  const kit = await openKit(options);
  const { heard, events } = listen();
  return { ...kit, store: await kit.storage.createSession(request(changes), events), heard };
}

const even = (count: number, length: number): number[] => Array.from({ length: count }, () => length);

test("10,000 chunks in random order with duplicates become the same bytes with the right proofs, in bounded memory", async () => {
  const random = seededRandom(7);
  const lengths = Array.from({ length: 10_000 }, () => 1 + Math.floor(random.unit() * 4000));
  const file = testFile(random, lengths);
  const { store, storage, disk, clock, heard } = await openSession({}, { pendingBytesMax: MiB });
  let duplicates = 0;
  for (const [index, chunk] of shuffled([...file.chunks, ...file.chunks.slice(0, 3000)], random).entries()) {
    if (send(store, chunk) === "duplicate") duplicates += 1;
    expect(store.backlogBytes).toBeLessThanOrEqual(9 * MiB);
    if (store.congested || index % 500 === 0) await clock.advance(10);
  }
  expect(duplicates).toBe(3000);
  const answer = await clock.until(
    store.finish(proofOf(file), () => undefined),
    60_000,
  );
  expect(answer.archive).toBe("web-01/home/2026-02-12T02-00-00-123Z.tar.gz");
  expect(answer.bytes).toBe(file.bytes.length);
  expect(Buffer.compare(answer.sha256, file.proof.sha256)).toBe(0);
  const tree = disk.tree("/srv/backup/web-01/home");
  expect(must(tree.get("2026-02-12T02-00-00-123Z.tar.gz"), "the archive")).toEqual(file.bytes);
  expect(heard.failed).toEqual([]);
  await storage.close();
  expect([disk.openFiles, clock.pendingCount]).toEqual([0, 0]);
});

test("an acknowledgement names what is durable and, above it, what was received", async () => {
  const file = testFile(seededRandom(1), even(6, 1000));
  const { store, clock, heard } = await openSession();
  for (const sequence of [0, 1, 3, 5]) send(store, chunkAt(file, sequence));
  expect(store.acknowledgement(10)).toEqual([
    {
      file: 0,
      durableChunks: 0,
      durableBytes: 0,
      received: [
        [0, 1],
        [3, 3],
        [5, 5],
      ],
    },
  ]);
  expect(store.settled).toBe(false);
  await clock.advance(SYNC_DELAY_MS);
  expect(store.acknowledgement(1)).toEqual([{ file: 0, durableChunks: 2, durableBytes: 2000, received: [[3, 3]] }]);
  expect([heard.durable, store.settled, store.receivedBytes]).toEqual([1, true, 4000]);
});

test("the index is acknowledged beside the archive once something of it has arrived", async () => {
  const index = testFile(seededRandom(2), [100, 200], 1);
  const { store, clock } = await openSession();
  send(store, chunkAt(index, 1));
  send(store, chunkAt(index, 0));
  await clock.advance(SYNC_DELAY_MS);
  expect(store.acknowledgement(10)).toEqual([
    { file: 0, durableChunks: 0, durableBytes: 0, received: [] },
    { file: 1, durableChunks: 2, durableBytes: 300, received: [] },
  ]);
});

test("nothing is durable before its bytes and then the journal were synced, in that order", async () => {
  const file = testFile(seededRandom(3), [1000]);
  const { store, disk, clock } = await openSession();
  const calls: string[] = [];
  disk.hook = ({ call, path }) => {
    calls.push(`${call} ${path.split("/").at(-1)}`);
    expect(store.acknowledgement(1)[0]?.durableChunks).toBe(0);
  };
  send(store, chunkAt(file, 0));
  await clock.advance(SYNC_DELAY_MS);
  expect(calls).toEqual(["write archive.part", "fdatasync archive.part", "write journal", "fdatasync journal"]);
  disk.hook = () => undefined;
  expect(store.acknowledgement(1)[0]?.durableChunks).toBe(1);
});

test("a sync begins after a quarter of the window or one second, whichever comes first, and one runs at a time", async () => {
  const file = testFile(seededRandom(4), even(40, 64 * KiB));
  const { store, disk, clock } = await openSession({ windowBytes: MiB });
  let [syncs, running] = [0, 0];
  disk.hook = async ({ call, path }) => {
    if (call !== "fdatasync" || !path.endsWith("archive.part")) return;
    syncs += 1;
    running += 1;
    expect(running).toBe(1);
    await settle();
    running -= 1;
  };
  for (let sequence = 0; sequence < 3; sequence += 1) send(store, chunkAt(file, sequence));
  await settle();
  expect(syncs).toBe(0);
  send(store, chunkAt(file, 3));
  for (let turn = 0; turn < 5; turn += 1) await settle();
  expect(syncs).toBe(1);
  expect(store.settled).toBe(true);
  send(store, chunkAt(file, 4));
  await clock.advance(SYNC_DELAY_MS - 1);
  expect(syncs).toBe(1);
  await clock.advance(2);
  expect(syncs).toBe(2);
});

test("after a PUSH what arrived is synced at once", async () => {
  const file = testFile(seededRandom(5), [500]);
  const { store } = await openSession();
  send(store, chunkAt(file, 0));
  store.push();
  await settle();
  expect(store.settled).toBe(true);
});

test("a chunk whose digest is wrong is lost, and may come again", async () => {
  const file = testFile(seededRandom(6), [300_000, 10]);
  const { store, clock, disk, heard, log } = await openSession();
  const chunk = chunkAt(file, 0);
  const writer = begin(store, chunk);
  const damaged = Uint8Array.from(chunk.bytes);
  damaged[5] = (damaged[5] ?? 0) ^ 1;
  writer.write(damaged);
  expect(end(writer, chunk)).toBe("damaged");
  expect(heard.lost).toEqual([[0, 0]]);
  expect(store.acknowledgement(10)[0]?.received).toEqual([]);
  expect(log.lines.at(-1)?.message).toBe("chunk arrived damaged");
  expect(send(store, chunk)).toBe("received");
  send(store, chunkAt(file, 1));
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(disk.tree("/srv/backup/web-01/home").get("2026-02-12T02-00-00-123Z.tar.gz")).toEqual(file.bytes);
});

test("a chunk whose frame arrived with a wrong CRC is lost even if its digest is right", async () => {
  const file = testFile(seededRandom(8), [100]);
  const { store, heard } = await openSession();
  const chunk = chunkAt(file, 0);
  const writer = begin(store, chunk);
  writer.write(chunk.bytes);
  const { digest, kind } = chunk;
  expect(writer.finish({ rawLength: 100, kind, digest, payloadIntact: false })).toBe("damaged");
  expect(heard.lost).toEqual([[0, 0]]);
});

test("the bytes of a chunk sent again always win over those of the damaged one, however slow the disk was", async () => {
  const file = testFile(seededRandom(9), [700_000]);
  const { store, disk, clock } = await openSession();
  const chunk = chunkAt(file, 0);
  const gate = Promise.withResolvers<void>();
  let writes = 0;
  disk.hook = async ({ call }) => {
    if (call !== "write") return;
    writes += 1;
    if (writes <= 2) await gate.promise;
  };
  const writer = begin(store, chunk);
  writer.write(new Uint8Array(700_000));
  expect(end(writer, chunk)).toBe("damaged");
  expect(send(store, chunk)).toBe("received");
  await settle();
  expect(writes).toBe(2);
  gate.resolve();
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(disk.tree("/srv/backup/web-01/home").get("2026-02-12T02-00-00-123Z.tar.gz")).toEqual(file.bytes);
});

test("a chunk on its way makes any other copy a duplicate", async () => {
  const file = testFile(seededRandom(10), [1000]);
  const { store } = await openSession();
  const writer = begin(store, chunkAt(file, 0));
  expect(send(store, chunkAt(file, 0))).toBe("duplicate");
  writer.write(chunkAt(file, 0).bytes);
  expect(end(writer, chunkAt(file, 0))).toBe("received");
  expect(send(store, chunkAt(file, 0))).toBe("duplicate");
});

test("a chunk whose connection dies may come again, and is called lost if a copy of it was dropped meanwhile", async () => {
  const file = testFile(seededRandom(11), even(2, 1000));
  const { store, heard } = await openSession();
  const [first, second] = [begin(store, chunkAt(file, 0)), begin(store, chunkAt(file, 1))];
  expect(send(store, chunkAt(file, 1))).toBe("duplicate");
  first.write(chunkAt(file, 0).bytes.subarray(0, 500));
  first.abort();
  first.abort();
  second.abort();
  expect(heard.lost).toEqual([[0, 1]]);
  expect(send(store, chunkAt(file, 0))).toBe("received");
  expect(send(store, chunkAt(file, 1))).toBe("received");
});

test("a chunk that contradicts another, or lies beyond the window, is a breach of the protocol", async () => {
  const file = testFile(seededRandom(12), even(4, 1000));
  const { store } = await openSession({ windowBytes: 10_000 });
  send(store, chunkAt(file, 1));
  const refused = (sequence: number, offset: number, storedLength: number): void => {
    const attempt = (): unknown => store.beginChunk({ file: 0, sequence, offset, storedLength });
    expect(attempt).toThrow(Failure);
    expect(attempt).toThrow(`chunk ${sequence} of file 0`);
  };
  refused(0, 0, 999);
  refused(1, 1000, 999);
  refused(1, 1001, 1000);
  refused(2, 2001, 10);
  refused(3, 2000, 10);
  refused(0, 5, 10);
  refused(9, 9000, 1001);
  refused(5, 5000, 0);
  refused(5, 5000, 18 * MiB);
  refused(2 ** 32, 9000, 5);
  expect(send(store, chunkAt(file, 2))).toBe("received");
});

test("a tail that says what cannot be is a breach of the protocol, and the chunk is not received", async () => {
  const file = testFile(seededRandom(13), [1000]);
  const { store } = await openSession({ chunkBytes: MiB });
  const { digest, bytes } = chunkAt(file, 0);
  for (const tail of [
    { rawLength: 0, kind: "data" },
    { rawLength: 2 * MiB + 1, kind: "data" },
    { rawLength: 1000, kind: "index" },
  ] as const) {
    const writer = begin(store, chunkAt(file, 0));
    writer.write(bytes);
    expect(() => writer.finish({ ...tail, digest, payloadIntact: true })).toThrow("says that it is");
  }
  expect(store.acknowledgement(1)[0]?.received).toEqual([]);
});

test("a session whose disk is slow is congested at 8 MiB and relieved at 4", async () => {
  const file = testFile(seededRandom(14), even(40, 256 * KiB));
  const { store, disk, heard } = await openSession();
  const gate = Promise.withResolvers<void>();
  disk.hook = ({ call }) => (call === "write" ? gate.promise : undefined);
  let sent = 0;
  while (!store.congested) {
    send(store, chunkAt(file, sent));
    sent += 1;
  }
  // The chunk in which the mark was reached was still sent to its end.
  expect(sent).toBe(32);
  expect(store.backlogBytes).toBeLessThan(9 * MiB);
  await settle();
  expect(heard.relief).toBe(0);
  disk.hook = ({ call }) => {
    if (call === "write") expect(store.congested).toBe(store.backlogBytes > 4 * MiB);
  };
  gate.resolve();
  await settle();
  expect([heard.relief, store.backlogBytes]).toEqual([1, 0]);
  expect(store.congested).toBeFalse();
});

test("255 slow streams with half-filled buffers stay within the backlog and are relieved", async () => {
  const file = testFile(seededRandom(15), even(255, 200_000));
  const { store, clock, heard, disk } = await openSession({ chunkBytes: 4 * MiB });
  const writers = file.chunks.map((chunk) => begin(store, chunk));
  let most = 0;
  for (let at = 0; at < 200_000; at += 5_000) {
    for (const [index, writer] of writers.entries()) {
      writer.write(chunkAt(file, index).bytes.subarray(at, at + 5_000));
      most = Math.max(most, store.backlogBytes);
      if (store.congested) await settle();
      expect(store.congested).toBe(false);
    }
  }
  for (const [index, writer] of writers.entries()) expect(end(writer, chunkAt(file, index))).toBe("received");
  expect(most).toBeLessThanOrEqual(8 * MiB);
  expect(heard.failed).toEqual([]);
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    60_000,
  );
  expect(disk.tree("/srv/backup/web-01/home").get("2026-02-12T02-00-00-123Z.tar.gz")).toEqual(file.bytes);
});

test("what is hashed out of order is kept in memory up to the limit and read back from the file beyond it", async () => {
  const file = testFile(seededRandom(16), even(12, 256 * KiB));
  const { store, clock, disk } = await openSession({}, { pendingBytesMax: MiB });
  for (const chunk of file.chunks.slice(1)) send(store, chunk);
  await settle();
  const reads: string[] = [];
  disk.hook = ({ call, path, length }) => {
    if (call === "read") reads.push(`${path} ${length}`);
  };
  send(store, chunkAt(file, 0));
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  // Of the eleven that waited, four fit into 1 MiB.
  expect(reads).toEqual(Array.from({ length: 7 }, () => `${PART} ${256 * KiB}`));
});

test("hashing a backlog takes many turns of the event loop, shared with other sessions", async () => {
  const file = testFile(seededRandom(17), even(24, 256 * KiB));
  const { store, storage, clock } = await openSession();
  const other = listen();
  const second = await storage.createSession(request({ session: SESSION_B, agent: "web-02" }), other.events);
  const order: string[] = [];
  for (const chunk of file.chunks.slice(1)) {
    send(store, chunk);
    send(second, chunk);
  }
  await settle();
  send(store, chunkAt(file, 0));
  send(second, chunkAt(file, 0));
  const done = [store, second].map((each, index) => {
    const finished = each.finish(proofOf(file), (phase, bytes) => order.push(`${index} ${phase} ${bytes}`));
    return clock.until(finished, 10_000);
  });
  // One slice was hashed when the first chunk came; the rest waits for turns.
  expect(order).toEqual([`0 hashing ${MiB}`, `1 hashing ${MiB}`]);
  expect((await Promise.all(done)).map((answer) => answer.bytes)).toEqual([6 * MiB, 6 * MiB]);
});

test("a failed sync is never tried again: the session fails with E_DISK and says so once", async () => {
  const file = testFile(seededRandom(18), even(3, 1000));
  const { store, disk, clock, heard } = await openSession();
  let syncs = 0;
  disk.hook = ({ call, path }) => {
    if (call !== "fdatasync" || !path.endsWith(".part")) return;
    syncs += 1;
    throw diskError("EIO");
  };
  send(store, chunkAt(file, 0));
  await clock.advance(SYNC_DELAY_MS);
  expect(heard.failed.map(String)).toEqual(["E_DISK: syncing web-01/home/2026-02-12T02-00-00-123Z.tar.gz: EIO"]);
  expect(() => send(store, chunkAt(file, 1))).toThrow("EIO");
  await clock.advance(10 * SYNC_DELAY_MS);
  expect([syncs, heard.failed.length, heard.durable]).toEqual([1, 1, 0]);
  await store.abort(must(heard.failed[0], "the failure"));
  expect([...disk.tree("/srv/backup").keys()].filter((path) => path.includes(SESSION_A))).toEqual([]);
});

test("a disk that fills up fails the session with E_DISK_FULL, and the abort leaves nothing behind", async () => {
  const file = testFile(seededRandom(19), even(10, 100_000));
  const kit = await openKit();
  const before = [...kit.disk.tree("/srv/backup").keys()];
  const { heard, events } = listen();
  const store = await kit.storage.createSession(request(), events);
  kit.disk.hook = ({ call, offset }) => {
    if (call === "write" && (offset ?? 0) >= 500_000) throw diskError("ENOSPC");
  };
  const late = begin(store, chunkAt(file, 9));
  for (const chunk of file.chunks.slice(0, 6)) send(store, chunk);
  await settle();
  expect(heard.failed.map((failure) => failure.code)).toEqual(["E_DISK_FULL"]);
  late.write(chunkAt(file, 9).bytes);
  expect(end(late, chunkAt(file, 9))).toBe("damaged");
  await store.abort(must(heard.failed[0], "the failure"));
  expect([...kit.disk.tree("/srv/backup").keys()]).toEqual(before);
  expect(heard.lost).toEqual([]);
  await kit.storage.close();
  expect([kit.disk.openFiles, kit.clock.pendingCount, store.backlogBytes]).toEqual([0, 0, 0]);
});

test("an abort waits for writes that are under way before it closes and removes anything", async () => {
  const file = testFile(seededRandom(20), even(4, 256 * KiB));
  const { store, disk, storage } = await openSession();
  const gate = Promise.withResolvers<void>();
  const after: string[] = [];
  disk.hook = async ({ call }) => {
    if (call === "write") await gate.promise;
    else after.push(call);
  };
  for (const chunk of file.chunks) send(store, chunk);
  let done = false;
  const aborted = store.abort(new Failure("E_ABORTED", "by the test")).then(() => {
    done = true;
  });
  await settle();
  expect([done, after]).toEqual([false, []]);
  gate.resolve();
  await aborted;
  expect(after.slice(0, 3)).toEqual(["close", "close", "close"]);
  expect(() => store.beginChunk({ file: 0, sequence: 9, offset: 9, storedLength: 1 })).toThrow("by the test");
  // Two of the four writes had begun; the others never do. Then the entry is free for a new session.
  const next = await storage.createSession(request({ session: SESSION_B }), listen().events);
  await next.abort(new Failure("E_ABORTED", "by the test"));
});
