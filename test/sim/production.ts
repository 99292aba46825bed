/** What one producer handed over, kept byte for byte: the archive on the server must be this and nothing else. */
import { must } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import type { Producer, ProducerSink, ReadProgress, ReadSummary } from "#agent/producer.ts";

export class Production implements Producer {
  readonly #inner: Producer;
  readonly #pieces: readonly [Buffer[], Buffer[]] = [[], []];
  readonly #lengths: [number, number] = [0, 0];
  /** By file and number, where each chunk begins. */
  readonly #starts: readonly [number[], number[]] = [[], []];
  /** Of the last `bytes`. */
  readonly #whole: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)];
  summary: ReadSummary | undefined;

  constructor(inner: Producer) {
    this.#inner = inner;
  }

  /** What was handed over of a file so far. */
  bytes(file: FileNumber): Buffer {
    if (this.#whole[file].length !== this.#lengths[file]) {
      this.#whole[file] = Buffer.concat(this.#pieces[file]);
      this.#pieces[file].length = 0;
      this.#pieces[file].push(this.#whole[file]);
    }
    return this.#whole[file];
  }

  /** Where a chunk begins in its file; of one that was not handed over, where the file ends so far. */
  chunkStart(file: FileNumber, sequence: number): number {
    return this.#starts[file][sequence] ?? this.#lengths[file];
  }

  sha256(): string {
    return new Bun.CryptoHasher("sha256").update(this.bytes(0)).digest("hex");
  }

  start(sink: ProducerSink): void {
    this.#inner.start({
      reserve: (storedBytesMax) => sink.reserve(storedBytesMax),
      chunk: (chunk) => {
        const { file, stored } = chunk;
        must(this.#pieces[file], "a file").push(Buffer.from(stored));
        this.#starts[file].push(this.#lengths[file]);
        this.#lengths[file] += stored.length;
        sink.chunk(chunk);
      },
      problems: (problems) => sink.problems(problems),
      end: (summary) => {
        this.summary = summary;
        sink.end(summary);
      },
      failed: (failure) => sink.failed(failure),
    });
  }

  poke(): void {
    this.#inner.poke();
  }

  progress(): ReadProgress {
    return this.#inner.progress();
  }

  stop(): Promise<void> {
    return this.#inner.stop();
  }
}
