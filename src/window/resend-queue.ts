/**
 * Chunks that must be sent again, lowest order first. A chunk that was received in the meantime stays in the list until
 * it is met and passed over, so that an acknowledgement of thousands costs no search each.
 */
import type { HeldChunk } from "./held-chunk.ts";

export class ResendQueue {
  #chunks: HeldChunk[] = [];
  #sorted = true;
  /** Entries of #chunks whose state is still `queued`. */
  #waiting = 0;

  get length(): number {
    return this.#waiting;
  }

  /** Sets the chunk's state to queued and takes it in. */
  add(chunk: HeldChunk): void {
    chunk.state = "queued";
    this.#waiting += 1;
    if (chunk.inResendQueue) return;
    chunk.inResendQueue = true;
    this.#chunks.push(chunk);
    this.#sorted = false;
  }

  /** A queued chunk has arrived after all; the caller changes its state. */
  noLongerNeeded(): void {
    this.#waiting -= 1;
  }

  /** Takes the chunk of the lowest order out; the caller changes its state. */
  take(): HeldChunk | undefined {
    if (!this.#sorted) {
      this.#chunks.sort((a, b) => a.order - b.order);
      this.#sorted = true;
    }
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) return undefined;
      chunk.inResendQueue = false;
      if (chunk.state === "queued") {
        this.#waiting -= 1;
        return chunk;
      }
    }
  }
}
