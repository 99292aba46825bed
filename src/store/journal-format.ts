/**
 * The session journal: an append-only file that says what of a session is on the disk, so that a server that was killed
 * finds it again. This file turns records into bytes and back; journal-writer.ts appends and syncs them.
 *
 * Layout, numbers unsigned and big-endian. The file is 8 bytes `nbkjrnl1`, then records, each:
 *
 *     offset  bytes  field
 *          0      1  type: 1 session, 2 chunk, 3 intent, 4 assembled. Only ever appended to
 *          1      3  zero
 *          4      4  length of the payload
 *          8      n  payload
 *        8+n      4  CRC-32 of everything from the type to the end of the payload
 *
 * session and intent carry JSON in UTF-8 (SessionRequest with its archive; CommitIntent). A chunk record's payload:
 *
 *          0      1  file
 *          1      1  kind, as on the wire
 *          2      2  zero
 *          4      4  sequence
 *          8      8  offset in the file
 *         16      4  stored length
 *         20      4  raw length
 *         24      4  CRC-32 of the stored bytes
 *         28     32  SHA-256 of the stored bytes
 *
 * An assembled record, of a session whose chunks are staged (lazy-placement.ts), has a payload of:
 *
 *          0      1  file
 *          1      3  zero
 *          4      4  chunks: all below this sequence number lie in the part file
 *          8      8  bytes: where the last of them ends there
 *
 * It is appended once those bytes were synced, and only then are their staged files removed, so a chunk lies in the part,
 * or staged, or both. Each says more than the one before of its file; the staged files of the chunks between the two may
 * still lie there, of earlier ones none does. It is the first record after all chunk records, and an intent may follow.
 *
 * The first record is the session. A chunk record is appended only after its bytes were synced, and counts once the
 * journal was synced: a record that can be read is true. The same chunk may be recorded twice, the later one counts. After
 * a crash the end may be torn; reading stops at the first record that is not whole, and everything behind it is void.
 */
import { crc32 } from "node:zlib";
import { must } from "#base/assert.ts";
import { CHUNK_KINDS, type ChunkKind, type FileNumber } from "#base/chunk.ts";
import { KiB } from "#base/units.ts";

export const JOURNAL_MAGIC: Uint8Array = new TextEncoder().encode("nbkjrnl1");

const RECORD_HEADER_BYTES = 8;
const CRC_BYTES = 4;
const CHUNK_PAYLOAD_BYTES = 60;
const ASSEMBLED_PAYLOAD_BYTES = 16;
/** session and intent are a few hundred bytes; a reader takes no more. */
const JOURNAL_PAYLOAD_BYTES_MAX = 16 * KiB;
/** No record is longer. */
export const JOURNAL_RECORD_BYTES_MAX = RECORD_HEADER_BYTES + JOURNAL_PAYLOAD_BYTES_MAX + CRC_BYTES;
const CHUNK_RECORD_BYTES = RECORD_HEADER_BYTES + CHUNK_PAYLOAD_BYTES + CRC_BYTES;

/** One chunk that is on the disk. */
export interface ChunkRecord {
  readonly file: FileNumber;
  readonly sequence: number;
  readonly offset: number;
  readonly storedLength: number;
  readonly rawLength: number;
  readonly kind: ChunkKind;
  /** CRC-32 of the stored bytes. */
  readonly crc: number;
  /** SHA-256 of the stored bytes, 32 bytes. */
  readonly digest: Uint8Array;
}

/** Up to where staged chunks of a file were copied into its part. */
export interface AssembledRecord {
  readonly file: FileNumber;
  readonly chunks: number;
  readonly bytes: number;
}

export type JournalRecord =
  | { readonly type: "session"; readonly body: unknown }
  | { readonly type: "chunk"; readonly chunk: ChunkRecord }
  | { readonly type: "intent"; readonly body: unknown }
  | { readonly type: "assembled"; readonly assembled: AssembledRecord };

const TYPE_SESSION = 1;
const TYPE_CHUNK = 2;
const TYPE_INTENT = 3;
const TYPE_ASSEMBLED = 4;

/** A record whose payload is JSON. */
export function encodeDocument(type: "session" | "intent", body: unknown): Uint8Array {
  const payload = new TextEncoder().encode(JSON.stringify(body));
  const out = Buffer.alloc(RECORD_HEADER_BYTES + payload.length + CRC_BYTES);
  out.set(payload, RECORD_HEADER_BYTES);
  seal(out, 0, type === "session" ? TYPE_SESSION : TYPE_INTENT, payload.length);
  return out;
}

