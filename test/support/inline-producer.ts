/**
 * A producer without threads: the same reader and codec as the pipeline, one chunk per turn of the clock, for the simulator
 * and tests. Asks for room in sequence order and waits for a poke when there is none, as the pipeline does.
 */
import { ChunkReader, type RawChunk, rawBufferBytes } from "#archive/chunk-reader.ts";
import { Excludes } from "#archive/exclude.ts";
import type { IndexPart } from "#archive/index-assembler.ts";
import type { IndexHeader } from "#archive/index-format.ts";
import type { FileSource } from "#archive/source.ts";
import type { SourceRoot } from "#archive/source-roots.ts";
import { WALK_EVERYTHING } from "#archive/walk-rules.ts";
import { assert, must } from "#base/assert.ts";
import type { Compression } from "#base/chunk.ts";
import { CHUNK_RECORDS_BYTES_MAX } from "#base/chunk-size.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { toFailure } from "#base/errors.ts";
import { storedBytesMax } from "#compress/codec.ts";
import { sealChunk } from "#compress/seal.ts";
import { ProblemBatches } from "#agent/pipeline-problems.ts";
import { ProducedFiles } from "#agent/produced-files.ts";
import type { Producer, ProducerSink, ReadProgress } from "#agent/producer.ts";

export interface InlineOptions {
  readonly source: FileSource;
  readonly roots: readonly SourceRoot[];
  readonly exclude: readonly string[];
  readonly compression: Compression;
  readonly chunkBytes: number;
  readonly index: IndexHeader;
  readonly clock: Clock;
}

export class InlineProducer implements Producer {
  readonly #options: InlineOptions;
  readonly #slab: Uint8Array;
  readonly #reader: ChunkReader;
  readonly #problems: ProblemBatches;
  #sink: ProducerSink | undefined;
  readonly #files: ProducedFiles;
  /** Read, and waiting for room; behind it the parts of the index that follow it. */
  #raw: RawChunk | undefined;
  readonly #parts: IndexPart[] = [];
  #readAll = false;
  #timer: Timer | undefined;
  #entries = 0;
  #rawBytes = 0;
  #currentPath: Uint8Array = new Uint8Array(0);
  #over = false;

  constructor(options: InlineOptions) {
    this.#options = options;
    const { chunkBytes, compression } = options;
    const stored = storedBytesMax(compression.mode, chunkBytes + CHUNK_RECORDS_BYTES_MAX);
    this.#slab = new Uint8Array(Math.max(rawBufferBytes(chunkBytes), stored));
    this.#problems = new ProblemBatches((batch) => this.#sink?.problems(batch));
    this.#reader = new ChunkReader({
      ...options,
      excludes: new Excludes(options.exclude),
      wall: () => options.clock.wall(),
      rules: WALK_EVERYTHING,
      report: (path, reason, errno) => this.#problems.add(path, reason, errno),
      onPath: (path) => {
        this.#currentPath = new Uint8Array(path);
      },
    });
    this.#files = new ProducedFiles(options.index, compression);
    this.#parts.push(this.#files.begin());
  }

  start(sink: ProducerSink): void {
    assert(this.#sink === undefined, "a producer was started twice");
    this.#sink = sink;
    this.#schedule();
  }

  poke(): void {
    if (this.#raw !== undefined || this.#parts.length > 0) this.#schedule();
  }

  progress(): ReadProgress {
    return { entries: this.#entries, rawBytes: this.#rawBytes, currentPath: this.#currentPath };
  }

  stop(): Promise<void> {
    if (!this.#over) this.#reader.close();
    this.#over = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    return Promise.resolve();
  }

  #schedule(): void {
    if (this.#over) return;
    this.#timer ??= this.#options.clock.after(0, () => {
      this.#timer = undefined;
      this.#turn(must(this.#sink, "a sink"));
    });
  }

  #turn(sink: ProducerSink): void {
    const [part] = this.#parts;
    if (part !== undefined) {
      if (!sink.reserve(this.#files.partBytesMax(part))) return;
      this.#parts.shift();
      this.#files.part(sink, part);
      this.#schedule();
      return;
    }
    try {
      if (!this.#readAll) this.#raw ??= this.#read();
    } catch (error) {
      void this.stop();
      sink.failed(toFailure(error));
      return;
    }
    const raw = this.#raw;
    if (raw !== undefined) this.#seal(sink, raw);
    else if (this.#parts.length > 0) this.#schedule();
    else {
      void this.stop();
      sink.end({ entries: this.#entries, rawBytes: this.#rawBytes, ...this.#problems.findings() });
    }
  }

  #seal(sink: ProducerSink, raw: RawChunk): void {
    const { compression } = this.#options;
    if (!sink.reserve(storedBytesMax(compression.mode, raw.rawLength))) return;
    this.#raw = undefined;
    const seal = sealChunk(this.#slab, raw.rawLength, compression);
    this.#parts.push(...this.#files.after(raw));
    this.#files.chunk(sink, raw, this.#slab.subarray(0, seal.storedLength), seal);
    this.#schedule();
  }

  #read(): RawChunk | undefined {
    const raw = this.#reader.next(this.#slab);
    if (raw === undefined) {
      this.#readAll = true;
      this.#parts.push(...this.#files.end());
    } else if (raw.kind !== "index") {
      this.#entries += raw.entries;
      this.#rawBytes += raw.rawLength;
    }
    this.#problems.flush();
    return raw;
  }
}
