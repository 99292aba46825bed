/** What of an archive is damaged, and which files that hits, as far as anybody can tell. */
import type { PieceFault } from "./piece.ts";

export interface Damage {
  /** What is wrong with a chunk; `tar`: it decompresses, and what comes out is no tar. */
  readonly fault: PieceFault | "tar";
  /** What the tar reader said. */
  readonly message: string | undefined;
  /** Undefined for an archive that is one stream. */
  readonly chunk: number | undefined;
  /** Chunks from that one on: more than one where the archive ends too early. */
  chunkCount: number;
  /** Bytes of the archive, from and to behind the last; undefined where nobody knows. */
  readonly storedFrom: number | undefined;
  storedTo: number | undefined;
  /** The same of the tar stream. */
  readonly rawFrom: number | undefined;
  rawTo: number | undefined;
  /** Files that are known to be hit, raw bytes: by an index, all that the chunks hold something of, as far as they are listed. */
  readonly files: Uint8Array[];
  /** By an index: the first and the last of those, and how many they are. */
  readonly held?: { readonly first: Uint8Array; readonly last: Uint8Array; readonly count: number } | undefined;
  /** Whole entries may be missing: between these two, undefined at the ends of the archive. */
  entriesLost: boolean;
  readonly after: Uint8Array | undefined;
  before: Uint8Array | undefined;
}

/** The rest are counted: an archive overwritten by noise has one in every chunk. */
export const DAMAGES_LISTED_MAX = 10_000;
