/** How restore, cat and verify run: with threads for as long as they take, and a display of the progress beside them if one is wanted. */
import { ProgressDisplay } from "#cli/progress-display.ts";
import type { JobDeps, JobProgress } from "#restore/job-runner.ts";
import type { CommandContext } from "./command-context.ts";

const NO_PATH = new Uint8Array(0);
const COLUMNS_DEFAULT = 80;

/** Runs the work with a display beside it, if one is wanted, which leaves a clean line behind. */
export async function withProgress<T>(
  wanted: boolean,
  what: string,
  context: CommandContext,
  work: (deps: JobDeps) => Promise<T>,
): Promise<T> {
  const { clock, stderr, spawn, cores, signal } = context;
  const deps = { spawn, cores, signal };
  if (!wanted) return await work(deps);
  const startedMs = clock.now();
  let display: ProgressDisplay | undefined;
  const onStart = (progress: () => JobProgress): void => {
    display = new ProgressDisplay({
      clock,
      write: (text) => stderr.write(text),
      columns: stderr.isTTY === true ? () => stderr.columns ?? COLUMNS_DEFAULT : undefined,
      figures: () => {
        const now = progress();
        return {
          phase: { kind: "reading", what },
          elapsedMs: clock.now() - startedMs,
          entries: now.entries,
          rawBytes: now.archiveBytes,
          rawBytesTotalEstimate: now.archiveBytesTotal,
          ...{ sentBytes: 0, ackedBytes: 0, retries: 0, streams: 0 },
          currentPath: now.path ?? NO_PATH,
        };
      },
    });
  };
  try {
    return await work({ ...deps, onStart });
  } finally {
    display?.stop();
  }
}
