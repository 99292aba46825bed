/** How restore, cat and verify run: with threads for as long as they take, and a display of the progress beside them if one is wanted. */
import type { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import { ProgressDisplay } from "#cli/progress-display.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { type IndexedArchive, openIndexed } from "#restore/index-open.ts";
import type { JobDeps, JobProgress } from "#restore/job-runner.ts";
import type { ArchiveTarget } from "./archive-target.ts";
import type { CommandContext } from "./command-context.ts";

const NO_PATH = new Uint8Array(0);
const COLUMNS_DEFAULT = 80;

/** Opens an archive with its index, if that can be believed to be its own. */
export async function openWithIndex(target: ArchiveTarget): Promise<IndexedArchive & { close(): Promise<void> }> {
  const { archive, index, close } = await target.open();
  try {
    return { ...(await openIndexed(archive, index)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** For standard error: why an index was of no use. Empty when it was, or when there is none. */
export function indexFaultText({ name }: ArchiveTarget, fault: Failure | undefined): string {
  if (fault === undefined) return "";
  return `warning: ${safeText(name)}: ${safeText(fault.message)}\nHINT: ${fault.hint}\n`;
}

/** Runs the work with a display beside it, if one is wanted, which leaves a clean line behind. */
export async function withProgress<T>(
  wanted: boolean,
  what: string,
  context: CommandContext,
  work: (deps: JobDeps) => Promise<T>,
): Promise<T> {
  const { spawn, cores, signal } = context;
  const deps = { spawn, cores, signal };
  if (!wanted) return await work(deps);
  let display: ProgressDisplay | undefined;
  try {
    return await work({ ...deps, onStart: (progress) => (display = showProgress(what, context, progress)) });
  } finally {
    display?.stop();
  }
}

/** As `withProgress`, for work that reads the archive by itself: it reads through what it is given. */
export async function withReadingProgress<T>(
  wanted: boolean,
  what: string,
  archive: ArchiveAccess,
  context: CommandContext,
  work: (access: ArchiveAccess) => Promise<T>,
): Promise<T> {
  if (!wanted) return await work(archive);
  const counted = new CountedAccess(archive);
  const display = showProgress(what, context, () => ({
    ...{ entries: 0, bytes: 0, path: undefined },
    ...{ archiveBytes: counted.readBytes, archiveBytesTotal: archive.size },
  }));
  try {
    return await work(counted);
  } finally {
    display.stop();
  }
}

class CountedAccess implements ArchiveAccess {
  readonly #access: ArchiveAccess;
  readBytes = 0;

  constructor(access: ArchiveAccess) {
    this.#access = access;
  }

  get size(): number {
    return this.#access.size;
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    const length = await this.#access.read(into, offset);
    // Pieces are read in order, some of them twice.
    this.readBytes = Math.max(this.readBytes, offset + length);
    return length;
  }

  close(): Promise<void> {
    return this.#access.close();
  }
}

function showProgress(what: string, { clock, stderr }: CommandContext, progress: () => JobProgress): ProgressDisplay {
  const startedMs = clock.now();
  return new ProgressDisplay({
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
}
