/**
 * The writes of one session, in the order in which they were queued, a few at a time: so that sessions share the disk
 * fairly and none of them blocks the event loop. Two writes to the same place are never under way together, so the one
 * queued later always wins; nor are writes of two chunks of one number, of which the older was given up. A write that fails ends the queue: nothing is retried.
 */
import type { ChunkPlacement } from "./chunk-placement.ts";
import type { ChunkPlace } from "./session-types.ts";

/** Whether writes may begin, and who wants to know that some wait. */
export interface WriteGate {
  readonly writing: boolean;
  waits(waiting: boolean): void;
}

/** One is copied by the kernel while the next is handed over; more gain nothing and cost fairness. */
const WRITES_AT_ONCE = 2;

export interface QueuedWrite {
  readonly chunk: ChunkPlace;
  /** In the chunk's file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** The bytes are not needed any more: if the write has not started it never will. */
  cancelled: boolean;
  /** Once: the write returned, failed or was dropped; the bytes may change. `written` says which. */
  ended(written: boolean): void;
}

export class WriteQueue {
  readonly #placement: ChunkPlacement;
  readonly #gate: WriteGate;
  readonly #onFailure: (error: unknown) => void;
  #waiting: QueuedWrite[] = [];
  #head = 0;
  readonly #running = new Set<QueuedWrite>();
  readonly #idle: (() => void)[] = [];
  #stopped = false;

  /** `onFailure` is called once, with what the disk threw. */
  constructor(placement: ChunkPlacement, gate: WriteGate, onFailure: (error: unknown) => void) {
    this.#placement = placement;
    this.#gate = gate;
    this.#onFailure = onFailure;
  }

  push(write: QueuedWrite): void {
    if (this.#stopped) {
      write.ended(false);
      return;
    }
    this.#waiting.push(write);
    this.#gate.waits(true);
    this.pump();
  }

  /** Starts what may start; called when the gate has opened. */
  pump(): void {
    while (this.#gate.writing && this.#running.size < WRITES_AT_ONCE) {
      const write = this.#waiting[this.#head];
      if (write === undefined || this.#overlaps(write)) break;
      this.#head += 1;
      if (write.cancelled) write.ended(false);
      else this.#start(write);
    }
    // The array is cut now and then instead of shifted each time.
    if (this.#head > 64 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    this.#settle();
  }

  /** Drops what has not started. What runs goes on: wait for `idle`. */
  stop(): void {
    this.#stopped = true;
    const dropped = this.#waiting.slice(this.#head);
    this.#waiting = [];
    this.#head = 0;
    for (const write of dropped) write.ended(false);
    this.#settle();
  }

  /** Resolves when no write is under way or waiting. */
  idle(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    this.#settle();
    return promise;
  }

  #start(write: QueuedWrite): void {
    this.#running.add(write);
    this.#placement.write(write.chunk, write.bytes, write.offset).then(
      () => {
        this.#running.delete(write);
        write.ended(true);
        this.pump();
      },
      (error: unknown) => {
        this.#running.delete(write);
        write.ended(false);
        const first = !this.#stopped;
        this.stop();
        if (first) this.#onFailure(error);
      },
    );
  }

  #overlaps(write: QueuedWrite): boolean {
    for (const other of this.#running) {
      if (clash(write, other)) return true;
    }
    return false;
  }

  #settle(): void {
    if (this.#head < this.#waiting.length) return;
    this.#gate.waits(false);
    if (this.#running.size > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

function clash(a: QueuedWrite, b: QueuedWrite): boolean {
  if (a.chunk.file !== b.chunk.file) return false;
  if (a.offset + a.bytes.length > b.offset && b.offset + b.bytes.length > a.offset) return true;
  const sameNumber = a.chunk.sequence === b.chunk.sequence;
  return sameNumber && (a.chunk.offset !== b.chunk.offset || a.chunk.storedLength !== b.chunk.storedLength);
}
