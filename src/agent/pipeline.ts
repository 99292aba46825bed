/**
 * The real producer of chunks: a reader thread and a pool of compress threads around shared slabs. This file is their
 * conductor in the main thread, with constant work per chunk and no raw byte in its hands: it asks the sink for room in
 * sequence order, hands chunks to the threads, and passes them on in sequence order. Reads and compresses nothing itself.
 */
import type { IndexPart } from "#archive/index-assembler.ts";
import type { IndexHeader } from "#archive/index-format.ts";
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
import { ProducedFiles } from "./produced-files.ts";
import type { Producer, ProducerSink, ReadFindings, ReadProgress } from "./producer.ts";

/** One chunk in work and one waiting for it: a thread never waits for the main thread between two. */
const CHUNKS_PER_WORKER_MAX = 2;

export interface PipelineOptions {
  /** Sorted and checked (source-roots.ts). */
  readonly roots: readonly SourceRoot[];
  readonly exclude: readonly string[];
  readonly rules: WalkRules;
  readonly compression: Compression;
  readonly chunkBytes: number;
  /** What the archive's index says of it. */
  readonly index: IndexHeader;
  /** Compress threads, at least 1. */
  readonly workers: number;
  readonly priority: ThreadPriority;
  readonly spawn: SpawnWorker;
  readonly clock: Clock;
}

/** A chunk that the reader has cut. */
type Raw = Extract<FromReader, { type: "chunk" }>;

/** A chunk in a compress thread, or back from it. */
interface InWork extends Raw {
  readonly worker: number;
  sealed: FromCompress | undefined;
}

/** A part of the index is made when it is its turn: what goes into it is not known before. */
interface Part {
  readonly type: "part";
  readonly part: IndexPart;
}

export class Pipeline implements Producer {
  readonly #options: PipelineOptions;
  #memory: SharedMemory;
  readonly #control: SlabControl;
  #slabs: readonly Uint8Array[];
  readonly #threads: Threads;
  #sink: ProducerSink | undefined;
  readonly #files: ProducedFiles;
  /** In the order of the window: first those without room, then those with room, compressed or not. */
  readonly #waiting: (Raw | Part)[] = [];
  readonly #inWork: (InWork | Part)[] = [];
  /** Chunks each compress thread has. */
  readonly #loads: number[];
  #entries = 0;
  #rawBytes = 0;
  /** What the end message says of what was read. */
  #findings: ReadFindings | undefined;
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
    this.#files = new ProducedFiles(options.index, options.compression);
    this.#waiting.push({ type: "part", part: this.#files.begin() });
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
      const { chunk } = message;
      if (chunk.kind !== "index") {
        this.#entries += chunk.entries;
        this.#rawBytes += chunk.rawLength;
      }
      this.#waiting.push(message);
      this.#waitFor(this.#files.after(chunk));
      this.#advance();
    } else if (message.type === "problems") {
      sink.problems(message.problems);
    } else if (message.type === "end") {
      this.#findings = message.findings;
      this.#waitFor(this.#files.end());
      this.#advance();
    } else if (message.type === "failed") {
      this.#fail(new Failure(message.code, message.message, { hint: message.hint }));
    }
  }

  #waitFor(parts: readonly IndexPart[]): void {
    for (const part of parts) this.#waiting.push({ type: "part", part });
  }

  #onSealed(message: FromCompress): void {
    if (this.#over) return;
    const work = this.#inWork.find((item): item is InWork => item.type === "chunk" && item.slab === message.slab);
    assert(work !== undefined, "a slab was sealed that nobody works on");
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
    for (let first = this.#inWork[0]; first !== undefined && !this.#over; first = this.#inWork[0]) {
      if (first.type === "chunk" && first.sealed === undefined) return;
      this.#inWork.shift();
      if (first.type === "part") {
        this.#files.part(sink, first.part);
        continue;
      }
      const { slab, chunk } = first;
      const seal = must(first.sealed, "a seal");
      const stored = must(this.#slabs[slab], "a slab").subarray(0, seal.storedLength);
      this.#files.chunk(sink, chunk, stored, seal);
      this.#control.give(slab);
    }
  }

  #giveOut(): void {
    const sink = must(this.#sink, "a sink");
    const { mode } = this.#options.compression;
    for (let first = this.#waiting[0]; first !== undefined && !this.#over; first = this.#waiting[0]) {
      if (first.type === "part") {
        if (!sink.reserve(this.#files.partBytesMax(first.part))) return;
        this.#waiting.shift();
        this.#inWork.push(first);
        // It may be its turn already, and then nobody else says so.
        this.#advanceAgain = true;
        continue;
      }
      const { slab, chunk } = first;
      const worker = this.#idlest();
      if (worker === undefined || !sink.reserve(storedBytesMax(mode, chunk.rawLength))) return;
      this.#waiting.shift();
      this.#inWork.push({ ...first, worker, sealed: undefined });
      this.#loads[worker] = (this.#loads[worker] ?? 0) + 1;
      this.#postToCompress(worker, { type: "compress", slab, rawLength: chunk.rawLength });
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
    if (this.#findings === undefined || this.#waiting.length > 0 || this.#inWork.length > 0) return;
    const summary = { entries: this.#entries, rawBytes: this.#rawBytes, ...this.#findings };
    void this.stop();
    must(this.#sink, "a sink").end(summary);
  }

  #fail(failure: Failure): void {
    if (this.#over) return;
    void this.stop();
    must(this.#sink, "a sink").failed(failure);
  }
}
