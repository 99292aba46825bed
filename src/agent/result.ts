/** The result of one run of one backup entry, as reports, hooks and exit codes need it. */
import type { Problem, SocketsLeftOut } from "#base/chunk.ts";
import type { Failure } from "#base/errors.ts";
import type { VerifyEnd } from "./session-progress.ts";

export interface BackupResult {
  readonly backup: string;
  readonly storage: string;
  /** undefined when none was admitted. */
  readonly session: string | undefined;
  readonly result: "committed" | "failed";
  /** Path below the storage's base directory; undefined unless committed. */
  readonly archive: string | undefined;
  /** 64 hex digits; undefined unless committed. */
  readonly sha256: string | undefined;
  readonly entries: number;
  readonly rawBytes: number;
  readonly archiveBytes: number;
  readonly resentBytes: number;
  readonly reconnects: number;
  /** The first ones by name, as many as are kept. */
  readonly problems: readonly Problem[];
  /** All of them. */
  readonly problemCount: number;
  /** None unless committed. */
  readonly sockets: SocketsLeftOut;
  /** Archives that rotation removed. */
  readonly removed: readonly string[];
  /** Of the verification after the commit; `none` also when nothing was committed. */
  readonly verify: VerifyEnd["state"];
  readonly durationMs: number;
  /** Why it failed; of a run that was committed: what is wrong with its archive all the same. */
  readonly failure: Failure | undefined;
}

/** Names kept of source paths that could not be backed up as they are; beyond it they are only counted. */
export const PROBLEM_NAMES_MAX = 10_000;
