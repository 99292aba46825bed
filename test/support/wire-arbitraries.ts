/** Any message, Data frame and stream of frames that the protocol allows, for property tests. */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { CHUNK_KINDS } from "#base/chunk.ts";
import { encodeBytesHeader, encodeDataFrame, encodeMessage } from "#wire/encode.ts";
import { CHUNK_RAW_BYTES_MAX, FRAME_HEADER_BYTES, READ_BYTES_MAX } from "#wire/limits.ts";
import type { AnyMessage, Message, MessageType } from "#wire/messages.ts";

const u8 = fc.integer({ min: 0, max: 255 });
const u32 = fc.oneof(fc.nat(1000), fc.integer({ min: 0, max: 0xffff_ffff }));
const uint = fc.oneof(fc.nat(1000), fc.maxSafeNat());
const text = fc.oneof(fc.string({ maxLength: 40 }), fc.string({ unit: "grapheme", maxLength: 300 }));
const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const id = fc.uuid();
/** At most 20 paths of 2 KiB together. */
const unread = fc.array(fc.uint8Array({ minLength: 1, maxLength: 100 }), { maxLength: 20 });
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
/** Of a few chunks, or as long as it may be. */
const trail = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 0, max: 255 }).map((byte) => new Uint8Array(16_384).fill(byte)),
);
const file = fc.constantFrom<0 | 1>(0, 1);
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });

const failure = { code: text, message: text, hint: text, retry: fc.boolean(), retryAfterMs: optional(uint) };

const word = fc.string({ maxLength: 32 });

const entryFacts = fc.record({
  ...{ backup: name, storage: name, activity: fc.constantFrom("idle", "waiting", "running") },
  ...{ session: optional(id), phase: optional(word), entries: optional(uint), rawBytes: optional(uint) },
  ...{ storedBytes: optional(uint), durableBytes: optional(uint), rttUs: optional(uint) },
  ...{ streamsUp: optional(u8), slots: optional(u8) },
  autoscaler: optional(fc.record({ mode: word, active: u8, max: u8, state: optional(word), rate: optional(uint) })),
  nextWallMs: optional(uint),
  ...{ lastResult: optional(word), lastWallMs: optional(uint), lastSuccessWallMs: optional(uint) },
});

const agentFacts = fc.record({
  ...{ uptimeMs: uint, cpuPermille: optional(uint), machineCpuPermille: optional(uint) },
  ...{ residentBytes: optional(uint), loadHundredths: optional(uint), freeBytes: optional(uint) },
  ...{ successors: optional(uint), rttUs: optional(uint), rttDeviationUs: optional(uint) },
  backups: fc.array(entryFacts, { maxLength: 3 }),
  backupCount: uint,
});

const serverFacts = fc.record({
  ...{ loadHundredths: optional(uint), cpus: optional(uint) },
  sessions: fc.record({ running: uint, max: uint, waiting: uint }),
  storages: fc.array(fc.record({ name, freeBytes: optional(uint) }), { maxLength: 5 }),
  storageCount: uint,
  maintenance: optional(fc.boolean()),
  renews: optional(fc.boolean()),
  successors: optional(
    fc.array(
      fc.record({
        certificate: fc.uint8Array({ minLength: 1, maxLength: 2048 }),
        signature: fc.uint8Array({ minLength: 1, maxLength: 512 }),
      }),
      { maxLength: 4 },
    ),
  ),
});

