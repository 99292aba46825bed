/**
 * What is known of the chunks of one file: which are on their way, which have arrived, which are durable, and up to
 * where without a gap. Pure bookkeeping: it moves no bytes and reads no clock. It enforces PROTOCOL.md "Addressing and
 * trust": whatever the peer says must agree with every chunk known, in any order of arrival.
 */
import { assert, must } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import { CHUNK_BYTES_MAX, CHUNK_RECORDS_BYTES_MAX, windowChunksMax } from "#base/chunk-size.ts";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import { RunSet } from "./runs.ts";
import type { ChunkPlace } from "./session-types.ts";

/** Stored bytes of one chunk: as PROTOCOL.md "Limits". */
const STORED_BYTES_MAX = CHUNK_BYTES_MAX + CHUNK_RECORDS_BYTES_MAX + 256 * KiB;

/** A sequence number is 32 bits wide on the wire and in the journal. */
const SEQUENCE_MAX = 0xffff_ffff;

type ChunkState = "claimed" | "received" | "durable";

interface Chunk {
  readonly offset: number;
  readonly length: number;
  state: ChunkState;
  /** It took over from an older copy, whose bytes are dropped: if this one dies, nobody else will send it. */
  tookOver: boolean;
}

export class FileLedger {
  readonly #file: FileNumber;
  readonly #windowBytes: number;
  /** Chunks that may stand above the durable point: a few bytes each would make any number of them in the window. */
  readonly #chunksMax: number;
  /** Chunks at and above the durable point. */
  readonly #chunks = new Map<number, Chunk>();
  /** All of #chunks. */
  readonly #known = new RunSet();
  /** Those of #chunks that are received or durable. */
  readonly #received = new RunSet();
  #durableChunks: number;
  #durableBytes: number;
  #receivedChunks: number;
  #receivedBytes: number;

  /** A file begins empty, or after a restart at its durable point. */
  constructor(file: FileNumber, windowBytes: number, durable = { chunks: 0, bytes: 0 }) {
    this.#file = file;
    this.#windowBytes = windowBytes;
    this.#chunksMax = windowChunksMax(windowBytes);
    this.#durableChunks = durable.chunks;
    this.#durableBytes = durable.bytes;
    this.#receivedChunks = durable.chunks;
    this.#receivedBytes = durable.bytes;
  }

  get durableChunks(): number {
    return this.#durableChunks;
  }

  get durableBytes(): number {
    return this.#durableBytes;
  }

