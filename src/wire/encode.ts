/**
 * Frames as bytes. Control frames are made whole; of a Data frame only the header and the chunk tail are made here, the
 * stored bytes between them go to the socket from where they lie. Nothing is sent here.
 */
import { crc32 } from "node:zlib";
import { encode } from "@msgpack/msgpack";
import { assert } from "#base/assert.ts";
import { CHUNK_KINDS, type ChunkKind, type FileNumber } from "#base/chunk.ts";
import { DIGEST_BYTES } from "#base/root-hash.ts";
import { FLAG_PUSH, FRAME_MAGIC, FRAME_TYPES, type FrameHeader } from "./frame.ts";
import {
  BYTES_PAYLOAD_BYTES_MAX,
  CHUNK_RAW_BYTES_MAX,
  CHUNK_STORED_BYTES_MAX,
  CHUNK_TAIL_BYTES,
  FRAME_HEADER_BYTES,
  PAYLOAD_BYTES_MAX,
  SLOTS_MAX,
} from "./limits.ts";
import { type Message, MESSAGES, type MessageType } from "./messages.ts";

/** Writes the 32 bytes of PROTOCOL.md "Frames" to `into` at `at`. */
function encodeHeader(header: FrameHeader, into: Uint8Array, at: number): void {
  const view = new DataView(into.buffer, into.byteOffset + at, FRAME_HEADER_BYTES);
  view.setUint32(0, FRAME_MAGIC);
  view.setUint8(4, FRAME_TYPES[header.type]);
  view.setUint8(5, header.flags);
  view.setUint8(6, header.slot);
  view.setUint8(7, header.file);
  view.setUint32(8, header.length);
  view.setUint32(12, header.sequence);
  view.setUint32(16, header.generation);
  view.setUint32(20, header.crc);
  view.setUint32(24, Math.floor(header.offset / 2 ** 32));
  view.setUint32(28, header.offset % 2 ** 32);
}

export interface MessageOptions {
  /** The session's generation, 0 before there is one. */
  readonly generation?: number;
}

/** One whole control frame. What does not fit its schema or limit is a bug of this side: AssertionError. */
export function encodeMessage<T extends MessageType>(
  type: T,
  body: Message<T>,
  options: MessageOptions = {},
): Uint8Array {
  const checked = MESSAGES[type].safeParse(body);
  assert(checked.success, `outgoing ${type} does not fit its schema: ${checked.error?.message ?? ""}`);
  const payload = encode(checked.data, { ignoreUndefined: true });
  const payloadBytesMax = PAYLOAD_BYTES_MAX[type];
  assert(payload.length <= payloadBytesMax, `outgoing ${type} of ${payload.length} bytes exceeds ${payloadBytesMax}`);
  const frame = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  frame.set(payload, FRAME_HEADER_BYTES);
  const header: FrameHeader = {
    type,
    flags: 0,
    slot: 0,
    file: 0,
    length: payload.length,
    sequence: 0,
    generation: options.generation ?? 0,
    crc: crc32(payload),
    offset: 0,
  };
  encodeHeader(header, frame, 0);
  return frame;
}

/** What follows the stored bytes of a chunk in a Data frame. PROTOCOL.md "Data". */
export interface ChunkTail {
  /** Uncompressed length in bytes. */
  readonly rawLength: number;
  readonly kind: ChunkKind;
  /** SHA-256 of the stored bytes, 32 bytes. */
  readonly digest: Uint8Array;
}

/** Writes the 40 bytes of a chunk tail to `into` at `at`. */
function encodeChunkTail(tail: ChunkTail, into: Uint8Array, at: number): void {
  const kind = CHUNK_KINDS.indexOf(tail.kind);
  assert(kind >= 0, `unknown chunk kind ${tail.kind}`);
  assert(tail.digest.length === DIGEST_BYTES, `digest of ${tail.digest.length} bytes`);
  assert(tail.rawLength <= CHUNK_RAW_BYTES_MAX, `chunk of ${tail.rawLength} raw bytes`);
  const view = new DataView(into.buffer, into.byteOffset + at, CHUNK_TAIL_BYTES);
  view.setUint32(0, tail.rawLength);
  view.setUint32(4, kind * 2 ** 24);
  into.set(tail.digest, at + 8);
}

/** A Data frame but for the stored bytes themselves. */
export interface DataFrame extends ChunkTail {
  readonly slot: number;
  /** The slot's generation, from Welcome or Admitted. */
  readonly generation: number;
  readonly file: FileNumber;
  readonly sequence: number;
  /** Where the chunk stands in its file, bytes. */
  readonly offset: number;
  readonly storedLength: number;
  /** CRC-32 of the stored bytes. */
  readonly storedCrc: number;
  /** Asks for a Sack at once. */
  readonly push: boolean;
}

/** Header (32 bytes) and tail (40 bytes) of a Data frame, to be sent with the stored bytes between them. */
export function encodeDataFrame(frame: DataFrame): { readonly head: Uint8Array; readonly tail: Uint8Array } {
  assert(
    frame.storedLength >= 1 && frame.storedLength <= CHUNK_STORED_BYTES_MAX,
    `chunk of ${frame.storedLength} bytes`,
  );
  assert(frame.slot < SLOTS_MAX, `slot ${frame.slot}`);
  const tail = new Uint8Array(CHUNK_TAIL_BYTES);
  encodeChunkTail(frame, tail, 0);
  const head = new Uint8Array(FRAME_HEADER_BYTES);
  const header: FrameHeader = {
    type: "data",
    flags: frame.push ? FLAG_PUSH : 0,
    slot: frame.slot,
    file: frame.file,
    length: frame.storedLength + CHUNK_TAIL_BYTES,
    sequence: frame.sequence,
    generation: frame.generation,
    crc: crc32(tail, frame.storedCrc),
    offset: frame.offset,
  };
  encodeHeader(header, head, 0);
  return { head, tail };
}

/** A Bytes frame but for its payload. */
export interface BytesFrame {
  /** The Read that it answers. */
  readonly request: number;
  readonly file: FileNumber;
  readonly offset: number;
}

/** Writes the header of a Bytes frame before its payload, which stands in `into` from FRAME_HEADER_BYTES on. */
export function encodeBytesHeader(frame: BytesFrame, into: Uint8Array): void {
  const payload = into.subarray(FRAME_HEADER_BYTES);
  assert(payload.length >= 1 && payload.length <= BYTES_PAYLOAD_BYTES_MAX, `bytes frame of ${payload.length} bytes`);
  const { request: sequence, file, offset } = frame;
  const fixed = { type: "bytes", flags: 0, slot: 0, generation: 0 } as const;
  encodeHeader({ ...fixed, file, length: payload.length, sequence, crc: crc32(payload), offset }, into, 0);
}
