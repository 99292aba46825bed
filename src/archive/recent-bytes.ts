/** Keeps the end of a tar stream, so that who is told of an entry can have the bytes of its headers. Reads nothing in them. */
import { KiB, MiB } from "#base/units.ts";

/** Headers of one entry are shorter, and so is what a search for the next header leaves behind. */
const HEADERS_BYTES_MAX = 16 * MiB;
const BYTES_MIN = 256 * KiB;

/** The last bytes of the tar that may be headers: from the end of the last entry on. */
export class RecentBytes {
  #bytes = new Uint8Array(BYTES_MIN);
  /** What is kept lies in front of `#end`, from `#start` on. */
  #start = 0;
  #end = 0;
  /** Raw offset of the first byte kept. */
  #from = 0;

  /** Keeps what lies at or behind `wantedFrom`. */
  add(bytes: Uint8Array, offset: number, wantedFrom: number): void {
    const skipped = Math.max(0, Math.min(bytes.length, wantedFrom - offset));
    if (this.#start === this.#end) this.#from = offset + skipped;
    const kept = bytes.subarray(skipped);
    this.#reserve(kept.length);
    this.#bytes.set(kept, this.#end);
    this.#end += kept.length;
  }

  /** A view; undefined when it is not there any more. */
  between(from: number, to: number): Uint8Array | undefined {
    const start = this.#start + from - this.#from;
    const end = start + to - from;
    return start < this.#start || end > this.#end ? undefined : this.#bytes.subarray(start, end);
  }

  dropBefore(offset: number): void {
    const dropped = Math.min(this.#end - this.#start, Math.max(0, offset - this.#from));
    this.#from += dropped;
    this.#start += dropped;
  }

  restart(offset: number): void {
    this.#from = offset;
    this.#start = this.#end;
  }

  #reserve(length: number): void {
    if (this.#end + length <= this.#bytes.length) return;
    const keptLength = this.#end - this.#start;
    // Only a search in damage goes on for so long; what lies so far back are no headers of the next entry.
    if (keptLength > HEADERS_BYTES_MAX) this.dropBefore(this.#from + keptLength - HEADERS_BYTES_MAX / 2);
    const kept = this.#bytes.subarray(this.#start, this.#end);
    const room = 2 * (kept.length + length);
    if (room > this.#bytes.length) this.#bytes = new Uint8Array(room);
    // set() minds that the two may overlap.
    this.#bytes.set(kept);
    this.#start = 0;
    this.#end = kept.length;
  }
}