export const anyBody: { readonly [T in MessageType]: fc.Arbitrary<Message<T>> } = {
  hello: fc.record({
    role: fc.constantFrom("control", "session", "stream", "health", "read"),
    versionMin: u32,
    versionMax: u32,
    agent: name,
    software: text,
    run: id,
    session: optional(id),
    slot: optional(fc.nat(254)),
  }),
  welcome: fc.record({ version: u32, software: text, boot: id, generation: u32, slotGeneration: u32 }),
  refused: fc.record(failure),
  begin: fc.record({
    backup: name,
    storage: name,
    estimateBytes: uint,
    chunkBytes: uint,
    windowBytes: uint,
    parallels: u8,
    holdRotation: optional(fc.string({ maxLength: 200 })),
  }),
  queued: fc.record({ position: u32 }),
  admitted: fc.record({
    session: id,
    generation: u32,
    slotGeneration: u32,
    compression: fc.record({ mode: fc.constantFrom("gzip", "zst"), level: u8 }),
    chunkBytes: uint,
    archive: text,
    lastEntries: uint,
    lastRawBytes: uint,
  }),
  sack: fc.record({
    boot: id,
    generation: u32,
    files: fc.array(
      fc.record({
        file,
        durableChunks: u32,
        durableBytes: uint,
        received: fc.array(fc.tuple(u32, u32), { maxLength: 40 }),
      }),
      { maxLength: 2 },
    ),
    lost: fc.array(fc.tuple(file, u32), { maxLength: 40 }),
    stalled: fc.boolean(),
  }),
  finish: fc.record({
    files: fc.array(fc.record({ file, chunks: u32, bytes: uint, sha256: digest, root: digest, trail }), {
      minLength: 1,
      maxLength: 2,
    }),
    entries: uint,
    rawBytes: uint,
    problems: uint,
    unread: optional(unread),
  }),
  verified: fc.record({
    session: id,
    result: fc.constantFrom("ok", "damaged", "unknown"),
    message: text,
  }),
  phase: fc.record({
    phase: fc.constantFrom("assembling", "hashing", "committing", "verifying"),
    done: uint,
    total: uint,
  }),
  committed: fc.record({
    session: id,
    archive: text,
    bytes: uint,
    sha256: digest,
    removed: fc.array(text, { maxLength: 5 }),
    verify: optional(fc.constant("pending")),
  }),
  ended: fc.record({ session: id, ...failure }),
  disown: fc.record({
    code: fc.string({ maxLength: 40 }),
    message: fc.string({ unit: "grapheme", maxLength: 100 }),
    backup: optional(name),
  }),
  ping: fc.record({ id: u32, entries: optional(uint), rawBytes: optional(uint), agent: optional(agentFacts) }),
  pong: fc.record({ id: u32, server: optional(serverFacts) }),
  run: fc.record({ request: u32, backup: name }),
  runAnswer: fc.record({
    ...{ request: u32, accepted: fc.boolean() },
    ...{ code: optional(fc.string({ maxLength: 40 })), message: optional(fc.string({ maxLength: 100 })) },
  }),
  renew: fc.record({ request: u32, certificateRequest: fc.uint8Array({ minLength: 1, maxLength: 1024 }) }),
  renewAnswer: fc.oneof(
    fc.record({ request: u32, certificate: text }),
    fc.record({ request: u32, failure: fc.record(failure) }),
  ),
  goodbye: fc.constant({}),
  health: fc.record({
    state: fc.constantFrom("READY", "BUSY", "LOW_DISK", "MAINTENANCE"),
    storages: fc.array(
      fc.record({
        name,
        freeBytes: uint,
        reserveBytes: uint,
        state: fc.constantFrom("ok", "low", "full", "failed"),
        reason: optional(fc.string({ maxLength: 40 })),
      }),
      { maxLength: 5 },
    ),
    storageCount: uint,
    sessions: fc.record({ running: uint, max: uint, waiting: uint }),
    certificateDaysLeft: optional(uint),
  }),
  list: fc.record({ request: u32, storage: optional(name), backup: optional(name), facts: fc.boolean() }),
  archives: fc.record({
    request: u32,
    rows: fc.array(
      fc.record({
        ...{ storage: name, backup: name, name: fc.string({ maxLength: 64 }), bytes: uint, hasIndex: fc.boolean() },
        ...{ entries: optional(uint), rawBytes: optional(uint), durationMs: optional(uint), problems: optional(uint) },
        unread: optional(unread),
        ...{ sha256: optional(digest), damage: optional(fc.string({ maxLength: 120 })) },
      }),
      { maxLength: 5 },
    ),
    failure: optional(fc.record(failure)),
    last: fc.boolean(),
  }),
  open: fc.record({
    ...{ request: u32, storage: name, backup: name, name: fc.string({ maxLength: 64 }), indexOnly: fc.boolean() },
  }),
  opened: fc.record({ request: u32, archiveBytes: optional(uint), indexBytes: optional(uint) }),
  read: fc.record({
    ...{ request: u32, open: u32, file },
    offset: uint.map((offset) => Math.min(offset, Number.MAX_SAFE_INTEGER - READ_BYTES_MAX)),
    length: fc.integer({ min: 1, max: READ_BYTES_MAX }),
  }),
  close: fc.record({ open: u32 }),
  failed: fc.record({ request: u32, ...failure, errno: optional(fc.string({ maxLength: 64 })) }),
  slotOrder: fc.record({
    slot: fc.nat(254),
    order: fc.constantFrom("rotate", "park", "resume"),
    reason: fc.string({ maxLength: 200 }),
  }),
  askAuthority: fc.record({}),
  authority: fc.record({ certificate: fc.uint8Array({ minLength: 1, maxLength: 600 }) }),
  enroll: fc.record({ secret: fc.uint8Array({ minLength: 16, maxLength: 16 }), software: text }),
  granted: fc.record({ agent: name, wallMs: uint }),
  certify: fc.record({ request: fc.uint8Array({ minLength: 1, maxLength: 1024 }) }),
  certificate: fc.record({
    certificate: text,
    authorities: text,
    port: fc.integer({ min: 1, max: 65_535 }),
    storages: fc.array(name, { maxLength: 5 }),
  }),
  installed: fc.record({ fingerprint: digest }),
  enrolled: fc.record({}),
};

