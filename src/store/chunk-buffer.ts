/**
 * The server's memory for chunks that were received and not yet written: how much of it a session may fill, and when
 * writing begins. A session always has 4 MB of its own; `chunk_buffer.size` is memory beside that for all sessions
 * together, so that a disk that stands still for a moment does not stop the senders. What lies here is received, never
 * durable. It holds no bytes itself, and writes none.
 *
 * Fairness: a session pauses when it fills more than four times what is free. So one that is alone gets four fifths of the
 * buffer, several get equal parts of nearly all of it, and one that comes anew always finds some.
 *
 * Draining: with a ratio above 0 writes are held back until that part of the buffer is filled or 1 s has passed; then all
 * that waits is written. A session whose window, or whose part of the buffer, would be full before that is not held up.
 */
import { assert } from "#base/assert.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { MiB } from "#base/units.ts";

/** What a session has in any case: a few milliseconds of a fast disk, little beside a window. */
const OWN_BYTES = 4 * MiB;
/** How much more than what is free a session may fill. */
const FREE_FACTOR = 4;
/** The longest a write is held back. */
const HOLD_MS = 1000;

export interface ChunkBufferOptions {
  /** 0: there is none beside what each session has of its own, and writing begins at once. */
  readonly bytesMax: number;
  /** From 0 (writing begins at once) to 1. */
  readonly drainRatio: number;
  readonly clock: Clock;
}

/** What a session does when it is told. */
export interface ShareHost {
  /** It need not pause any longer. */
  relief(): void;
  /** Its writes may begin. */
  write(): void;
  /** Bytes of its own that wait when it cannot be held back any longer. */
  readonly holdBytesMax: number;
}

export class ChunkBuffer {
  readonly #options: ChunkBufferOptions;
  readonly #holds: boolean;
  /** With writes that have not begun. */
  readonly #waiting = new Set<BufferShare>();
  readonly #paused = new Set<BufferShare>();
  #usedBytes = 0;
  #pauses = 0;
  #writing: boolean;
  #timer: Timer | undefined;

  constructor(options: ChunkBufferOptions) {
    this.#options = options;
    this.#holds = options.bytesMax > 0 && options.drainRatio > 0;
    this.#writing = !this.#holds;
  }

  /** 0: there is none. */
  get bytesMax(): number {
    return this.#options.bytesMax;
  }

  /** Of all sessions, what they have of their own included: so with many of them it may be more than `bytesMax`. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** How often a session was told to pause since the start. */
  get pauses(): number {
    return this.#pauses;
  }

  /** False while writes are held back. */
  get writing(): boolean {
    return this.#writing;
  }

  /** A session comes. It leaves by giving everything back. */
  join(host: ShareHost): BufferShare {
    return new BufferShare(this, host);
  }

  /** Called by shares. */
  took(share: BufferShare, bytes: number): void {
    this.#usedBytes += bytes;
    if (!share.congested && share.bytes >= this.#limitBytes) {
      this.#pauses += 1;
      this.#paused.add(share);
      share.congested = true;
    }
    if (this.#waiting.size > 0 && this.#pressed(share)) this.write();
  }

  /** Called by shares. */
  gave(bytes: number): void {
    this.#usedBytes -= bytes;
    assert(this.#usedBytes >= 0, `${this.#usedBytes} bytes in the chunk buffer`);
    // Half of it, so that reading does not stop and go with every write.
    const reliefBytes = this.#limitBytes / 2;
    for (const share of this.#paused) {
      if (share.bytes > reliefBytes) continue;
      this.#paused.delete(share);
      share.congested = false;
      share.host.relief();
    }
  }

  /** Called by shares: writes of it wait, or none does. */
  waits(share: BufferShare, waiting: boolean): void {
    if (!this.#holds || this.#waiting.has(share) === waiting) return;
    if (waiting) {
      this.#waiting.add(share);
      if (this.#writing) return;
      this.#timer ??= this.#options.clock.after(HOLD_MS, () => this.write());
      if (this.#pressed(share)) this.write();
      return;
    }
    this.#waiting.delete(share);
    if (this.#waiting.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#writing = false;
  }

  /** Writes all that waits; if nothing does, writes are held back as before. */
  write(): void {
    if (this.#writing || this.#waiting.size === 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#writing = true;
    for (const share of [...this.#waiting]) share.host.write();
  }

  /** Writes of the session are not held back any longer. */
  #pressed(share: BufferShare): boolean {
    const { bytesMax, drainRatio } = this.#options;
    const filled = this.#usedBytes >= bytesMax * drainRatio;
    return filled || share.congested || share.bytes >= share.host.holdBytesMax;
  }

  /** What a session may fill before it pauses. */
  get #limitBytes(): number {
    return Math.max(OWN_BYTES, FREE_FACTOR * (this.#options.bytesMax - this.#usedBytes));
  }
}

/** What one session has in the buffer. */
export class BufferShare {
  readonly host: ShareHost;
  /** Set by the buffer: the session should pause, until `relief`. */
  congested = false;
  readonly #buffer: ChunkBuffer;
  #bytes = 0;

  constructor(buffer: ChunkBuffer, host: ShareHost) {
    this.#buffer = buffer;
    this.host = host;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Half of what every session has in any case is filled: half-filled pieces should be written rather than filled. */
  get crowded(): boolean {
    return this.#bytes * 2 >= OWN_BYTES;
  }

  get writing(): boolean {
    return this.#buffer.writing;
  }

  take(bytes: number): void {
    this.#bytes += bytes;
    this.#buffer.took(this, bytes);
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
    assert(this.#bytes >= 0, `${this.#bytes} bytes of a session in the chunk buffer`);
    this.#buffer.gave(bytes);
  }

  /** Writes of this session wait to be begun, or none does. */
  waits(waiting: boolean): void {
    this.#buffer.waits(this, waiting);
  }

  /** What waits is wanted on the disk now. */
  hurry(): void {
    this.#buffer.write();
  }
}
