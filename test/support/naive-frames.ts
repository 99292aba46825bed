/**
 * The frame format once more, the slow and obvious way, as the oracle of the decoder: it has the whole stream at hand,
 * reads it field by field, computes CRCs bit by bit, and shares nothing with the code under test but the tables (limits,
 * type numbers, schemas, states) and the msgpack library.
 */
import { createHash } from "node:crypto";
import { decode } from "@msgpack/msgpack";
import { CHUNK_KINDS } from "#base/chunk.ts";
import { FRAME_TYPES } from "#wire/frame.ts";
import {
  BYTES_PAYLOAD_BYTES_MAX,
  CHUNK_RAW_BYTES_MAX,
  CHUNK_STORED_BYTES_MAX,
  PAYLOAD_BYTES_MAX,
  PING_BYTES_MAX,
} from "#wire/limits.ts";
import { MESSAGES, type MessageType } from "#wire/messages.ts";
import { RECEIVE_STATES, type ReceiveState } from "#wire/states.ts";

/** One frame as a line of text: enough to tell any two apart. */
export type NaiveEvent = string;

export interface NaiveResult {
  readonly events: readonly NaiveEvent[];
  /** Something in the stream is not a frame that may come. */
  readonly broken: boolean;
}

function crcBitByBit(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ ((crc & 1) * 0xedb8_8320);
  }
  return ~crc >>> 0;
}

/** Byte strings as hex, so that events compare as text. */
export function plainText(value: unknown): string {
  return JSON.stringify(value, (_key, v: unknown) => (v instanceof Uint8Array ? { hex: v.toHex() } : v));
}

export function naiveFrames(stream: Uint8Array, first: ReceiveState): NaiveResult {
  const buffer = Buffer.from(stream);
  const events: NaiveEvent[] = [];
  let state: ReceiveState = first;
  let at = 0;
  while (state !== "closed" && buffer.length - at >= 32) {
    const frame = naiveHeader(buffer.subarray(at, at + 32));
    const next = frame === undefined || isTooLong(frame, state) ? undefined : RECEIVE_STATES[state].takes[frame.type];
    if (frame === undefined || next === undefined) return { events, broken: true };
    if (buffer.length - at - 32 < frame.length) break;
    const payload = buffer.subarray(at + 32, at + 32 + frame.length);
    const event = naiveEvent(frame, payload);
    if (event === undefined) return { events, broken: true };
    events.push(event);
    state = next;
    at += 32 + frame.length;
  }
  return { events, broken: false };
}

type NaiveHeader = NonNullable<ReturnType<typeof naiveHeader>>;

function naiveHeader(h: Buffer) {
  if (h.toString("latin1", 0, 4) !== "nbk\x01") return undefined;
  const entry = Object.entries(FRAME_TYPES).find(([, number]) => number === h[4]);
  if (entry === undefined || entry[0] === "copy") return undefined;
  const type = entry[0] as MessageType | "data" | "bytes";
  const [flags, slot, file, length] = [h[5] ?? 0, h[6] ?? 0, h[7] ?? 0, h.readUInt32BE(8)];
  const [sequence, generation, crc, offset] = [
    h.readUInt32BE(12),
    h.readUInt32BE(16),
    h.readUInt32BE(20),
    h.readBigUInt64BE(24),
  ];
  const header = { type, flags, slot, file, length, sequence, generation, crc, offset };
  if (type === "data") {
    const good = flags < 2 && slot < 255 && file < 2 && length > 40 && length <= CHUNK_STORED_BYTES_MAX + 40;
    return good && offset + BigInt(length) < 2n ** 53n ? header : undefined;
  }
  if (type === "bytes") {
    const good = flags === 0 && slot === 0 && file < 2 && length > 0 && length <= BYTES_PAYLOAD_BYTES_MAX;
    return good && offset + BigInt(length) < 2n ** 53n ? header : undefined;
  }
  const lengthMax = PAYLOAD_BYTES_MAX[type];
  const zero = flags === 0 && slot === 0 && file === 0 && sequence === 0 && offset === 0n;
  return zero && length > 0 && length <= lengthMax ? header : undefined;
}

function naiveEvent(h: NaiveHeader, payload: Buffer): NaiveEvent | undefined {
  if (h.type === "data") return naiveData(h, payload);
  if (h.type === "bytes") {
    const place = `bytes ${h.file} ${h.sequence} ${h.generation} ${h.offset}`;
    return crcBitByBit(payload) === h.crc ? `${place} ${sha256(payload)}` : `${place} damaged`;
  }
  return naiveMessage(h, payload);
}

function naiveData(h: NaiveHeader, payload: Buffer): NaiveEvent | undefined {
  const stored = payload.subarray(0, payload.length - 40);
  const tail = payload.subarray(payload.length - 40);
  const place = `data ${h.flags} ${h.slot} ${h.file} ${h.sequence} ${h.generation} ${h.offset} ${sha256(stored)}`;
  if (crcBitByBit(payload) !== h.crc) return `${place} damaged`;
  const kind = CHUNK_KINDS[tail[4] ?? 99];
  const rawLength = tail.readUInt32BE(0);
  if (kind === undefined || tail.readUIntBE(5, 3) !== 0 || rawLength > CHUNK_RAW_BYTES_MAX) return undefined;
  return `${place} ${crcBitByBit(stored)} ${rawLength} ${kind} ${tail.toString("hex", 8)}`;
}

function naiveMessage(h: NaiveHeader, payload: Buffer): NaiveEvent | undefined {
  if (h.type === "data" || h.type === "bytes" || crcBitByBit(payload) !== h.crc) return undefined;
  const parsed = MESSAGES[h.type].safeParse(unpacked(Uint8Array.from(payload)));
  return parsed.success ? `${h.type} ${h.generation} ${plainText(parsed.data)}` : undefined;
}

/** Ping and Pong carry facts on control connections only. */
function isTooLong({ type, length }: { readonly type: string; readonly length: number }, state: ReceiveState): boolean {
  return (type === "ping" || type === "pong") && length > PING_BYTES_MAX && !state.endsWith("/control");
}

/** Undefined, which is no message, when the library does not take it. */
function unpacked(payload: Uint8Array): unknown {
  try {
    return decode(payload);
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
