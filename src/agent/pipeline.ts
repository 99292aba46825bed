/**
 * The real producer of chunks: a reader thread and a pool of compress threads around shared slabs. This file is their
 * conductor in the main thread, with constant work per chunk and no raw byte in its hands: it asks the sink for room in
 * sequence order, hands chunks to the threads, and passes them on in sequence order. Reads and compresses nothing itself.
 */
import type { SourceRoot } from "#archive/source-roots.ts";
import type { WalkRules } from "#archive/walk-rules.ts";
import { assert, must } from "#base/assert.ts";
import type { Compression } from "#base/chunk.ts";
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { storedBytesMax } from "#compress/codec.ts";
import type { FromCompress, FromReader, ThreadPriority, ToCompress } from "./pipeline-messages.ts";
import { makeSharedMemory, SlabControl, type SharedMemory, slabBytes, slabCount } from "./pipeline-slabs.ts";
import { type SpawnWorker, type Thread, Threads } from "./pipeline-threads.ts";
import type { Producer, ProducerSink, ReadProgress } from "./producer.ts";

/** One chunk in work and one waiting for it: a thread never waits for the main thread between two. */
const CHUNKS_PER_WORKER_MAX = 2;

export interface PipelineOptions {
  /** Sorted and checked (source-roots.ts). */
  readonly roots: readonly SourceRoot[];
  readonly exclude: readonly string[];
  readonly rules: WalkRules;
  readonly compression: Compression;
  readonly chunkBytes: number;
  /** Compress threads, at least 1. */
  readonly workers: number;
  readonly priority: ThreadPriority;
  readonly spawn: SpawnWorker;
  readonly clock: Clock;
}

type RawMessage = Extract<FromReader, { type: "chunk" }>;

/** A chunk that the reader has cut. */
interface Raw {
  readonly sequence: number;
  readonly message: RawMessage;
}

/** A chunk in a compress thread, or back from it. */
interface InWork extends Raw {
  readonly worker: number;
  sealed: FromCompress | undefined;
}

export class Pipeline implements Producer {
  readonly #options: PipelineOptions;
  #memory: SharedMemory;
  readonly #control: SlabControl;
  #slabs: readonly Uint8Array[];
  readonly #threads: Threads;
  #sink: ProducerSink | undefined;
  /** In sequence order: first those without room, then those with room, compressed or not. */
  readonly #waiting: Raw[] = [];
  readonly #inWork: InWork[] = [];
  /** Chunks each compress thread has. */
  readonly #loads: number[];
  #nextSequence = 0;
  #entries = 0;
  #rawBytes = 0;
  /** Of the end message. */
  #problemCount: number | undefined;
  #advancing = false;
  #advanceAgain = false;
  #over = false;
  #stopping: Promise<void> | undefined;

  constructor(options: PipelineOptions) {
    assert(options.workers >= 1, "a pipeline without compress threads");
    this.#options = options;
    const bytes = slabBytes(options.chunkBytes, options.compression.mode);
    this.#memory = makeSharedMemory(slabCount(options.workers, bytes), bytes);
    this.#control = new SlabControl(this.#memory);
    this.#slabs = this.#memory.slabs.map((slab) => new Uint8Array(slab));
    this.#loads = Array.from({ length: options.workers }, () => 0);
    this.#threads = new Threads(options.clock, (failure) => this.#fail(failure));
  }

