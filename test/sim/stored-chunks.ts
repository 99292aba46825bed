/**
 * Where the bytes of a session lie on the server's disk, as the simulator must know it to judge them: at their place in a part
 * file, or in a staged file of one chunk.
 */
import type { FileNumber } from "#base/chunk.ts";
import { shardOf, type ShardLevels, stagedName } from "#store/staging.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import type { Production } from "./production.ts";

const PART = /([^/]+)\/(archive|index)\.part$/;
const STAGED = /([^/]+)\/chunks(?:\/[0-9a-f]{2}){1,2}\/([01])-([0-9a-f]{8})$/;

/** A file that holds bytes of a session. */
export interface StoredFile {
  readonly session: string;
  readonly file: FileNumber;
  /** Of a staged chunk; undefined: the part file. */
  readonly sequence: number | undefined;
}

/** Undefined for the path of anything else. */
export function storedFile(path: string): StoredFile | undefined {
  const [, partSession, name] = PART.exec(path) ?? [];
  if (partSession !== undefined) return { session: partSession, file: name === "archive" ? 0 : 1, sequence: undefined };
  const [, session, file, sequence] = STAGED.exec(path) ?? [];
  if (session === undefined || sequence === undefined) return undefined;
  return { session, file: file === "0" ? 0 : 1, sequence: Number.parseInt(sequence, 16) };
}

export interface StoredRange {
  /** The session's. */
  readonly directory: string;
  /** What the file is called after the commit, when that directory is gone. */
  readonly committed: string;
  readonly file: FileNumber;
  /** Chunks `first` to `end - 1`. */
  readonly first: number;
  readonly end: number;
}

/** The bytes of chunks one after another, as a loss of power would leave them; those that are nowhere are missing. `levels`: of a session that stages. */
export function storedBytes(
  disk: MemoryDisk,
  levels: ShardLevels | undefined,
  production: Production,
  { directory, committed, file, first, end }: StoredRange,
): Buffer {
  const stands =
    disk.content(`${directory}/${file === 0 ? "archive" : "index"}.part`, "durable") ??
    disk.content(committed, "durable");
  const part = stands?.bytes ?? Buffer.alloc(0);
  if (levels === undefined) return part.subarray(production.chunkStart(file, first), production.chunkStart(file, end));
  const pieces: Buffer[] = [];
  for (let sequence = first; sequence < end; sequence += 1) {
    const staged = disk.content(`${directory}/${shardOf(levels, sequence)}/${stagedName(file, sequence)}`, "durable");
    // Once it is assembled and its record written, the staged file may go.
    const [from, to] = [production.chunkStart(file, sequence), production.chunkStart(file, sequence + 1)];
    pieces.push(staged?.bytes ?? part.subarray(from, to));
  }
  return Buffer.concat(pieces);
}
