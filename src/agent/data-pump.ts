/**
 * Turns chunks of the window into the bytes of Data frames on one slot. It is asked for the next piece when the socket
 * has taken the last one, so that no more than one chunk is ever bound to a stream in user memory.
 */
import type { Clock } from "#base/clock.ts";
import { KiB } from "#base/units.ts";
import type { DataPiece, DataSource } from "#net/write-queue.ts";
import type { WindowChunk } from "#window/held-chunk.ts";
import type { SendWindow } from "#window/send-window.ts";
import { encodeDataFrame } from "#wire/encode.ts";
import { WRITE_BYTES_MAX } from "#wire/limits.ts";
import type { StreamMeter } from "./stream-meter.ts";
import type { Throttle } from "./throttle.ts";

export interface DataPumpOptions {
  readonly window: SendWindow;
  readonly clock: Clock;
  readonly throttle: Throttle;
  readonly slot: number;
  /** The slot's generation on this connection. */
  readonly generation: number;
  /** Called when `next` had nothing because of the throttle, and may have something now. */
  readonly wake: () => void;
  readonly meter: StreamMeter;
  /** A chunk was handed out whole. */
  readonly chunkEnded: () => void;
}

/** Stands in for stored bytes that are durable by another stream while this one is half-way: PROTOCOL.md "Addressing and trust". */
const FILLER = new Uint8Array(WRITE_BYTES_MAX);

/** One TLS record; the first and last piece of a frame are at most this long. */
const GATHER_BYTES = 16 * KiB;
/** Stored bytes left for the last piece, so that the tail never travels alone. */
const LAST_BYTES_MIN = 4 * KiB;

interface Current {
  readonly chunk: WindowChunk;
  readonly head: Uint8Array;
  readonly tail: Uint8Array;
  /** Bytes of the frame handed out so far. */
  sentBytes: number;
}

export class DataPump implements DataSource {
  readonly #options: DataPumpOptions;
  #current: Current | undefined;
  /** To be sent next, before what the window has queued. */
  #offered: WindowChunk | undefined;
  #stopped = false;
  #finished: (() => void) | undefined;
  #scratch: Uint8Array | undefined;

  constructor(options: DataPumpOptions) {
    this.#options = options;
  }

  /** Nothing in hand and nothing queued, and not about to go: free to carry a chunk that another stream holds up. */
  get idle(): boolean {
    if (this.#stopped) return false;
    return this.#current === undefined && this.#offered === undefined && !this.#options.window.hasQueued;
  }

  /** Begins no chunk any more; the one that has begun goes out whole. */
  stop(): void {
    this.#stopped = true;
  }

  /** As `stop`; `finished` is called, once, when the chunk in hand was handed out whole, or at once. */
  finish(finished: () => void): void {
    this.#stopped = true;
    const offered = this.#offered;
    this.#offered = undefined;
    if (offered !== undefined) this.#options.window.takeBack(offered, this.#options.slot);
    if (this.#current === undefined) finished();
    else this.#finished = finished;
  }

  /** Sends `chunk` as well, although a stream carries it. Only when idle; the owner wakes the connection. */
  offer(chunk: WindowChunk): void {
    this.#options.window.sendAlso(chunk, this.#options.slot, this.#options.clock.now());
    this.#offered = chunk;
  }

  /** The next piece, at most WRITE_BYTES_MAX long; undefined when there is nothing to send now. */
  next(): DataPiece | undefined {
    const { clock, meter, throttle, wake } = this.#options;
    const current = this.#current ?? this.#begin();
    if (current === undefined) {
      meter.idle(clock.now());
      return undefined;
    }
    const piece = this.#piece(current);
    if (!throttle.take(piece.length, wake)) {
      meter.held(clock.now());
      return undefined;
    }
    meter.sent(piece.length, clock.now());
    current.sentBytes += piece.length;
    const endsFrame = current.sentBytes === frameLength(current);
    if (endsFrame) this.#ended();
    return { bytes: piece, endsFrame };
  }

  #ended(): void {
    this.#current = undefined;
    this.#options.meter.chunks += 1;
    const finished = this.#finished;
    this.#finished = undefined;
    if (finished === undefined) this.#options.chunkEnded();
    else finished();
  }

  #begin(): Current | undefined {
    if (this.#stopped) return undefined;
    const { window, slot, generation, clock } = this.#options;
    const offered = this.#offered;
    this.#offered = undefined;
    const chunk = offered?.state === "sent" ? offered : window.next(slot, clock.now());
    if (chunk === undefined) return undefined;
    const frame = encodeDataFrame({
      slot,
      generation,
      file: chunk.file,
      sequence: chunk.sequence,
      offset: chunk.offset,
      storedLength: chunk.storedLength,
      storedCrc: chunk.crc,
      rawLength: chunk.rawLength,
      kind: chunk.kind,
      digest: chunk.digest,
      push: chunk.last,
    });
    this.#current = { chunk, head: frame.head, tail: frame.tail, sentBytes: 0 };
    return this.#current;
  }

  /** Large pieces are views of the window; the ends of a frame are gathered, so that no TLS record is tiny. */
  #piece(current: Current): Uint8Array {
    const at = current.sentBytes - current.head.length;
    const storedLeft = current.chunk.storedLength - Math.max(0, at);
    if (current.sentBytes === 0 || storedLeft + current.tail.length <= GATHER_BYTES) return this.#gather(current);
    return this.#stored(current.chunk, at, Math.min(this.#options.throttle.pieceBytesMax, storedLeft - LAST_BYTES_MIN));
  }

  /** Head, stored bytes and tail from where the frame stands, copied together as far as GATHER_BYTES go. */
  #gather(current: Current): Uint8Array {
    this.#scratch ??= new Uint8Array(GATHER_BYTES);
    const { chunk, head, tail } = current;
    const lengthMax = Math.min(GATHER_BYTES, this.#options.throttle.pieceBytesMax);
    const length = Math.min(lengthMax, frameLength(current) - current.sentBytes);
    let filled = 0;
    while (filled < length) {
      const at = current.sentBytes + filled - head.length;
      let part: Uint8Array;
      if (at < 0) part = head.subarray(at + head.length);
      else if (at >= chunk.storedLength) part = tail.subarray(at - chunk.storedLength);
      else part = this.#stored(chunk, at, length - filled);
      part = part.subarray(0, length - filled);
      this.#scratch.set(part, filled);
      filled += part.length;
    }
    return this.#scratch.subarray(0, length);
  }

  #stored(chunk: WindowChunk, at: number, lengthMax: number): Uint8Array {
    const length = Math.min(lengthMax, chunk.storedLength - at);
    if (!this.#options.window.holds(chunk)) return FILLER.subarray(0, length);
    return this.#options.window.bytes(chunk, at, length);
  }
}

function frameLength(current: Current): number {
  return current.head.length + current.chunk.storedLength + current.tail.length;
}
