/**
 * Bytes that went wrong: on the way, on the server's disk, in the proof. What can be sent again is named as lost; what
 * cannot ends the session with a sentence that names the chunk, and nothing is committed.
 */
import { expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { SessionProof } from "#store/session-types.ts";
import {
  begin,
  chunkAt,
  type Heard,
  type Kit,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  send,
  SESSION_A,
  type TestFile,
  testFile,
} from "#test/support/store-kit.ts";

const PART = `/srv/backup/.nbackup/sessions/${SESSION_A}/archive.part`;
const LENGTH = 600 * KiB;
const OUT_OF_ORDER = [1, 2, 3, 0];

type Session = Kit & { readonly store: SessionStore; readonly heard: Heard };

/** Nothing is kept in memory for the hash: all that does not come in order is read back. */
async function openSession(pendingBytesMax = 0): Promise<Session> {
  const kit = await openKit({ pendingBytesMax });
  const { heard, events } = listen();
  return { ...kit, store: await kit.storage.createSession(request(), events), heard };
}

const fileOf = (count = 4): TestFile => testFile(seededRandom(21), Array<number>(count).fill(LENGTH));

/** Flips a byte of what the disk holds. */
async function spoil({ disk }: Kit, offset: number): Promise<void> {
  const file = await disk.open(PART, "read-write");
  const byte = new Uint8Array(1);
  await file.read(byte, offset);
  await file.write(Uint8Array.of((byte[0] ?? 0) ^ 1), offset);
  await file.close();
}

function finish({ store, clock }: Session, proof: SessionProof): Promise<unknown> {
  return clock.until(
    store.finish(proof, () => undefined).catch((error: unknown) => error),
    60_000,
  );
}

async function endsWith(session: Session, failure: Failure): Promise<void> {
  await session.store.abort(failure);
  expect([...session.disk.tree("/srv/backup").keys()].filter((path) => path.startsWith("web-01"))).toEqual([]);
  await session.storage.close();
  expect([session.disk.openFiles, session.clock.pendingCount]).toEqual([0, 0]);
}

test("a chunk that the disk gives back other than it arrived is lost and may come again, before it is durable", async () => {
  const session = await openSession();
  const { store, heard, clock, log } = session;
  const file = fileOf();
  for (const n of [1, 2, 3]) send(store, chunkAt(file, n));
  await session.clock.advance(10);
  await spoil(session, chunkAt(file, 2).offset + LENGTH - 1);
  send(store, chunkAt(file, 0));
  await session.clock.advance(10);
  expect(heard.lost).toEqual([[0, 2]]);
  expect(log.lines.find(({ message }) => message.startsWith("chunk reads back"))?.fields).toMatchObject({
    ...{ file: 0, sequence: 2, offset: 2 * LENGTH, storedLength: LENGTH },
  });
  expect(store.acknowledgement(10)[0]?.received).toEqual([
    [0, 1],
    [3, 3],
  ]);
  // What is around it becomes durable, and it does not.
  await clock.advance(5000);
  expect(store.acknowledgement(10)[0]?.durableChunks).toBe(2);
  expect(send(store, chunkAt(file, 2))).toBe("received");
  const answer = await finish(session, proofOf(file));
  expect(answer).toMatchObject({ bytes: file.bytes.length });
  expect(heard.failed).toEqual([]);
  const stored = session.disk.tree("/srv/backup").get(store.archive);
  expect(Buffer.from(must(stored instanceof Uint8Array ? stored : undefined, "archive")).equals(file.bytes)).toBe(true);
  await session.storage.close();
  expect([session.disk.openFiles, clock.pendingCount]).toEqual([0, 0]);
});

test("one that is durable already cannot come again: the session ends with E_DISK that names it", async () => {
  const session = await openSession();
  const { store, heard, clock } = session;
  const file = fileOf();
  for (const n of [1, 2, 3]) send(store, chunkAt(file, n));
  await clock.advance(5000);
  await spoil(session, chunkAt(file, 3).offset);
  send(store, chunkAt(file, 0));
  await session.clock.advance(10);
  const failure = must(heard.failed[0], "failure");
  expect(heard.failed.map(String)).toEqual([
    `E_DISK: chunk 3 of file 0, bytes ${3 * LENGTH} to ${4 * LENGTH - 1}, reads back from the disk other than it arrived`,
  ]);
  expect(heard.lost).toEqual([]);
  await endsWith(session, failure);
});

test("one that is found after Finish ends the session too, because no data comes any more", async () => {
  const session = await openSession();
  const { store, heard, disk } = session;
  const file = fileOf();
  const gate = Promise.withResolvers<void>();
  disk.hook = ({ call }) => (call === "read" ? gate.promise : undefined);
  for (const n of OUT_OF_ORDER) send(store, chunkAt(file, n));
  await session.clock.advance(10);
  const ended = finish(session, proofOf(file));
  disk.hook = () => undefined;
  await spoil(session, chunkAt(file, 1).offset);
  gate.resolve();
  const failure = await ended;
  expect(String(failure)).toMatch(/^E_DISK: chunk 1 of file 0/);
  expect(heard.failed.map((one) => one.code)).toEqual(["E_DISK"]);
  await endsWith(session, must(heard.failed[0], "failure"));
});

test("one that is found while Finish is on its way ends the session as one that is found after it, and not as a breach", async () => {
  for (const coming of [false, true]) {
    const session = await openSession();
    const { store, heard } = session;
    const file = fileOf();
    for (const n of [1, 2, 3]) send(store, chunkAt(file, n));
    await session.clock.advance(10);
    await spoil(session, chunkAt(file, 2).offset);
    send(store, chunkAt(file, 0));
    await session.clock.advance(10);
    expect(heard.lost).toEqual([[0, 2]]);
    // The agent has not heard of it, or sends the chunk again on another connection.
    if (coming) begin(store, chunkAt(file, 2)).write(new Uint8Array(10));
    const failure = await finish(session, proofOf(file));
    expect(String(failure)).toMatch(/^E_DISK: chunk 2 of file 0, .* reads back/);
    await endsWith(session, must(failure instanceof Failure ? failure : undefined, "failure"));
  }
});

test("one that was lost, came again and is durable before one in front of it is no reason to end", async () => {
  const session = await openSession();
  const { store, heard, clock, disk } = session;
  const file = fileOf(3);
  const writing = Promise.withResolvers<void>();
  disk.hook = ({ call, path, offset }) =>
    call === "write" && path === PART && offset === LENGTH ? writing.promise : undefined;
  for (const n of [2, 1]) send(store, chunkAt(file, n));
  await clock.advance(10);
  await spoil(session, chunkAt(file, 2).offset);
  send(store, chunkAt(file, 0));
  await clock.advance(10);
  expect(heard.lost).toEqual([[0, 2]]);
  send(store, chunkAt(file, 2));
  await clock.advance(5000);
  expect(store.acknowledgement(1)[0]?.durableChunks).toBe(1);
  const ended = finish(session, proofOf(file));
  disk.hook = () => undefined;
  writing.resolve();
  expect(await ended).toMatchObject({ bytes: file.bytes.length });
  await session.storage.close();
});

test("a chunk whose beginning was hashed from memory and whose end has to be read back is checked whole", async () => {
  // Room for chunk 0 and the first piece of chunk 1: what stands further on is read back.
  const session = await openSession(1100 * KiB);
  const { store, heard, clock } = session;
  const file = fileOf(6);
  for (const n of [5, 4, 3, 2, 1]) {
    send(store, chunkAt(file, n), 50_000);
    await session.clock.advance(10);
  }
  await spoil(session, chunkAt(file, 1).offset + LENGTH - 1);
  send(store, chunkAt(file, 0), 50_000);
  await session.clock.advance(10);
  expect(heard.lost).toEqual([[0, 1]]);
  send(store, chunkAt(file, 1), 50_000);
  await clock.advance(5000);
  expect(await finish(session, proofOf(file))).toMatchObject({ bytes: file.bytes.length });
  await session.storage.close();
});

test("a mismatch names the first chunk that differs, and where it lies", async () => {
  const file = fileOf();
  const bytes = Uint8Array.from(file.bytes);
  bytes[2 * LENGTH + 5] = (bytes[2 * LENGTH + 5] ?? 0) ^ 1;
  const read = testFile({ unit: () => 0, bytes: (length) => bytes.subarray(0, length) }, [LENGTH]);
  const whole = testFile({ unit: () => 0, bytes: partsOf(bytes) }, Array<number>(4).fill(LENGTH));
  expect(read.bytes.length).toBe(LENGTH);
  const session = await openSession();
  for (const n of OUT_OF_ORDER) send(session.store, chunkAt(file, n));
  const failure = await finish(session, proofOf(whole));
  expect(String(failure)).toBe(
    `E_MISMATCH: file 0: chunk 2, bytes ${2 * LENGTH} to ${3 * LENGTH - 1}, is not what was sent`,
  );
  await endsWith(session, must(failure instanceof Failure ? failure : undefined, "failure"));
});

test("a trail that does not fit the number of chunks is no Finish of a right agent", async () => {
  const file = fileOf();
  const session = await openSession();
  for (const n of OUT_OF_ORDER) send(session.store, chunkAt(file, n));
  const good = proofOf(file);
  const archive = must(good.files[0], "archive");
  const failure = await finish(session, { ...good, files: [{ ...archive, trail: archive.trail.subarray(8) }] });
  expect(String(failure)).toBe("E_PROTOCOL: finish with a trail of 24 bytes for 4 chunks of file 0");
  await endsWith(session, must(failure instanceof Failure ? failure : undefined, "failure"));
});

test("a chunk that arrives damaged is named in the log with what was wrong, and comes again", async () => {
  const session = await openSession();
  const { store, heard, log } = session;
  const file = fileOf(1);
  const chunk = chunkAt(file, 0);
  for (const payloadIntact of [false, true]) {
    const writer = begin(store, chunk);
    writer.write(chunk.bytes);
    const digest = new Uint8Array(32);
    expect(writer.finish({ rawLength: 1, kind: chunk.kind, digest, payloadIntact })).toBe("damaged");
  }
  expect(heard.lost).toEqual([
    [0, 0],
    [0, 0],
  ]);
  expect(log.lines.filter(({ message }) => message === "chunk arrived damaged").map(({ fields }) => fields)).toEqual([
    expect.objectContaining({ file: 0, sequence: 0, offset: 0, storedLength: LENGTH, wrong: "crc" }),
    expect.objectContaining({ file: 0, sequence: 0, offset: 0, storedLength: LENGTH, wrong: "digest" }),
  ]);
  expect(send(store, chunk)).toBe("received");
  expect(await finish(session, proofOf(file))).toMatchObject({ bytes: LENGTH });
  await session.storage.close();
});

/** Gives `bytes` out one part after another. */
function partsOf(bytes: Uint8Array): (length: number) => Uint8Array {
  let at = 0;
  return (length) => {
    at += length;
    return bytes.slice(at - length, at);
  };
}
