/**
 * The byte stream of one connection, cut into frames as it arrives. A push parser without I/O: control frames are
 * gathered whole (64 KiB at most, most types far less), checked and handed over as messages; the bytes of Data frames are handed through as
 * they come and never gathered. What may come when is the table of states.ts. Answers nothing and closes nothing.
 */
import { crc32 } from "node:zlib";
import { assert } from "#base/assert.ts";
import type { ErrorCode } from "#base/catalogue.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { decodeChunkTail, decodeHeader, decodeMessage, describeDataHeader, tooLarge } from "./decode.ts";
import type { ChunkTail } from "./encode.ts";
import type { FrameHeader } from "./frame.ts";
import { CHUNK_TAIL_BYTES, FRAME_HEADER_BYTES, PING_BYTES_MAX } from "./limits.ts";
import type { AnyMessage } from "./messages.ts";
import { expectedFrames, type ReceiveState, stateAfterEnter, stateAfterFrame } from "./states.ts";

/** The end of a Data frame. Of a damaged one nothing in the tail can be believed. */
export type DataEnd =
  | ({
      readonly crcOk: true;
      /** CRC-32 of the stored bytes alone. */
      readonly storedCrc: number;
    } & ChunkTail)
  | { readonly crcOk: false; readonly storedCrc: number };

/** What a handler throws ends the decoder like an error of the stream. A handler may call enter() and close(). */
export interface FrameHandlers {
  message(message: AnyMessage, header: FrameHeader): void;
  /** A Data frame begins: `header.length - CHUNK_TAIL_BYTES` stored bytes follow. */
  dataStart(header: FrameHeader): void;
  /** The next stored bytes, never empty; the view is valid only during the call. */
  dataBytes(bytes: Uint8Array): void;
  dataEnd(end: DataEnd): void;
  /** Only where Bytes may come. */
  readonly bytes?: BytesHandlers;
}

/** Frames of Bytes, on read connections; the same as of Data, but that nothing follows the bytes. */
export interface BytesHandlers {
  start(header: FrameHeader): void;
  /** The next bytes, never empty; the view is valid only during the call. They may still turn out to be damaged. */
  bytes(view: Uint8Array): void;
  end(crcOk: boolean): void;
}

export interface FrameDecoderOptions {
  /** `server/hello` or `agent/welcome`. */
  readonly state: ReceiveState;
  readonly handlers: FrameHandlers;
  /** Who and where, for error messages: `agent web-1, slot 3`. */
  readonly describe?: () => string;
}

/** What the parser is in the middle of; `dead` after an error, `closed` after close() or the last frame. */
type Step = "header" | "control" | "data" | "tail" | "bytes" | "dead" | "closed";

export class FrameDecoder {
  readonly #handlers: FrameHandlers;
  readonly #describe: (() => string) | undefined;
  #state: ReceiveState;
  #step: Step = "header";
  #failure: Failure | undefined;
  #inPush = false;

  /** A header or chunk tail that arrives in pieces. */
  readonly #scratch = new Uint8Array(CHUNK_TAIL_BYTES);
  /** The payload of a control frame; allocated when its header was accepted. */
  #payload = new Uint8Array(0);
  /** Bytes gathered of what the step gathers. */
  #gathered = 0;
  #header: FrameHeader | undefined;
  /** Data, Bytes: bytes still to come, but for a tail. */
  #storedLeft = 0;
  /** Data, Bytes: CRC of those that came. */
  #storedCrc = 0;

  constructor(options: FrameDecoderOptions) {
    this.#state = options.state;
    this.#handlers = options.handlers;
    this.#describe = options.describe;
  }

  get state(): ReceiveState {
    return this.#state;
  }

  /** Bytes of memory for a frame that has arrived in part: of Data no more than its tail. */
  get heldBytes(): number {
    return this.#scratch.length + this.#payload.length;
  }

  /** True while a Data frame has begun and not ended: if the connection breaks now, that chunk is incomplete. */
  get inData(): boolean {
    return this.#step === "data" || this.#step === "tail";
  }

