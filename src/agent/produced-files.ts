/**
 * The two files of a session as a producer hands them over: chunks of the archive and blocks of its index, each numbered in its own
 * file, in one order for both. It makes the parts of the index that nobody reads from a disk, compressed here, once in a thousand
 * chunks. Asks for no room and waits for nothing: that is the producer's.
 */
import type { RawChunk } from "#archive/chunk-reader.ts";
import { IndexAssembler, type IndexPart } from "#archive/index-assembler.ts";
import type { IndexHeader } from "#archive/index-format.ts";
import type { Compression } from "#base/chunk.ts";
import { compress, release, storedBytesMax } from "#compress/codec.ts";
import { proofOf, type Seal } from "#compress/seal.ts";
import type { ProducerSink } from "./producer.ts";

export class ProducedFiles {
  readonly #compression: Compression;
  readonly #index: IndexAssembler;
  #archiveSequence = 0;
  #indexSequence = 0;

  constructor(header: IndexHeader, compression: Compression) {
    this.#compression = compression;
    this.#index = new IndexAssembler(header);
  }

  /** The part in front of everything. */
  begin(): IndexPart {
    return this.#index.begin();
  }

  /** The parts that stand behind a chunk that was read. Called for each, in order. */
  after(chunk: RawChunk): IndexPart[] {
    return chunk.kind === "index" ? this.#index.announceEntries() : this.#index.announceChunk();
  }

  /** The parts behind the last chunk. */
  end(): IndexPart[] {
    return this.#index.finish();
  }

  /** The room that a part needs in the window. */
  partBytesMax(part: IndexPart): number {
    return storedBytesMax(this.#compression.mode, part.rawBytesMax);
  }

  /** Hands over what a compress thread made of a chunk. */
  chunk(sink: ProducerSink, chunk: RawChunk, stored: Uint8Array, seal: Seal): void {
    const { kind, rawLength } = chunk;
    const { crc, digest } = seal;
    // The producer may be stopped while the sink has its turn: what is counted is counted first.
    if (chunk.kind === "index") {
      this.#index.entriesSealed(chunk.block, seal);
      const sequence = this.#indexSequence;
      this.#indexSequence += 1;
      sink.chunk({ file: 1, sequence, kind, rawLength, stored, crc, digest });
    } else {
      this.#index.chunkSealed(chunk.kind, rawLength, seal);
      const sequence = this.#archiveSequence;
      this.#archiveSequence += 1;
      sink.chunk({ file: 0, sequence, kind, rawLength, stored, crc, digest });
    }
  }

  /** Makes a part and hands it over; everything in front of it has been. */
  part(sink: ProducerSink, part: IndexPart): void {
    const raw = this.#index.raw(part);
    const last = part.what === "trailer";
    const stored = last ? this.#index.storedTrailer(raw) : compress(raw, this.#compression);
    const { crc, digest } = proofOf(stored);
    this.#index.partSealed(part, raw.length, { storedLength: stored.length, crc });
    const sequence = this.#indexSequence;
    this.#indexSequence += 1;
    sink.chunk({ file: 1, sequence, kind: "index", rawLength: raw.length, stored, crc, digest, last });
    release(stored);
  }
}
