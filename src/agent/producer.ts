/**
 * Where chunks come from, as the backup run sees it. The real one (pipeline.ts) runs a reader thread and a pool of
 * compress threads; the simulator runs the same reader and codec in its one thread.
 */
import type { Problem, SealedChunk, SocketsLeftOut, UnreadPaths } from "#base/chunk.ts";
import type { Failure } from "#base/errors.ts";

/** What the archive of a finished read does not have, or not as it was. */
export interface ReadFindings {
  /** All problems, also those whose names were not kept. */
  readonly problemCount: number;
  readonly sockets: SocketsLeftOut;
  readonly unread: UnreadPaths;
}

/** Totals of a finished read. */
export interface ReadSummary extends ReadFindings {
  readonly entries: number;
  readonly rawBytes: number;
}

export interface ReadProgress {
  readonly entries: number;
  readonly rawBytes: number;
  /** Where the reader is, raw bytes. */
  readonly currentPath: Uint8Array;
}

export interface ProducerSink {
  /**
   * Asks for room for the next chunk in sequence order, whose stored form is at most `storedBytesMax` long. False: no
   * room now; the producer asks again when `poke` is called.
   */
  reserve(storedBytesMax: number): boolean;
  /** The next chunk in sequence order. Takes up the oldest reservation, whose rest is given back. */
  chunk(chunk: SealedChunk): void;
  problems(problems: readonly Problem[]): void;
  /** After the last chunk. */
  end(summary: ReadSummary): void;
  /** The run cannot go on: a worker died, a source root vanished … Nothing comes afterwards. */
  failed(failure: Failure): void;
}

export interface Producer {
  start(sink: ProducerSink): void;
  /** Room may have become free. */
  poke(): void;
  progress(): ReadProgress;
  /** Ends threads and releases everything; resolves when it is so. May be called at any time, more than once. */
  stop(): Promise<void>;
}