  /** The state that follows from what this side sent or decided; the next frame is judged by it. */
  enter(state: ReceiveState): void {
    if (this.#step === "dead" || this.#step === "closed") return;
    this.#state = stateAfterEnter(this.#state, state);
    if (state === "closed") this.close();
  }

  /** From now on all bytes are dropped unread: this side said its last word. */
  close(): void {
    if (this.#step === "dead") return;
    this.#step = "closed";
    this.#state = "closed";
  }

  /**
   * Takes the next bytes of the stream and calls the handlers for all that they complete. Throws Failure E_PROTOCOL,
   * E_VERSION, E_FRAME_TOO_LARGE, or what a handler threw; after that every push throws the same.
   */
  push(bytes: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure;
    assert(!this.#inPush, "push was called by a handler of push");
    this.#inPush = true;
    try {
      let at = 0;
      while (at < bytes.length && this.#step !== "closed") at = this.#advance(bytes, at);
    } catch (error) {
      this.#failure = this.#placed(toFailure(error));
      this.#step = "dead";
      this.#payload = new Uint8Array(0);
      throw this.#failure;
    } finally {
      this.#inPush = false;
    }
  }

  /** One step with the bytes from `at` on; returns where the next one goes on, which is further. */
  #advance(bytes: Uint8Array, at: number): number {
    switch (this.#step) {
      case "header":
        return this.#takeHeader(bytes, at);
      case "control":
        return this.#takeControl(bytes, at);
      case "data":
        return this.#takeStored(bytes, at);
      case "tail":
        return this.#takeTail(bytes, at);
      case "bytes":
        return this.#takeBytes(bytes, at);
      case "closed":
      case "dead":
        return bytes.length;
    }
  }

  #takeHeader(bytes: Uint8Array, at: number): number {
    const next = this.#gather(this.#scratch, FRAME_HEADER_BYTES, bytes, at);
    if (this.#gathered < FRAME_HEADER_BYTES) return next;
    this.#gathered = 0;
    const header = decodeHeader(this.#scratch, 0);
    const following = stateAfterFrame(this.#state, header.type);
    if (following === undefined) {
      throw new Failure(
        "E_PROTOCOL",
        `${header.type} frame in state ${this.#state}, expected ${expectedFrames(this.#state)}`,
      );
    }
    const isPing = header.type === "ping" || header.type === "pong";
    if (isPing && header.length > PING_BYTES_MAX && !tellsFacts(this.#state)) throw tooLarge(header, PING_BYTES_MAX);
    this.#header = header;
    if (header.type === "data") this.#beginData(header);
    else if (header.type === "bytes") this.#beginBytes(header);
    else this.#beginControl(header);
    return next;
  }

  #beginControl(header: FrameHeader): void {
    this.#payload = new Uint8Array(header.length);
    this.#step = "control";
    // A frame without payload has nothing to wait for, but even an empty message is a map of one byte.
    if (header.length === 0) throw new Failure("E_PROTOCOL", `${header.type} frame without a payload`);
  }

  #takeControl(bytes: Uint8Array, at: number): number {
    const next = this.#gather(this.#payload, this.#payload.length, bytes, at);
    if (this.#gathered < this.#payload.length) return next;
    const payload = this.#payload;
    const header = this.#takeHeaderUp();
    const crc = crc32(payload);
    if (crc !== header.crc || header.type === "data" || header.type === "copy" || header.type === "bytes") {
      throw new Failure("E_PROTOCOL", `${header.type} frame with a payload of CRC ${crc}, expected ${header.crc}`);
    }
    const message = decodeMessage(header.type, payload);
    const state = stateAfterFrame(this.#state, header.type);
    assert(state !== undefined, `${header.type} frame was let in by state ${this.#state}`);
    this.#state = state;
    this.#handlers.message(message, header);
    if (this.#state === "closed") this.close();
    return next;
  }

  #beginData(header: FrameHeader): void {
    this.#storedLeft = header.length - CHUNK_TAIL_BYTES;
    this.#storedCrc = 0;
    this.#step = "data";
    this.#handlers.dataStart(header);
  }

  #takeStored(bytes: Uint8Array, at: number): number {
    const next = Math.min(bytes.length, at + this.#storedLeft);
    const view = bytes.subarray(at, next);
    this.#storedCrc = crc32(view, this.#storedCrc);
    this.#storedLeft -= view.length;
    if (this.#storedLeft === 0) this.#step = "tail";
    this.#handlers.dataBytes(view);
    return next;
  }

  #takeTail(bytes: Uint8Array, at: number): number {
    const next = this.#gather(this.#scratch, CHUNK_TAIL_BYTES, bytes, at);
    if (this.#gathered < CHUNK_TAIL_BYTES) return next;
    const header = this.#takeHeaderUp();
    const storedCrc = this.#storedCrc;
    const crcOk = crc32(this.#scratch, storedCrc) === header.crc;
    this.#handlers.dataEnd(crcOk ? { crcOk, storedCrc, ...decodeChunkTail(this.#scratch, 0) } : { crcOk, storedCrc });
    return next;
  }

  #beginBytes(header: FrameHeader): void {
    this.#storedLeft = header.length;
    this.#storedCrc = 0;
    this.#step = "bytes";
    this.#bytes().start(header);
  }

  #takeBytes(bytes: Uint8Array, at: number): number {
    const next = Math.min(bytes.length, at + this.#storedLeft);
    const view = bytes.subarray(at, next);
    this.#storedCrc = crc32(view, this.#storedCrc);
    this.#storedLeft -= view.length;
    this.#bytes().bytes(view);
    // A handler may have closed.
    if (this.#storedLeft > 0 || this.#step !== "bytes") return next;
    const header = this.#takeHeaderUp();
    this.#bytes().end(this.#storedCrc === header.crc);
    return next;
  }

  #bytes(): BytesHandlers {
    const { bytes } = this.#handlers;
    assert(bytes !== undefined, `bytes were let in by state ${this.#state} where nobody takes them`);
    return bytes;
  }

  /** The frame is complete: the next byte begins a header. */
  #takeHeaderUp(): FrameHeader {
    const header = this.#header;
    assert(header !== undefined, "a payload was parsed without a header");
    this.#header = undefined;
    this.#payload = new Uint8Array(0);
    this.#gathered = 0;
    this.#step = "header";
    return header;
  }

  /** Copies what fits until `into` holds `length` bytes; returns the place after what was taken. */
  #gather(into: Uint8Array, length: number, bytes: Uint8Array, at: number): number {
    const next = Math.min(bytes.length, at + length - this.#gathered);
    into.set(bytes.subarray(at, next), this.#gathered);
    this.#gathered += next - at;
    assert(this.#gathered <= length, "gathered more than the frame has");
    return next;
  }

  /** The errors of the stream say where; what else a handler threw stays as it is. */
  #placed(failure: Failure): Failure {
    if (!STREAM_ERRORS.has(failure.code)) return failure;
    // After a header that was not accepted its bytes are still there.
    const frame = this.#step === "header" || this.inData ? this.#describeData() : undefined;
    const places = [this.#describe?.(), frame].filter((place) => place !== undefined && place !== "");
    if (places.length === 0) return failure;
    return new Failure(failure.code, `${failure.message} (${places.join(", ")})`, {
      cause: failure,
      hint: failure.hint,
    });
  }

  #describeData(): string | undefined {
    if (this.#header !== undefined) return `slot ${this.#header.slot}, offset ${this.#header.offset}`;
    return describeDataHeader(this.#scratch, 0);
  }
}

const STREAM_ERRORS: ReadonlySet<ErrorCode> = new Set(["E_PROTOCOL", "E_VERSION", "E_FRAME_TOO_LARGE"]);

/** Whether Ping and Pong carry what agent and server tell of themselves. */
function tellsFacts(state: ReceiveState): boolean {
  return state === "server/control" || state === "agent/control";
}