  start(sink: ProducerSink): void {
    assert(this.#sink === undefined && !this.#over, "a pipeline was started twice");
    this.#sink = sink;
    const { compression, priority, roots, exclude, rules, chunkBytes, spawn } = this.#options;
    const memory = this.#memory;
    for (let worker = 0; worker < this.#options.workers; worker += 1) {
      this.#threads.add("compress", spawn("compress"), (data) => this.#onSealed(data as FromCompress));
      this.#postToCompress(worker, { type: "start", memory, compression, priority });
    }
    const reader = this.#threads.add("reader", spawn("reader"), (data) => this.#onReader(reader, data as FromReader));
    this.#threads.hold(reader);
    reader.postMessage({ type: "start", memory, roots, exclude, rules, chunkBytes, priority });
  }

  poke(): void {
    if (this.#sink !== undefined) this.#advance();
  }

  progress(): ReadProgress {
    return { entries: this.#entries, rawBytes: this.#rawBytes, currentPath: this.#control.currentPath() };
  }

  stop(): Promise<void> {
    this.#over = true;
    this.#control.stop();
    this.#stopping ??= this.#threads.stop().then(() => this.#release());
    return this.#stopping;
  }

  /** Lets go of the slabs now: a daemon's next run makes new ones, and the collector sees only small objects here. */
  #release(): void {
    this.#memory = { control: this.#memory.control, slabs: [] };
    this.#slabs = [];
    Bun.gc(true);
  }

  #onReader(reader: Thread, message: FromReader): void {
    const last = message.type === "end" || message.type === "failed" || message.type === "stopped";
    if (last) this.#threads.release(reader);
    if (this.#over) return;
    const sink = must(this.#sink, "a sink");
    if (message.type === "chunk") {
      this.#entries += message.entries;
      this.#rawBytes += message.rawLength;
      this.#waiting.push({ sequence: this.#nextSequence, message });
      this.#nextSequence += 1;
      this.#advance();
    } else if (message.type === "problems") {
      sink.problems(message.problems);
    } else if (message.type === "end") {
      this.#problemCount = message.problemCount;
      this.#advance();
    } else if (message.type === "failed") {
      this.#fail(new Failure(message.code, message.message, { hint: message.hint }));
    }
  }

  #onSealed(message: FromCompress): void {
    if (this.#over) return;
    const work = must(
      this.#inWork.find((candidate) => candidate.message.slab === message.slab),
      "a chunk for a sealed slab",
    );
    assert(work.sealed === undefined, "a chunk was sealed twice");
    work.sealed = message;
    this.#loads[work.worker] = (this.#loads[work.worker] ?? 0) - 1;
    this.#advance();
  }

  /** Passes on what is ready and gives out what has room, until nothing moves. The sink may poke while it is called. */
  #advance(): void {
    this.#advanceAgain = true;
    if (this.#advancing) return;
    this.#advancing = true;
    while (this.#advanceAgain && !this.#over) {
      this.#advanceAgain = false;
      this.#deliver();
      this.#giveOut();
    }
    this.#advancing = false;
    if (!this.#over) this.#endWhenDone();
  }

  #deliver(): void {
    const sink = must(this.#sink, "a sink");
    for (let first = this.#inWork[0]; first?.sealed !== undefined && !this.#over; first = this.#inWork[0]) {
      this.#inWork.shift();
      const { sequence, message, sealed } = first;
      const slab = must(this.#slabs[message.slab], "a slab");
      sink.chunk({
        file: 0,
        sequence,
        kind: message.kind,
        rawLength: message.rawLength,
        stored: slab.subarray(0, sealed.storedLength),
        crc: sealed.crc,
        digest: sealed.digest,
      });
      this.#control.give(message.slab);
    }
  }

  #giveOut(): void {
    const sink = must(this.#sink, "a sink");
    const { mode } = this.#options.compression;
    for (let first = this.#waiting[0]; first !== undefined && !this.#over; first = this.#waiting[0]) {
      const worker = this.#idlest();
      if (worker === undefined || !sink.reserve(storedBytesMax(mode, first.message.rawLength))) return;
      this.#waiting.shift();
      this.#inWork.push({ ...first, worker, sealed: undefined });
      this.#loads[worker] = (this.#loads[worker] ?? 0) + 1;
      const { slab, rawLength } = first.message;
      this.#postToCompress(worker, { type: "compress", slab, rawLength });
    }
  }

  /** The compress thread with the fewest chunks, if one takes another. */
  #idlest(): number | undefined {
    const least = Math.min(...this.#loads);
    return least < CHUNKS_PER_WORKER_MAX ? this.#loads.indexOf(least) : undefined;
  }

  #postToCompress(worker: number, message: ToCompress): void {
    this.#threads.worker(worker).postMessage(message);
  }

  #endWhenDone(): void {
    if (this.#problemCount === undefined || this.#waiting.length > 0 || this.#inWork.length > 0) return;
    const summary = { entries: this.#entries, rawBytes: this.#rawBytes, problemCount: this.#problemCount };
    void this.stop();
    must(this.#sink, "a sink").end(summary);
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    void this.stop();
    must(this.#sink, "a sink").failed(failure);
  }
}