  /** Received or durable, wherever they stand. */
  get receivedChunks(): number {
    return this.#receivedChunks;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Chunks that are on their way now. */
  get claimedChunks(): number {
    return this.#durableChunks + this.#chunks.size - this.#receivedChunks;
  }

  /** True when nothing is missing between the first chunk and the last one that arrived. */
  get gapless(): boolean {
    const [first, second] = this.#received.runs;
    return first === undefined || (second === undefined && first.first === this.#durableChunks);
  }

  /** Sequence numbers of the runs above the durable point that have arrived, both ends included; at most `rangesMax`. */
  receivedRanges(rangesMax: number): [number, number][] {
    return this.#received.runs.slice(0, rangesMax).map((run) => [run.first, run.last]);
  }

  /**
   * A chunk announces itself. `new`: it is on its way now, to be ended by `release` or `receive`. `again`: it was on its
   * way already and this copy takes over, because the agent sends twice only what is stuck. `duplicate`: it is here.
   * Throws Failure E_PROTOCOL when it cannot belong there.
   */
  claim(place: ChunkPlace): "new" | "again" | "duplicate" {
    this.#checkAlone(place);
    if (place.sequence < this.#durableChunks) {
      this.#check(place.offset + place.storedLength <= this.#durableBytes, place, "reaches beyond the durable bytes");
      return "duplicate";
    }
    const known = this.#chunks.get(place.sequence);
    if (known !== undefined) {
      const same = known.offset === place.offset && known.length === place.storedLength;
      this.#check(same, place, `was known as ${known.length} bytes at ${known.offset}`);
      if (known.state !== "claimed") return "duplicate";
      known.tookOver = true;
      return "again";
    }
    this.#checkNeighbours(place);
    const { sequence, offset, storedLength: length } = place;
    this.#chunks.set(sequence, { offset, length, state: "claimed", tookOver: false });
    this.#known.add(sequence, offset, length);
    this.#checkInvariants();
    return "new";
  }

  /** The claimed chunk died or was damaged: it may come again. True when it had taken over from an older copy. */
  release(sequence: number): boolean {
    const chunk = this.#claimed(sequence);
    this.#chunks.delete(sequence);
    this.#known.remove(sequence, chunk.offset, chunk.length);
    this.#checkInvariants();
    return chunk.tookOver;
  }

  /** The claimed chunk arrived whole and right. */
  receive(sequence: number): void {
    const chunk = this.#claimed(sequence);
    chunk.state = "received";
    this.#received.add(sequence, chunk.offset, chunk.length);
    this.#receivedChunks += 1;
    this.#receivedBytes += chunk.length;
    this.#checkInvariants();
  }

  /** True for a chunk that arrived and is not durable yet. */
  isReceived(sequence: number): boolean {
    return this.#chunks.get(sequence)?.state === "received";
  }

  /** True for a chunk that arrived, durable or not. */
  has(sequence: number): boolean {
    if (sequence < this.#durableChunks) return true;
    const state = this.#chunks.get(sequence)?.state;
    return state === "received" || state === "durable";
  }

  /** The received chunk was lost again before it was durable: it may come again. */
  lose(sequence: number): void {
    const chunk = must(this.#chunks.get(sequence), `chunk ${sequence} of file ${this.#file}`);
    assert(chunk.state === "received", `chunk ${sequence} of file ${this.#file} is ${chunk.state}, not received`);
    this.#chunks.delete(sequence);
    this.#known.remove(sequence, chunk.offset, chunk.length);
    this.#received.remove(sequence, chunk.offset, chunk.length);
    this.#receivedChunks -= 1;
    this.#receivedBytes -= chunk.length;
    this.#checkInvariants();
  }

  /** The received chunk is on the disk, and so is the journal that names it. The durable point moves when it can. */
  makeDurable(sequence: number): void {
    const chunk = must(this.#chunks.get(sequence), `chunk ${sequence} of file ${this.#file}`);
    assert(chunk.state === "received", `chunk ${sequence} of file ${this.#file} is ${chunk.state}, not received`);
    chunk.state = "durable";
    for (;;) {
      const next = this.#chunks.get(this.#durableChunks);
      if (next?.state !== "durable") break;
      assert(next.offset === this.#durableBytes, `chunk ${this.#durableChunks} stands at ${next.offset}`);
      this.#chunks.delete(this.#durableChunks);
      this.#durableChunks += 1;
      this.#durableBytes += next.length;
    }
    this.#known.dropBelow(this.#durableChunks, this.#durableBytes);
    this.#received.dropBelow(this.#durableChunks, this.#durableBytes);
    this.#checkInvariants();
  }

  /**
   * A chunk that a journal names: it is durable. Records come in the order in which they were written. A chunk that is known
   * already changes nothing; throws Failure E_PROTOCOL when it contradicts the records before it.
   */
  restore(place: ChunkPlace): void {
    if (this.claim(place) !== "new") return;
    this.receive(place.sequence);
    this.makeDurable(place.sequence);
  }

  #claimed(sequence: number): Chunk {
    const chunk = must(this.#chunks.get(sequence), `chunk ${sequence} of file ${this.#file}`);
    assert(chunk.state === "claimed", `chunk ${sequence} of file ${this.#file} is ${chunk.state}, not claimed`);
    return chunk;
  }

  /** What can be said without knowing any other chunk. */
  #checkAlone(place: ChunkPlace): void {
    const { sequence, offset, storedLength } = place;
    const whole =
      [sequence, offset, storedLength].every((n) => Number.isSafeInteger(n) && n >= 0) && sequence <= SEQUENCE_MAX;
    this.#check(whole && storedLength >= 1 && storedLength <= STORED_BYTES_MAX, place, "has an impossible length");
    // Every chunk has at least one byte; chunk 0 and only it stands at 0.
    this.#check(sequence === 0 ? offset === 0 : offset >= sequence, place, "stands too low for its number");
    const windowEnd = this.#durableBytes + this.#windowBytes;
    this.#check(offset + storedLength <= windowEnd, place, `reaches beyond the window, which ends at ${windowEnd}`);
    const numbersEnd = this.#durableChunks + this.#chunksMax;
    this.#check(sequence < numbersEnd, place, `has a number beyond ${numbersEnd}, too far above the durable point`);
  }

  /** offset(n+1) = offset(n) + length(n) wherever both are known; else there is room for the chunks between, and no more. */
  #checkNeighbours(place: ChunkPlace): void {
    const { sequence, offset, storedLength } = place;
    const left = this.#known.floor(sequence);
    const leftLast = left?.last ?? this.#durableChunks - 1;
    const leftEnd = left?.end ?? this.#durableBytes;
    this.#check(
      fitsGap(sequence - leftLast - 1, offset - leftEnd),
      place,
      `contradicts chunk ${leftLast}, which ends at ${leftEnd}`,
    );
    const right = this.#known.above(sequence);
    if (right === undefined) return;
    this.#check(
      fitsGap(right.first - sequence - 1, right.start - offset - storedLength),
      place,
      `contradicts chunk ${right.first}, which stands at ${right.start}`,
    );
  }

  #check(condition: boolean, place: ChunkPlace, what: string): asserts condition {
    if (condition) return;
    const { sequence, offset, storedLength } = place;
    throw new Failure(
      "E_PROTOCOL",
      `chunk ${sequence} of file ${this.#file}, ${storedLength} bytes at ${offset}, ${what}`,
    );
  }

  #checkInvariants(): void {
    const counts = this.#durableChunks <= this.#receivedChunks && this.#durableBytes <= this.#receivedBytes;
    assert(counts, `file ${this.#file}: durable is above received`);
    assert(this.claimedChunks >= 0, `file ${this.#file}: ${this.claimedChunks} chunks claimed`);
    assert(this.#chunks.size <= this.#chunksMax, `file ${this.#file}: ${this.#chunks.size} chunks known`);
    const lowest = this.#known.runs[0];
    const above = lowest === undefined || lowest.first >= this.#durableChunks;
    assert(above, `file ${this.#file}: chunk ${lowest?.first} is below the durable point`);
  }
}

/** True when `chunks` chunks, of 1 byte to the most each, can fill `bytes` exactly. */
function fitsGap(chunks: number, bytes: number): boolean {
  return bytes >= chunks && bytes <= chunks * STORED_BYTES_MAX;
}
