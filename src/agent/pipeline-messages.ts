/** What the threads of a pipeline say to each other: one message per chunk and direction, never one per file. */
import type { WalkRules } from "#archive/walk-rules.ts";
import type { RawChunk } from "#archive/chunk-reader.ts";
import type { Compression, Problem } from "#base/chunk.ts";
import type { ErrorCode } from "#base/catalogue.ts";
import type { IoClass } from "#config/types.ts";
import type { SharedMemory } from "./pipeline-slabs.ts";
import type { ReadFindings } from "./producer.ts";

/** How urgent a thread is for the processor and the disk. */
export interface ThreadPriority {
  /** -20 to 19; 0 changes nothing. */
  readonly nice: number;
  readonly ioClass: IoClass;
}

/** The first and only message to a reader thread. */
export interface ReaderStart {
  readonly type: "start";
  readonly memory: SharedMemory;
  readonly roots: readonly { readonly path: Uint8Array; readonly optional: boolean }[];
  readonly exclude: readonly string[];
  readonly rules: WalkRules;
  readonly chunkBytes: number;
  readonly priority: ThreadPriority;
}

export type FromReader =
  | { readonly type: "chunk"; readonly slab: number; readonly chunk: RawChunk }
  | { readonly type: "problems"; readonly problems: readonly Problem[] }
  | { readonly type: "end"; readonly findings: ReadFindings }
  /** The last message, as `end` and `failed` are: the run was stopped, and everything is closed. */
  | { readonly type: "stopped" }
  | { readonly type: "failed"; readonly code: ErrorCode; readonly message: string; readonly hint: string };

/** The first message to a compress thread. */
export interface CompressStart {
  readonly type: "start";
  readonly memory: SharedMemory;
  readonly compression: Compression;
  readonly priority: ThreadPriority;
}

export type ToCompress =
  CompressStart | { readonly type: "compress"; readonly slab: number; readonly rawLength: number };

/** The slab's first `storedLength` bytes are the compressed chunk. */
export interface FromCompress {
  readonly type: "sealed";
  readonly slab: number;
  readonly storedLength: number;
  readonly crc: number;
  readonly digest: Uint8Array;
}
