/**
 * Bytes as headers, messages and chunk tails: each a pure function over bytes that are all there. Cutting the stream
 * into frames, and what may come when, is decoder.ts.
 */
import { decode } from "@msgpack/msgpack";
import { must } from "#base/assert.ts";
import { CHUNK_KINDS } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { DIGEST_BYTES } from "#base/root-hash.ts";
import type { ChunkTail } from "./encode.ts";
import { FLAG_PUSH, FRAME_MAGIC, FRAME_TYPES, type FrameHeader, type FrameType } from "./frame.ts";
import {
  BYTES_PAYLOAD_BYTES_MAX,
  CHUNK_RAW_BYTES_MAX,
  CHUNK_TAIL_BYTES,
  DATA_PAYLOAD_BYTES_MAX,
  FRAME_HEADER_BYTES,
  PAYLOAD_BYTES_MAX,
  SLOTS_MAX,
} from "./limits.ts";
import { type AnyMessage, MESSAGES, type MessageType } from "./messages.ts";
import { guardMsgpack } from "./msgpack-guard.ts";

const TYPE_BY_NUMBER: ReadonlyMap<number, FrameType> = new Map(
  Object.entries(FRAME_TYPES).map(([type, number]) => [number, type as FrameType]),
);

/** The highest offset whose number a double holds exactly, in its upper half. */
const OFFSET_HIGH_MAX = 0x1f_ffff;

/**
 * The 32 bytes of a header at `at`, judged by themselves: magic, type, flags, fields that must be zero, length against
 * the type's limit. Throws Failure E_PROTOCOL, E_VERSION, E_FRAME_TOO_LARGE.
 */
export function decodeHeader(bytes: Uint8Array, at: number): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEADER_BYTES);
  checkMagic(view);
  const number = view.getUint8(4);
  const type = TYPE_BY_NUMBER.get(number);
  if (type === undefined) throw new Failure("E_PROTOCOL", `unknown frame type 0x${hex(number, 2)}`);
  if (type === "copy") throw new Failure("E_PROTOCOL", "copy frames are reserved and not part of this version");
  const offsetHigh = view.getUint32(24);
  const header = {
    type,
    flags: view.getUint8(5),
    slot: view.getUint8(6),
    file: view.getUint8(7),
    length: view.getUint32(8),
    sequence: view.getUint32(12),
    generation: view.getUint32(16),
    crc: view.getUint32(20),
    offset: offsetHigh * 2 ** 32 + view.getUint32(28),
  };
  if (type === "data") checkData(header, offsetHigh);
  else if (type === "bytes") checkBytes(header, offsetHigh);
  else checkControl(header, PAYLOAD_BYTES_MAX[type]);
  return { ...header, file: header.file === 1 ? 1 : 0 };
}

type RawHeader = Omit<FrameHeader, "file"> & { readonly file: number };

function checkMagic(view: DataView): void {
  const magic = view.getUint32(0);
  if (magic === FRAME_MAGIC) return;
  if (magic >>> 8 === FRAME_MAGIC >>> 8) {
    throw new Failure("E_VERSION", `peer speaks framing version ${magic & 0xff}, this side ${FRAME_MAGIC & 0xff}`);
  }
  throw new Failure("E_PROTOCOL", `no frame starts with 0x${hex(magic, 8)}, expected 0x${hex(FRAME_MAGIC, 8)}`);
}

function checkData(header: RawHeader, offsetHigh: number): void {
  const { length } = header;
  if (length > DATA_PAYLOAD_BYTES_MAX) throw tooLarge(header, DATA_PAYLOAD_BYTES_MAX);
  if (length <= CHUNK_TAIL_BYTES) {
    throw new Failure(
      "E_PROTOCOL",
      `data frame of ${length} bytes, expected more than the ${CHUNK_TAIL_BYTES} of its tail`,
    );
  }
  if ((header.flags & ~FLAG_PUSH) !== 0)
    throw new Failure("E_PROTOCOL", `data frame with flags 0x${hex(header.flags, 2)}`);
  if (header.slot >= SLOTS_MAX)
    throw new Failure("E_PROTOCOL", `data frame on slot ${header.slot}, expected below ${SLOTS_MAX}`);
  checkPlace(header, offsetHigh);
}

