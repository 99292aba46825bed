/** What the server says of the chunks, as the window takes it, and what the window makes of it. Values only. */
import type { FileNumber } from "#base/chunk.ts";
import type { WindowChunk } from "./held-chunk.ts";

/** Shaped like the Sack message, without depending on the wire. */
export interface Acknowledgement {
  readonly boot: string;
  readonly generation: number;
  readonly files: readonly {
    readonly file: FileNumber;
    readonly durableChunks: number;
    readonly durableBytes: number;
    /** First and last sequence number, both included, ascending. */
    readonly received: readonly (readonly [number, number])[];
  }[];
  readonly lost: readonly (readonly [FileNumber, number])[];
}

export interface AckResult {
  /** Chunks and stored bytes that became durable now: their memory is free. */
  readonly durableChunks: number;
  readonly durableBytes: number;
  /** Chunks that the server has now and had not said before (durable ones included). */
  readonly receivedChunks: number;
  /** Summed over those chunks that were on their way: from being given to a stream until now. */
  readonly tripMs: number;
  /** Of those, the ones that it had never said to have: what counts as progress. */
  readonly newChunks: number;
  /** Chunks that must be sent again because the server lost them. */
  readonly requeuedChunks: number;
  /** Of those, the ones that it named as lost. */
  readonly lost: readonly WindowChunk[];
}

/** The first word of a new boot or generation is about both files: of one that it does not name it has nothing. */
export function everyFile(said: Acknowledgement["files"]): Acknowledgement["files"] {
  const missing = ([0, 1] as const).filter((file) => said.every((each) => each.file !== file));
  return [...said, ...missing.map((file) => ({ file, durableChunks: 0, durableBytes: 0, received: [] }))];
}