/** A message of one of the types, with its frame. */
function anyFrame(...types: readonly MessageType[]): fc.Arbitrary<Uint8Array> {
  return fc
    .constantFrom(...types)
    .chain((type) => fc.tuple(messageOf(type), u32))
    .map(([message, generation]) => frameOf(withoutFacts(message), generation));
}

/** As they may come on a control connection. */
function anyFrameWithFacts(...types: readonly MessageType[]): fc.Arbitrary<Uint8Array> {
  return fc
    .constantFrom(...types)
    .chain((type) => fc.tuple(messageOf(type), u32))
    .map(([message, generation]) => frameOf(message, generation));
}

/** A Ping or Pong as it may come on any connection. */
function withoutFacts(message: AnyMessage): AnyMessage {
  if (message.type === "ping") return { type: "ping", body: { ...message.body, agent: undefined } };
  return message.type === "pong" ? { type: "pong", body: { id: message.body.id } } : message;
}

function messageOf(type: MessageType): fc.Arbitrary<AnyMessage> {
  const bodies: fc.Arbitrary<AnyMessage["body"]> = anyBody[type];
  // The body was made for the type.
  return bodies.map((body) => ({ type, body }) as AnyMessage);
}

function frameOf({ type, body }: AnyMessage, generation: number): Uint8Array {
  return encodeMessage(type, body, { generation });
}

/** A Data frame; `damage` of some of them: their payload does not match. */
const anyDataFrame: fc.Arbitrary<Uint8Array> = fc
  .record({
    stored: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    slot: fc.nat(254),
    generation: u32,
    file,
    sequence: u32,
    offset: fc.oneof(
      fc.nat(1000),
      fc.maxSafeNat().map((n) => Math.max(0, n - 2 ** 25)),
    ),
    rawLength: fc.nat(CHUNK_RAW_BYTES_MAX),
    kind: fc.constantFrom(...CHUNK_KINDS),
    push: fc.boolean(),
    damage: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.nat(1000) }),
  })
  .map(({ stored, damage, ...fields }) => {
    const digestOfStored = new Uint8Array(createHash("sha256").update(stored).digest());
    const { head, tail } = encodeDataFrame({
      ...fields,
      digest: digestOfStored,
      storedLength: stored.length,
      storedCrc: crc32(stored),
    });
    const frame = new Uint8Array(Buffer.concat([head, stored, tail]));
    if (damage !== undefined) flip(frame, head.length + (damage % (stored.length + tail.length)));
    return frame;
  });

function flip(bytes: Uint8Array, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 0x10;
}

/** What a server may hear on a stream, up to a Goodbye. */
export const anyStream: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    fc.array(fc.oneof({ weight: 3, arbitrary: anyDataFrame }, { weight: 1, arbitrary: anyFrame("ping", "pong") }), {
      maxLength: 8,
    }),
    fc.option(anyFrame("goodbye"), { nil: new Uint8Array(0) }),
  )
  .map(([frames, last]) => new Uint8Array(Buffer.concat([...frames, last])));

/** What an agent may hear on a session connection. */
export const anyAnswers: fc.Arbitrary<Uint8Array> = fc
  .array(anyFrame("sack", "phase", "committed", "slotOrder", "ping", "pong"), { maxLength: 6 })
  .map((frames) => new Uint8Array(Buffer.concat(frames)));

/** A Bytes frame; of some of them the payload does not match. */
const anyBytesFrame: fc.Arbitrary<Uint8Array> = fc
  .record({
    payload: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    ...{ request: u32, file },
    offset: uint.map((n) => Math.min(n, Number.MAX_SAFE_INTEGER - 300)),
    damage: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.nat(1000) }),
  })
  .map(({ payload, damage, ...fields }) => {
    const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
    frame.set(payload, FRAME_HEADER_BYTES);
    encodeBytesHeader(fields, frame);
    if (damage !== undefined) flip(frame, FRAME_HEADER_BYTES + (damage % payload.length));
    return frame;
  });

/** What a server may hear on a control connection, up to a Goodbye. */
export const anyControlFrames: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    fc.array(anyFrameWithFacts("ping", "pong", "runAnswer", "renew"), { maxLength: 6 }),
    fc.option(anyFrame("goodbye"), { nil: new Uint8Array(0) }),
  )
  .map(([frames, last]) => new Uint8Array(Buffer.concat([...frames, last])));

/** What an agent may hear on a read connection. */
export const anyReadAnswers: fc.Arbitrary<Uint8Array> = fc
  .array(fc.oneof(anyBytesFrame, anyFrame("archives", "opened", "failed", "ping", "pong")), { maxLength: 6 })
  .map((frames) => new Uint8Array(Buffer.concat(frames)));

/** `stream` in pieces: the cuts may fall anywhere, on each other too. */
export function cutAt(stream: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = cuts.map((cut) => cut % (stream.length + 1)).sort((a, b) => a - b);
  const edges = [0, ...places, stream.length];
  return edges.slice(1).map((end, i) => stream.subarray(edges[i] ?? 0, end));
}