function checkBytes(header: RawHeader, offsetHigh: number): void {
  const { length } = header;
  if (length > BYTES_PAYLOAD_BYTES_MAX) throw tooLarge(header, BYTES_PAYLOAD_BYTES_MAX);
  if (length === 0) throw new Failure("E_PROTOCOL", "bytes frame without a payload");
  checkZero(header, ["flags", "slot"]);
  checkPlace(header, offsetHigh);
}

/** What is at a place in a file. */
function checkPlace({ type, file, offset, length }: RawHeader, offsetHigh: number): void {
  if (file > 1) throw new Failure("E_PROTOCOL", `${type} frame of file ${file}, expected 0 or 1`);
  if (offsetHigh > OFFSET_HIGH_MAX || !Number.isSafeInteger(offset + length)) {
    throw new Failure("E_PROTOCOL", `${type} frame at an offset of 2^53 or more`);
  }
}

function checkControl(header: RawHeader, lengthMax: number): void {
  if (header.length > lengthMax) throw tooLarge(header, lengthMax);
  checkZero(header, ["flags", "slot", "file", "sequence", "offset"]);
}

function checkZero(header: RawHeader, fields: readonly ("flags" | "slot" | "file" | "sequence" | "offset")[]): void {
  for (const field of fields) {
    if (header[field] === 0) continue;
    throw new Failure("E_PROTOCOL", `${header.type} frame with ${field} ${header[field]}, expected 0`);
  }
}

/** Failure E_FRAME_TOO_LARGE. */
export function tooLarge(header: Pick<FrameHeader, "type" | "length">, lengthMax: number): Failure {
  return new Failure("E_FRAME_TOO_LARGE", `${header.type} frame of ${header.length} bytes exceeds ${lengthMax}`);
}

/** `slot 3, offset 52428800` when the header at `at`, good or bad, says it is a Data frame's: for messages. */
export function describeDataHeader(bytes: Uint8Array, at: number): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEADER_BYTES);
  if (view.getUint32(0) !== FRAME_MAGIC || view.getUint8(4) !== FRAME_TYPES.data) return undefined;
  return `slot ${view.getUint8(6)}, offset ${view.getBigUint64(24)}`;
}

/**
 * A whole control payload as its message, whose byte strings are views of it; throws Failure E_PROTOCOL that names the
 * first field that does not fit.
 */
export function decodeMessage(type: MessageType, payload: Uint8Array): AnyMessage {
  guardMsgpack(payload);
  const value = unpack(type, payload);
  const parsed = MESSAGES[type].safeParse(value);
  if (!parsed.success) {
    const issue = must(parsed.error.issues[0], "issue of a failed parse");
    const place = issue.path.length === 0 ? "" : ` field ${issue.path.map(String).join(".")}`;
    throw new Failure("E_PROTOCOL", `${type}${place}: ${issue.message.toLowerCase()}`);
  }
  // The schema was taken by the same type.
  return { type, body: parsed.data } as AnyMessage;
}

function unpack(type: MessageType, payload: Uint8Array): unknown {
  try {
    return decode(payload);
  } catch (error) {
    throw notMsgpack(type, error);
  }
}

function notMsgpack(type: MessageType, cause: unknown): Failure {
  return new Failure("E_PROTOCOL", `${type} payload is not msgpack`, { cause });
}

/** The 40 bytes of a chunk tail at `at`; the digest is a copy. Throws Failure E_PROTOCOL. */
export function decodeChunkTail(bytes: Uint8Array, at: number): ChunkTail {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, CHUNK_TAIL_BYTES);
  const rawLength = view.getUint32(0);
  const kindAndZero = view.getUint32(4);
  const kind = CHUNK_KINDS[kindAndZero >>> 24];
  if (kind === undefined || (kindAndZero & 0xff_ffff) !== 0) {
    throw new Failure(
      "E_PROTOCOL",
      `chunk tail with kind 0x${hex(kindAndZero, 8)}, expected 0 to ${CHUNK_KINDS.length - 1}`,
    );
  }
  if (rawLength > CHUNK_RAW_BYTES_MAX) {
    throw new Failure("E_FRAME_TOO_LARGE", `chunk of ${rawLength} raw bytes exceeds ${CHUNK_RAW_BYTES_MAX}`);
  }
  return { rawLength, kind, digest: bytes.slice(at + 8, at + 8 + DIGEST_BYTES) };
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
