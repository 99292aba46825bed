/**
 * A first-in-first-out store of bytes of fixed capacity, addressed by positions that only grow. Its memory is made in
 * segments when first needed and given back when empty, so that a short session costs little and a large buffer needs
 * no single huge allocation. It knows bytes, not chunks.
 */
import { assert, must } from "#base/assert.ts";
import { MiB } from "#base/units.ts";

const SEGMENT_BYTES = 4 * MiB;
/** Empty segments kept for reuse, so that a steady stream allocates nothing. */
const SPARE_SEGMENTS_MAX = 4;

export class ByteRing {
  readonly #capacityBytes: number;
  readonly #segments = new Map<number, Uint8Array>();
  readonly #spare: Uint8Array[] = [];
  /** Position of the oldest byte kept. */
  #head = 0;
  /** Position after the newest byte. */
  #tail = 0;

  constructor(capacityBytes: number) {
    assert(Number.isSafeInteger(capacityBytes) && capacityBytes > 0, `ring capacity ${capacityBytes} is not positive`);
    this.#capacityBytes = capacityBytes;
  }

  get usedBytes(): number {
    return this.#tail - this.#head;
  }

  /** Copies `bytes` behind the newest and returns their position. The caller has checked that they fit. */
  append(bytes: Uint8Array): number {
    const position = this.#tail;
    assert(
      this.usedBytes + bytes.length <= this.#capacityBytes,
      `ring of ${this.#capacityBytes} bytes holds ${this.usedBytes}, cannot take ${bytes.length}`,
    );
    let done = 0;
    while (done < bytes.length) {
      const at = position + done;
      const within = at % SEGMENT_BYTES;
      const count = Math.min(bytes.length - done, SEGMENT_BYTES - within);
      this.#segment(Math.floor(at / SEGMENT_BYTES)).set(bytes.subarray(done, done + count), within);
      done += count;
    }
    this.#tail = position + bytes.length;
    return position;
  }

  /**
   * A view of up to `length` bytes at `position`: shorter where a segment ends, never empty for a positive length. It
   * stays valid until `freeTo` passes it.
   */
  view(position: number, length: number): Uint8Array {
    assert(
      position >= this.#head && position + length <= this.#tail,
      `ring holds ${this.#head} to ${this.#tail}, asked for ${position} to ${position + length}`,
    );
    const within = position % SEGMENT_BYTES;
    const segment = must(this.#segments.get(Math.floor(position / SEGMENT_BYTES)), "ring segment");
    return segment.subarray(within, Math.min(within + length, SEGMENT_BYTES));
  }

  /** Forgets all bytes before `position`. */
  freeTo(position: number): void {
    assert(position >= this.#head && position <= this.#tail, `ring cannot free to ${position}`);
    const last = Math.floor(position / SEGMENT_BYTES);
    for (let index = Math.floor(this.#head / SEGMENT_BYTES); index < last; index += 1) {
      const segment = this.#segments.get(index);
      this.#segments.delete(index);
      if (segment !== undefined && this.#spare.length < SPARE_SEGMENTS_MAX) this.#spare.push(segment);
    }
    this.#head = position;
  }

  #segment(index: number): Uint8Array {
    const known = this.#segments.get(index);
    if (known !== undefined) return known;
    const segment = this.#spare.pop() ?? new Uint8Array(SEGMENT_BYTES);
    this.#segments.set(index, segment);
    return segment;
  }
}
