/** Placing chunks: arrival in any order, damage, duplicates, dead connections, back-pressure, acknowledgements. */
import { expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { SYNC_DELAY_MS } from "#store/durability.ts";
import type { SessionStore } from "#store/session-store.ts";
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
  shuffled,
  testFile,
} from "#test/support/store-kit.ts";

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

test("a chunk sent again is never written while a write of its damaged copy is under way", async () => {
  const file = testFile(seededRandom(9), [300_000, 1000]);
  const { store, disk, clock } = await openSession();
  const gate = Promise.withResolvers<void>();
  const written: number[] = [];
  disk.hook = async ({ call, offset, path }) => {
    if (call !== "write" || !path.endsWith(".part")) return;
    written.push(offset ?? -1);
    if (written.length === 1) await gate.promise;
  };
  const writer = begin(store, chunkAt(file, 0));
  writer.write(new Uint8Array(300_000));
  expect(end(writer, chunkAt(file, 0))).toBe("damaged");
  expect(send(store, chunkAt(file, 0))).toBe("received");
  expect(send(store, chunkAt(file, 1))).toBe("received");
  await settle();
  expect(written).toEqual([0]);
  gate.resolve();
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(disk.tree("/srv/backup/web-01/home").get("2026-02-12T02-00-00-123Z.tar.gz")).toEqual(file.bytes);
});

test("of a damaged chunk no further write begins", async () => {
  const file = testFile(seededRandom(9), [MiB]);
  const { store, disk } = await openSession();
  const gate = Promise.withResolvers<void>();
  let writes = 0;
  disk.hook = async ({ call }) => {
    if (call !== "write") return;
    writes += 1;
    await gate.promise;
  };
  const writer = begin(store, chunkAt(file, 0));
  writer.write(new Uint8Array(MiB));
  expect(end(writer, chunkAt(file, 0))).toBe("damaged");
  gate.resolve();
  await settle();
  expect([writes, store.backlogBytes]).toEqual([2, 0]);
});

test("a newer copy of a chunk on its way takes over, whatever the older one still brings; once received, copies are duplicates", async () => {
  const file = testFile(seededRandom(10), [1000]);
  const { store, disk, clock } = await openSession();
  const chunk = chunkAt(file, 0);
  const older = begin(store, chunk);
  older.write(new Uint8Array(600).fill(1));
  const newer = begin(store, chunk);
  newer.write(chunk.bytes);
  older.write(new Uint8Array(400).fill(1));
  expect(end(older, chunk)).toBe("superseded");
  expect(end(newer, chunk)).toBe("received");
  expect(send(store, chunk)).toBe("duplicate");
  await clock.until(
    store.finish(proofOf(file), () => undefined),
    10_000,
  );
  expect(disk.tree("/srv/backup/web-01/home").get("2026-02-12T02-00-00-123Z.tar.gz")).toEqual(file.bytes);
});

test("a chunk whose connection dies may come again, and is called lost if it had taken over from an older copy", async () => {
  const file = testFile(seededRandom(11), even(2, 1000));
  const { store, heard } = await openSession();
  const [first, older] = [begin(store, chunkAt(file, 0)), begin(store, chunkAt(file, 1))];
  const newer = begin(store, chunkAt(file, 1));
  first.write(chunkAt(file, 0).bytes.subarray(0, 500));
  first.abort();
  first.abort();
  older.abort();
  expect(heard.lost).toEqual([]);
  newer.abort();
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
