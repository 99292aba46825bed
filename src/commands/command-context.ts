/**
 * What the archive commands get from the program they run in. Streams, clock, threads and the stock of archives are made in src/bin; the
 * commands are the same for both programs but for how an ARCHIVE is named (archive-reference.ts).
 */
import type { Clock } from "#base/clock.ts";
import type { Random } from "#base/random.ts";
import type { ProgramSide } from "#cli/archive-arguments.ts";
import type { ArchiveRow, ArchiveStock } from "#restore/archive-stock.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import type { Verification } from "#restore/verify.ts";

/** The thread that takes entries writes to standard output by itself. */
export const STDOUT_FD = 1;

/** Standard output, as far as it is text. */
export interface TextOutput {
  /** Resolves when the text is out: who writes faster than it is read waits. Rejects with E_OUTPUT_CLOSED when nobody reads any more. */
  write(text: string): Promise<void>;
}

/** Standard error. */
export interface Diagnostics {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Who the process runs as: what it restores belongs to that user unless it is root. */
export interface ProcessUser {
  readonly uid: number;
  readonly gids: readonly number[];
}

/** Keeps what a whole read of an archive of the stock has found. `read`: which file it was. Rejects with Failure. */
export type KeepVerification = (
  row: ArchiveRow,
  read: { readonly bytes: number; readonly mtimeMs: number },
  verification: Verification,
) => Promise<void>;

export interface CommandContext {
  readonly side: ProgramSide;
  /** Opened when a command first asks for it: an archive that is named by its file needs none. Whoever made the context closes it. */
  readonly stock: () => Promise<ArchiveStock>;
  /** Undefined where nothing is kept: on the agent, and in a directory that no configuration names. */
  readonly keepVerification: KeepVerification | undefined;
  readonly stdout: TextOutput;
  readonly stderr: Diagnostics;
  readonly clock: Clock;
  readonly random: Random;
  readonly spawn: SpawnRestoreThread;
  /** Processors to use. */
  readonly cores: number;
  readonly user: ProcessUser;
  /** For what may be larger than memory. */
  readonly temporaryDirectory: string;
  /** SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** The bytes of an argument as they were given: a path in an archive need not be UTF-8. */
  readonly argumentBytes: (text: string) => Uint8Array;
}
