/**
 * Archives for the page: directories and searches as the server's desk gives them, and a file of an archive as a stream. A file is read as `cat`
 * reads it, with all its checks, by threads of little urgency, and takes the turns at the disk that agents take who read.
 */
import { findPath } from "#archive/index-queries.ts";
import type { IndexReader } from "#archive/index-reader.ts";
import type { IndexEntry } from "#archive/index-format.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import { KiB } from "#base/units.ts";
import { planForFile } from "#restore/index-plan.ts";
import { runArchiveJob } from "#restore/job-runner.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import { type ArchiveDesk, bytesOfKey, openLent } from "#server/archive-desk.ts";
import type { LentArchive } from "#server/lent-archive.ts";
import type { DownloadQuery } from "#web/api-archives.ts";
import type { ArchiveBrowser, Download } from "#web/read-model.ts";
import { Pipe } from "./pipe.ts";

const BLOCK_BYTES = 64 * KiB;
const SLASH = 0x2f;

export function archiveBrowser(desk: ArchiveDesk, spawn: SpawnRestoreThread): ArchiveBrowser {
  return {
    directory: (place, key, page) => desk.directory(place, key, page),
    find: (places, pattern, page) => desk.find(places, pattern, page),
    file: (query, signal) => download(desk, spawn, query, signal),
  };
}

async function download(
  desk: ArchiveDesk,
  spawn: SpawnRestoreThread,
  query: DownloadQuery,
  signal: AbortSignal,
): Promise<Download> {
  const path = bytesOfKey(query.key);
  const lent = await desk.open(query);
  try {
    const indexed = await openLent(lent);
    const entry = await fileEntry(indexed.index, path);
    const stop = new AbortController();
    signal.addEventListener("abort", () => stop.abort(), { once: true });
    if (signal.aborted) stop.abort();
    const plan = await planForFile(indexed, path);
    const pipe = new Pipe();
    const job = runArchiveJob(
      indexed.archive,
      { kind: "cat", path, fd: pipe.writeFd },
      { spawn, cores: 1, signal: stop.signal },
      plan,
    )
      .then(({ report, aborted }) => wholeOrFailure(report.problemCount + report.damageCount === 0 && !aborted, path))
      .catch(toFailure)
      .finally(() => pipe.closeWriting());
    const body = streamOf(pipe, job, stop, lent);
    const name = pathText(path.subarray(path.lastIndexOf(SLASH) + 1));
    return { name, path: pathText(path), bytes: entry.size, body };
  } catch (error) {
    await lent.close();
    throw error;
  }
}

/** The file's entry, of a hard link that of what it leads to. Rejects with Failure E_PATH_UNKNOWN. */
async function fileEntry(index: IndexReader, path: Uint8Array): Promise<IndexEntry> {
  const found = await findPath(index, path);
  const entry =
    found?.type === "hardlink" && found.linkTarget !== undefined ? await findPath(index, found.linkTarget) : found;
  if (entry?.type === "file") return entry;
  throw new Failure("E_PATH_UNKNOWN", `${pathText(path)} is no file of the archive`);
}

function wholeOrFailure(isWhole: boolean, path: Uint8Array): Failure | undefined {
  return isWhole ? undefined : new Failure("E_ARCHIVE_DAMAGED", `${pathText(path)} cannot be had as it was`);
}

/** `job` gives why the bytes are not the file; then the stream breaks off, so that nobody takes what came for all. */
function streamOf(
  pipe: Pipe,
  job: Promise<Failure | undefined>,
  stop: AbortController,
  lent: LentArchive,
): ReadableStream<Uint8Array> {
  let reading: Promise<number> | undefined;
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    pipe.closeReading();
    await job;
    await lent.close();
  };
  /** Once, whoever comes first. */
  const over = (): Promise<void> => (closing ??= close());
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        const block = new Uint8Array(BLOCK_BYTES);
        reading = pipe.read(block);
        const length = await reading.catch(() => 0);
        reading = undefined;
        if (length > 0) {
          controller.enqueue(block.subarray(0, length));
          return;
        }
        await over();
        const failure = await job;
        if (failure === undefined) controller.close();
        else controller.error(failure);
      },
      async cancel(): Promise<void> {
        stop.abort();
        // What the thread still writes ends the read; then it hears that nobody reads.
        await reading?.catch(() => undefined);
        await over();
      },
    },
    { highWaterMark: 0 },
  );
}
