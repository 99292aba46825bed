/** Runs a producer to its end and keeps what it gave, holding it to the contract of its sink. */
import type { IndexHeader } from "#archive/index-format.ts";
import { WALK_EVERYTHING } from "#archive/walk-rules.ts";
import type { CompressionMode, Problem, SealedChunk } from "#base/chunk.ts";
import type { Clock } from "#base/clock.ts";
import type { Failure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { Pipeline, type PipelineOptions } from "#agent/pipeline.ts";
import type { SpawnWorker } from "#agent/pipeline-threads.ts";
import type { Producer, ProducerSink, ReadSummary } from "#agent/producer.ts";
import { systemClock } from "#bin/system.ts";
import { roots } from "./archive-kit.ts";

/** The threads of the product, from their sources. */
export const spawnThread: SpawnWorker = (kind) =>
  new Worker(new URL(import.meta.resolve(`#bin/${kind}-worker.ts`)).href, { smol: true });

/** What an index says of an archive that nobody ordered. */
export function testHeader(mode: CompressionMode = "gzip"): IndexHeader {
  return {
    ...{ rebuilt: false, session: undefined, agent: undefined, backup: undefined, archive: undefined },
    ...{ startedMs: undefined, compression: { mode, level: 1 }, chunkBytes: undefined, sources: undefined },
    ...{ exclude: undefined, oneFileSystem: undefined, excludeCaches: undefined, excludeIfPresent: undefined },
  };
}

export function makePipeline(paths: readonly string[], options: Partial<PipelineOptions> = {}): Pipeline {
  return new Pipeline({
    roots: roots(...paths),
    exclude: [],
    rules: WALK_EVERYTHING,
    compression: { mode: "gzip", level: 1 },
    chunkBytes: MiB,
    index: testHeader(options.compression?.mode),
    workers: 2,
    priority: { nice: 0, ioClass: { kind: "none" } },
    spawn: spawnThread,
    clock: systemClock satisfies Clock,
    ...options,
  });
}

/** A sink with so much room that keeps copies of all it gets. `onChunk` runs after each chunk. */
export class KeepingSink implements ProducerSink {
  /** Of the archive. */
  readonly chunks: SealedChunk[] = [];
  /** Blocks of its index. */
  readonly indexChunks: SealedChunk[] = [];
  readonly problemList: Problem[] = [];
  /** Reserved and not yet taken up, in the order of asking. */
  readonly reserved: number[] = [];
  summary: ReadSummary | undefined;
  failure: Failure | undefined;
  reservedMost = 0;
  refusals = 0;
  onChunk: () => void = () => undefined;
  /** Room for this many chunks at once. */
  room = Number.POSITIVE_INFINITY;
  readonly #ended = Promise.withResolvers<void>();

  /** Settles with the end or the failure. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  get archive(): Buffer {
    return Buffer.concat(this.chunks.map((chunk) => chunk.stored));
  }

  get index(): Buffer {
    return Buffer.concat(this.indexChunks.map((chunk) => chunk.stored));
  }

  reserve(storedBytesMax: number): boolean {
    this.#alive();
    if (this.reserved.length >= this.room) {
      this.refusals += 1;
      return false;
    }
    this.reserved.push(storedBytesMax);
    this.reservedMost = Math.max(this.reservedMost, this.reserved.length);
    return true;
  }

  chunk(chunk: SealedChunk): void {
    this.#alive();
    const room = this.reserved.shift();
    if (room === undefined || room < chunk.stored.length) throw new Error("a chunk without room for it");
    const chunks = chunk.file === 0 ? this.chunks : this.indexChunks;
    if (chunk.sequence !== chunks.length) throw new Error(`chunk ${chunk.sequence} out of order`);
    if (this.indexChunks.at(-1)?.last === true) throw new Error("a chunk came after the last one");
    chunks.push({ ...chunk, stored: new Uint8Array(chunk.stored), digest: new Uint8Array(chunk.digest) });
    this.onChunk();
  }

  problems(problems: readonly Problem[]): void {
    this.#alive();
    this.problemList.push(...problems);
  }

  end(summary: ReadSummary): void {
    this.#alive();
    this.summary = summary;
    this.#ended.resolve();
  }

  failed(failure: Failure): void {
    this.#alive();
    this.failure = failure;
    this.#ended.resolve();
  }

  #alive(): void {
    if (this.summary !== undefined || this.failure !== undefined) throw new Error("the producer went on after its end");
  }
}

/** Runs `producer` to its end and stops it. */
export async function runToEnd(producer: Producer, sink = new KeepingSink()): Promise<KeepingSink> {
  producer.start(sink);
  await sink.ended;
  await producer.stop();
  return sink;
}
