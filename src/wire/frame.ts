/** The fixed header that every frame starts with, as numbers. PROTOCOL.md "Frames". Parsing and writing: decode.ts, encode.ts. */
import type { FileNumber } from "#base/chunk.ts";
import type { MessageType } from "./messages.ts";

/** `nbk` and the framing's version. */
export const FRAME_MAGIC = 0x6e62_6b01;

/** Frame type numbers. Only ever appended to. */
export const FRAME_TYPES = {
  hello: 0x01,
  welcome: 0x02,
  refused: 0x03,
  begin: 0x04,
  queued: 0x05,
  admitted: 0x06,
  data: 0x07,
  /** Reserved: a chunk of an earlier archive by reference; counts in sequence, offset and Sack like Data. */
  copy: 0x08,
  sack: 0x0a,
  finish: 0x0b,
  phase: 0x0c,
  committed: 0x0d,
  verified: 0x1c,
  ended: 0x0e,
  disown: 0x0f,
  ping: 0x10,
  pong: 0x11,
  goodbye: 0x12,
  health: 0x13,
  list: 0x14,
  archives: 0x15,
  open: 0x16,
  opened: 0x17,
  read: 0x18,
  /** Bytes of an archive or its index, on a read connection. */
  bytes: 0x19,
  close: 0x1a,
  failed: 0x1b,
  slotOrder: 0x1d,
  run: 0x1e,
  runAnswer: 0x1f,
  renew: 0x20,
  renewAnswer: 0x21,
  // Enrolment, on a port of its own.
  askAuthority: 0x30,
  authority: 0x31,
  enroll: 0x32,
  granted: 0x33,
  certify: 0x34,
  certificate: 0x35,
  installed: 0x36,
  enrolled: 0x37,
} as const satisfies Record<MessageType | "data" | "copy" | "bytes", number>;

export type FrameType = keyof typeof FRAME_TYPES;

/** Set on the last Data frame of a file that is sent for the first time: the server answers with a Sack at once. */
export const FLAG_PUSH = 0x01;

export interface FrameHeader {
  readonly type: FrameType;
  readonly flags: number;
  readonly slot: number;
  readonly file: FileNumber;
  /** Payload length in bytes. */
  readonly length: number;
  /** Data: the chunk's sequence number in its file; Bytes: the request that they answer; else 0. */
  readonly sequence: number;
  /** Data: the slot's generation; else the session's, 0 before there is one. */
  readonly generation: number;
  /** CRC-32 of the payload. */
  readonly crc: number;
  /** Data: the chunk's byte offset in its file; Bytes: where they stand in theirs; else 0. */
  readonly offset: number;
}
