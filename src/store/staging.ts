/**
 * Names of staged chunks: `chunks/00/0-0000002a`, or with two levels `chunks/00/00/0-0000002a`, in the session's directory.
 * Chunks that follow one another share a directory, 256 at a time, so that an acknowledgement has few directories to
 * sync and the assembly empties one after another. Pure; it touches no disk.
 */
import type { FileNumber } from "#base/chunk.ts";

/** 1: 256 directories. 2: 256 of 256 each. */
export type ShardLevels = 1 | 2;

export const STAGING_DIRECTORY = "chunks";

/** The directory of a chunk, relative to the session's. */
export function shardOf(levels: ShardLevels, sequence: number): string {
  const inner = hex((sequence >>> 8) & 0xff, 2);
  if (levels === 1) return `${STAGING_DIRECTORY}/${inner}`;
  return `${STAGING_DIRECTORY}/${hex((sequence >>> 16) & 0xff, 2)}/${inner}`;
}

/** The name of a chunk in its directory. */
export function stagedName(file: FileNumber, sequence: number): string {
  return `${file}-${hex(sequence, 8)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
