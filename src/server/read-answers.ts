/**
 * What goes out on one read connection, in the order in which it was asked for: answers of a few numbers and frames of bytes alike. It
 * holds one frame that the socket is taking and one behind it; whoever reads from the disk waits for room, so that an agent that takes
 * nothing holds no more memory than that. Where the bytes come from is not known here.
 */
import type { DataPiece, DataSource } from "#net/write-queue.ts";
import { BYTES_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES } from "#wire/limits.ts";

/** Frames that may wait behind the one that the socket takes. */
const WAITING_MAX = 1;

export class ReadAnswers implements DataSource {
  readonly #waiting: Uint8Array[] = [];
  /** Buffers that nobody uses. */
  #free: ArrayBufferLike[] = [];
  /** What the socket takes now. */
  #going: Uint8Array | undefined;
  #onRoom: (() => void) | undefined;
  #resting = true;
  #over = false;

  /** Resolves when there is room for one more frame, or nothing goes out any more. */
  async room(): Promise<void> {
    while (this.#waiting.length >= WAITING_MAX && !this.#over) {
      await new Promise<void>((resolve) => {
        this.#onRoom = resolve;
      });
    }
  }

  /** Room for a frame of that many bytes behind its header, to be given to `push`. */
  buffer(payloadBytes: number): Uint8Array {
    this.#resting = false;
    const memory = this.#free.pop() ?? new ArrayBuffer(FRAME_HEADER_BYTES + BYTES_PAYLOAD_BYTES_MAX);
    return new Uint8Array(memory, 0, FRAME_HEADER_BYTES + payloadBytes);
  }

  /** A whole frame. `WriteQueue.run` takes it from here. */
  push(frame: Uint8Array): void {
    if (!this.#over) this.#waiting.push(frame);
  }

  next(): DataPiece | undefined {
    const gone = this.#going;
    this.#going = this.#waiting.shift();
    if (
      !this.#resting &&
      gone !== undefined &&
      gone.buffer.byteLength === FRAME_HEADER_BYTES + BYTES_PAYLOAD_BYTES_MAX
    ) {
      this.#free.push(gone.buffer);
    }
    this.#wake();
    return this.#going === undefined ? undefined : { bytes: this.#going, endsFrame: true };
  }

  /** Nothing is asked for just now: gives the memory back. */
  rest(): void {
    this.#resting = true;
    this.#free = [];
  }

  /** Nothing goes out any more. */
  close(): void {
    this.#over = true;
    this.#waiting.length = 0;
    this.#free = [];
    this.#wake();
  }

  #wake(): void {
    const wake = this.#onRoom;
    this.#onRoom = undefined;
    wake?.();
  }
}
