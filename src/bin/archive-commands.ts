/** What the archive commands get of this process: its streams, signals, processors and arguments. The same in both programs. */
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { automaticWorkers } from "#agent/pipeline-cores.ts";
import { errnoName, toFailure } from "#base/errors.ts";
import type { ArchiveRequest } from "#cli/archive-command.ts";
import type { ProgramSide } from "#cli/archive-arguments.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { failureText } from "#cli/failure-text.ts";
import type { CommandContext, KeepVerification } from "#commands/command-context.ts";
import { runArchiveCommand } from "#commands/run-archive-command.ts";
import type { ArchiveStock } from "#restore/archive-stock.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import { argumentBytes } from "./argument-bytes.ts";
import { interruption } from "./interruption.ts";
import { StandardOutput } from "./standard-output.ts";
import { systemClock, systemRandom } from "./system.ts";

export interface ArchivePrograms {
  readonly side: ProgramSide;
  /** Called once, and only when the command needs it. */
  readonly openStock: (signal: AbortSignal) => Promise<ArchiveStock>;
  readonly keepVerification?: KeepVerification;
  /** A worker is found only from the entry file of an executable. */
  readonly spawn: SpawnRestoreThread;
}

/** The exit status; what went wrong has been told. Never throws. */
export function runArchives(request: ArchiveRequest, program: ArchivePrograms): Promise<number> {
  return inContext(program, (context) => runArchiveCommand(request, context));
}

/** Runs a command with what archive commands get of this process. As `runArchives`. */
export async function inContext(
  program: ArchivePrograms,
  command: (context: CommandContext) => Promise<number>,
): Promise<number> {
  const signal = interruption();
  let stock: Promise<ArchiveStock> | undefined;
  const { stderr } = process;
  try {
    return await command({
      side: program.side,
      stock: () => (stock ??= program.openStock(signal)),
      keepVerification: program.keepVerification,
      stdout: new StandardOutput(signal),
      ...{ stderr, signal, clock: systemClock, random: systemRandom, spawn: program.spawn, argumentBytes },
      temporaryDirectory: tmpdir(),
      cores: automaticWorkers(readTextFile),
      user: {
        uid: process.geteuid?.() ?? 0,
        gids: [process.getegid?.() ?? 0, ...(process.getgroups?.() ?? [])],
      },
    });
  } catch (error) {
    const { code, exitCode } = toFailure(error);
    if (code !== "E_OUTPUT_CLOSED") stderr.write(failureText(error));
    return exitCode;
  } finally {
    await closeStock(stock);
    // A write that waits for who reads the output would keep the process.
    if (signal.aborted) process.exit(EXIT.interrupted);
  }
}

/** What a stock that could not be opened failed with was told where it was wanted. */
async function closeStock(stock: Promise<ArchiveStock> | undefined): Promise<void> {
  const opened = await stock?.catch(() => undefined);
  await opened?.close();
}

function readTextFile(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined;
  }
}
