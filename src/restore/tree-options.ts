/** How entries are restored into a directory, and what is counted meanwhile: shared by the parts of the tree writer. */
import type { Overwrite } from "#base/overwrite.ts";
import { Failure } from "#base/errors.ts";
import { isBlocked } from "./directory-stack.ts";
import type { MetadataOptions } from "./metadata.ts";
import type { RestoreReason } from "./problems.ts";
import type { DeletionPolicy } from "./remove.ts";
import type { Selection } from "./selection.ts";
import { EDQUOT, ENOSPC, EROFS } from "./write-calls.ts";
import { throwIfExhausted, type WriteError } from "./write-error.ts";

export interface TreeOptions {
  /** The directory to restore into, as a user wrote it; links in it are followed. It must exist, unless this is a dry run. */
  readonly target: Uint8Array;
  readonly selection: Selection;
  readonly overwrite: Overwrite;
  readonly stripComponents: number;
  readonly dryRun: boolean;
  /** Undefined: nothing is deleted. */
  readonly deletion: DeletionPolicy | undefined;
  readonly metadata: MetadataOptions;
  /** Of the files that are being written: one name, which nothing else has. ASCII. */
  readonly temporaryName: string;
  /** Seconds since 1970 when the run began, or a little before: what was changed later was changed by it. */
  readonly startedSeconds: number;
  readonly problem: TreeProblem;
  /** Called with each path (in the archive) of a directory that takes the place of a symbolic link; in a dry run, would take. */
  readonly linkReplaced?: (path: Uint8Array) => void;
  /** Called with each path (below the target) that is removed because of `deletion`. */
  readonly removed?: (path: Uint8Array) => void;
}

/** `path` is valid during the call. */
export type TreeProblem = (path: Uint8Array, reason: RestoreReason, errno?: string) => void;

export interface TreeCounts {
  /** Entries that are as the archive has them now; in a dry run, that would be. */
  restored: number;
  /** Entries that something at the target was kept instead of. */
  kept: number;
  /** Data written, without holes. */
  bytes: number;
  deleted: number;
}

/** What makes it pointless to go on with the next entry. */
const FATAL: ReadonlySet<number> = new Set([ENOSPC, EROFS, EDQUOT]);

/** Reports a call that failed for one entry; throws Failure E_TARGET, or E_EXHAUSTED, when the others would fare no better. */
export function reportWriteError(path: Uint8Array, error: WriteError, problem: TreeProblem): void {
  if (FATAL.has(error.errno)) {
    throw new Failure("E_TARGET", `${error.message}: nothing more can be written to the target`, {
      hint: "Make room, or choose another target, and run it again with --overwrite if-changed: it goes on from there.",
    });
  }
  throwIfExhausted(error);
  problem(path, isBlocked(error.errno) ? "blocked" : "not-created", error.code);
}