/** The records of these chunks, one after another. */
export function encodeChunks(chunks: readonly ChunkRecord[]): Uint8Array {
  const out = Buffer.alloc(chunks.length * CHUNK_RECORD_BYTES);
  let at = 0;
  for (const chunk of chunks) {
    const payload = at + RECORD_HEADER_BYTES;
    out[payload] = chunk.file;
    out[payload + 1] = CHUNK_KINDS.indexOf(chunk.kind);
    out.writeUInt32BE(chunk.sequence, payload + 4);
    out.writeBigUInt64BE(BigInt(chunk.offset), payload + 8);
    out.writeUInt32BE(chunk.storedLength, payload + 16);
    out.writeUInt32BE(chunk.rawLength, payload + 20);
    out.writeUInt32BE(chunk.crc, payload + 24);
    out.set(chunk.digest, payload + 28);
    seal(out, at, TYPE_CHUNK, CHUNK_PAYLOAD_BYTES);
    at += CHUNK_RECORD_BYTES;
  }
  return out;
}

export function encodeAssembled({ file, chunks, bytes }: AssembledRecord): Uint8Array {
  const out = Buffer.alloc(RECORD_HEADER_BYTES + ASSEMBLED_PAYLOAD_BYTES + CRC_BYTES);
  out[RECORD_HEADER_BYTES] = file;
  out.writeUInt32BE(chunks, RECORD_HEADER_BYTES + 4);
  out.writeBigUInt64BE(BigInt(bytes), RECORD_HEADER_BYTES + 8);
  seal(out, 0, TYPE_ASSEMBLED, ASSEMBLED_PAYLOAD_BYTES);
  return out;
}

function seal(out: Buffer, at: number, type: number, payloadLength: number): void {
  out[at] = type;
  out.writeUInt32BE(payloadLength, at + 4);
  const end = at + RECORD_HEADER_BYTES + payloadLength;
  out.writeUInt32BE(crc32(out.subarray(at, end)), end);
}

/** A whole record, how many bytes it took, or what is the matter. */
export type Decoded =
  | { readonly outcome: "record"; readonly record: JournalRecord; readonly length: number }
  /** What is there may be the beginning of a record. */
  | { readonly outcome: "short" }
  /** It is no record: the end of what can be believed. */
  | { readonly outcome: "broken" };

/** The record at the beginning of `bytes`. Never throws, whatever the bytes are. */
export function decodeRecord(bytes: Uint8Array): Decoded {
  if (bytes.length < RECORD_HEADER_BYTES) return { outcome: "short" };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = view.readUInt8(0);
  const payloadLength = view.readUInt32BE(4);
  if (view.readUIntBE(1, 3) !== 0 || payloadLength > JOURNAL_PAYLOAD_BYTES_MAX) return { outcome: "broken" };
  const end = RECORD_HEADER_BYTES + payloadLength;
  const length = end + CRC_BYTES;
  if (view.length < length) return { outcome: "short" };
  if (crc32(view.subarray(0, end)) !== view.readUInt32BE(end)) return { outcome: "broken" };
  const record = decodePayload(type, view.subarray(RECORD_HEADER_BYTES, end));
  return record === undefined ? { outcome: "broken" } : { outcome: "record", record, length };
}

function decodePayload(type: number, payload: Buffer): JournalRecord | undefined {
  if (type === TYPE_SESSION || type === TYPE_INTENT) {
    const body = parseJson(payload);
    if (body === undefined) return undefined;
    return { type: type === TYPE_SESSION ? "session" : "intent", body };
  }
  if (type === TYPE_CHUNK && payload.length === CHUNK_PAYLOAD_BYTES) return decodeChunk(payload);
  if (type === TYPE_ASSEMBLED && payload.length === ASSEMBLED_PAYLOAD_BYTES) return decodeAssembled(payload);
  return undefined;
}

function decodeChunk(payload: Buffer): JournalRecord | undefined {
  const file = fileAt(payload);
  const kind = CHUNK_KINDS[payload.readUInt8(1)];
  const offset = countAt(payload, 8);
  if (file === undefined || kind === undefined || offset === undefined) return undefined;
  const chunk: ChunkRecord = {
    file,
    kind,
    sequence: payload.readUInt32BE(4),
    offset,
    storedLength: payload.readUInt32BE(16),
    rawLength: payload.readUInt32BE(20),
    crc: payload.readUInt32BE(24),
    digest: Uint8Array.from(payload.subarray(28, 60)),
  };
  return { type: "chunk", chunk };
}

function decodeAssembled(payload: Buffer): JournalRecord | undefined {
  const file = fileAt(payload);
  const bytes = countAt(payload, 8);
  if (file === undefined || bytes === undefined) return undefined;
  return { type: "assembled", assembled: { file, chunks: payload.readUInt32BE(4), bytes } };
}

function fileAt(payload: Buffer): FileNumber | undefined {
  const file = payload.readUInt8(0);
  return file === 0 || file === 1 ? file : undefined;
}

/** Undefined when a number cannot hold it. */
function countAt(payload: Buffer, at: number): number | undefined {
  const value = payload.readBigUInt64BE(at);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(value);
}

/** Undefined when it is not JSON. */
function parseJson(payload: Buffer): unknown {
  try {
    return must<unknown>(JSON.parse(payload.toString("utf8")), "a document");
  } catch {
    return undefined; // The caller calls the record broken, which is all there is to say of it.
  }
}
