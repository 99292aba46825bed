/**
 * Follows the frames of one direction of a connection as the bytes pass, without judging them: whole control messages for
 * the witness, and where data payloads lie for the faults. It keeps the payloads of control frames only.
 */
import { decodeHeader, decodeMessage } from "#wire/decode.ts";
import type { FrameHeader } from "#wire/frame.ts";
import { FRAME_HEADER_BYTES } from "#wire/limits.ts";
import type { AnyMessage } from "#wire/messages.ts";

export interface ScannerEvents {
  /** A control frame is complete; it ends before byte `end` of the bytes that were pushed last. */
  message(message: AnyMessage, end: number, header: FrameHeader): void;
  /** The header of a Data frame is complete. */
  data(header: FrameHeader): void;
  /** Bytes `start` to `end` of those that were pushed last are of a payload. */
  payload?(header: FrameHeader, start: number, end: number): void;
}

export class FrameScanner {
  readonly #events: ScannerEvents;
  readonly #head = Buffer.alloc(FRAME_HEADER_BYTES);
  #headFilled = 0;
  #header: FrameHeader | undefined;
  /** Of the payload of #header. */
  #left = 0;
  #control: Buffer = Buffer.alloc(0);

  constructor(events: ScannerEvents) {
    this.#events = events;
  }

  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      at = this.#header === undefined ? this.#fillHead(bytes, at) : this.#fillPayload(this.#header, bytes, at);
      if (this.#header !== undefined && this.#left === 0) this.#complete(this.#header, at);
    }
  }

  #fillHead(bytes: Uint8Array, at: number): number {
    const part = bytes.subarray(at, at + FRAME_HEADER_BYTES - this.#headFilled);
    this.#head.set(part, this.#headFilled);
    this.#headFilled += part.length;
    if (this.#headFilled < FRAME_HEADER_BYTES) return at + part.length;
    this.#headFilled = 0;
    const header = decodeHeader(this.#head, 0);
    this.#header = header;
    this.#left = header.length;
    if (header.type === "data") this.#events.data(header);
    else this.#control = Buffer.alloc(header.length);
    return at + part.length;
  }

  #fillPayload(header: FrameHeader, bytes: Uint8Array, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#events.payload?.(header, at, end);
    if (header.type !== "data") this.#control.set(bytes.subarray(at, end), header.length - this.#left);
    this.#left -= end - at;
    return end;
  }

  #complete(header: FrameHeader, end: number): void {
    this.#header = undefined;
    if (header.type === "data" || header.type === "copy" || header.type === "bytes") return;
    this.#events.message(decodeMessage(header.type, this.#control), end, header);
  }
}
