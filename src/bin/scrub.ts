/**
 * `nbackup-server scrub`: which archives are due, one after another read and the result kept, until nothing is due, a limit is reached or
 * somebody interrupts it. Where it was stands in the records of the storages, so the next run goes on there.
 */
import path from "node:path";
import type { ArchivePlace } from "#cli/archive-arguments.ts";
import { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { failureText } from "#cli/failure-text.ts";
import { damagesText } from "#cli/restore-report.ts";
import { DAYS_DEFAULT, type ScrubRequest } from "#cli/scrub-command.ts";
import {
  scrubbedJson,
  scrubbedText,
  type ScrubbedArchive,
  type ScrubTotals,
  scrubTotalsText,
} from "#cli/scrub-report.ts";
import { withProgress } from "#commands/archive-jobs.ts";
import type { CommandContext } from "#commands/command-context.ts";
import { attempted } from "#commands/failures.ts";
import type { ServerConfig } from "#config/types.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { judgeArchive, type Judgement } from "#restore/judge.ts";
import { closeOpened, openForReading, type OpenedFile } from "#store/archive-file.ts";
import type { ListedArchive } from "#store/archive-list.ts";
import type { Finding } from "#store/damage-mark.ts";
import type { Disk, DiskFile } from "#store/disk.ts";
import { lookForDue } from "#store/due-archives.ts";
import { unusable } from "#store/storage-access.ts";
import { StorageRoot } from "#store/storage-root.ts";
import { findingOf } from "./findings.ts";
import { recordVerification, type RecordingPlace } from "./verify-records.ts";

export interface ScrubTools extends CommandContext {
  readonly disk: Disk;
  /** Throws Failure of the configuration. */
  readonly load: (file: string) => ServerConfig;
}

const DAY_MS = 86_400_000;

interface ScrubStorage extends RecordingPlace {
  readonly unreadMs: number;
}

interface Due {
  readonly place: ScrubStorage;
  readonly root: StorageRoot;
  readonly archive: ListedArchive;
}

/** The exit status; what went wrong has been told. */
export async function runScrub(request: ScrubRequest, tools: ScrubTools): Promise<number> {
  const { clock, stderr, stdout, signal } = tools;
  const startedMs = clock.now();
  const counts = { archives: 0, damaged: 0, failed: 0, bytes: 0 };
  const { due, refused } = await dueNow(storagesOf(request, tools), tools);
  let begun = 0;
  for (const one of due) {
    if (signal.aborted || limitReached(request, counts.bytes, clock.now() - startedMs)) break;
    begun += 1;
    const name = `${one.place.storage}: ${one.archive.archive}`;
    const scrubbed = await attempted(name, stderr, async () => (await scrubOne(one, request, tools)) ?? "not-read");
    if (scrubbed === undefined) counts.failed += 1;
    if (scrubbed === undefined || scrubbed === "not-read") continue;
    stderr.write(damagesText(scrubbed.damaged, scrubbed.damagedCount));
    await stdout.write(request.json ? scrubbedJson(scrubbed) : scrubbedText(scrubbed));
    counts.archives += 1;
    counts.bytes += scrubbed.archiveBytes;
    if (!scrubbed.ok) counts.damaged += 1;
  }
  const left = due.slice(begun);
  const leftBytes = left.reduce((sum, { archive }) => sum + archive.bytes, 0);
  const totals: ScrubTotals = { ...counts, durationMs: clock.now() - startedMs, left: left.length, leftBytes };
  if (!request.json) await stdout.write(scrubTotalsText(totals));
  if (signal.aborted) return EXIT.interrupted;
  return refused || counts.failed > 0 || counts.damaged > 0 ? EXIT.failed : EXIT.done;
}

/** Throws Failure E_STORAGE_UNKNOWN and those of the configuration. */
function storagesOf({ place, storage, days }: ScrubRequest, { load }: ScrubTools): ScrubStorage[] {
  const { storageDir } = place;
  if (storageDir !== undefined) return [inDirectory(storageDir, days)];
  const { storages, server } = load(place.configFile);
  const selected = storages.filter(({ name }) => storage === undefined || storage === name);
  if (selected.length === 0) {
    throw new Failure("E_STORAGE_UNKNOWN", `storage ${storage ?? ""} is not known here`, {
      hint: `Name a storage of the configuration: ${storages.map(({ name }) => name).join(", ")}.`,
    });
  }
  return selected.map(({ name, baseDir, scrubEveryMs }) => {
    const configured = scrubEveryMs > 0 ? scrubEveryMs : DAYS_DEFAULT * DAY_MS;
    const unreadMs = days === undefined ? configured : days * DAY_MS;
    return { storage: name, baseDir, stateDir: server.stateDir, unreadMs };
  });
}

function inDirectory(storageDir: NonNullable<ArchivePlace["storageDir"]>, days: number | undefined): ScrubStorage {
  const baseDir = path.resolve(storageDir);
  return { storage: storageDir, baseDir, stateDir: undefined, unreadMs: (days ?? DAYS_DEFAULT) * DAY_MS };
}

/** Storage by storage; one that cannot be read is told, and does not keep the others from being scrubbed. */
async function dueNow(
  places: readonly ScrubStorage[],
  { disk, clock, stderr }: ScrubTools,
): Promise<{ readonly due: readonly Due[]; readonly refused: boolean }> {
  const due: Due[] = [];
  let refused = false;
  for (const place of places) {
    const failed = unusable(`storage ${place.storage}: ${place.baseDir} cannot be read`);
    try {
      const root = await StorageRoot.look(disk, place.baseDir).catch(failed);
      const found = await lookForDue(root, place.unreadMs, clock.wall()).catch(failed);
      due.push(...found.due.map((archive) => ({ place, root, archive })));
    } catch (error) {
      refused = true;
      stderr.write(failureText(error));
    }
  }
  return { due, refused };
}

function limitReached({ bytesMax, timeMaxMs }: ScrubRequest, bytes: number, elapsedMs: number): boolean {
  return (bytesMax !== undefined && bytes >= bytesMax) || (timeMaxMs !== undefined && elapsedMs >= timeMaxMs);
}

/** Undefined when it is gone, or it was interrupted. */
async function scrubOne(
  { place, root, archive: { archive } }: Due,
  request: ScrubRequest,
  tools: ScrubTools,
): Promise<ScrubbedArchive | undefined> {
  const { clock, disk, stderr } = tools;
  const opened = await openForReading(root, archive);
  if (opened === undefined) return undefined;
  const startedMs = clock.now();
  const { verification, aborted, indexFault } = await read(opened, request, tools);
  if (aborted) return undefined;
  if (indexFault !== undefined) stderr.write(`warning: ${safeText(archive)}: ${safeText(indexFault.message)}\n`);
  const finding: Finding = findingOf(verification);
  const recorded = await recordVerification(
    place,
    archive,
    opened.identity,
    { finding, by: "scrub" },
    {
      disk,
      stderr: (text) => void stderr.write(text),
    },
  );
  const durationMs = clock.now() - startedMs;
  return { ...verification, storage: place.storage, archive, recorded, interrupted: false, durationMs };
}

async function read(opened: OpenedFile, request: ScrubRequest, tools: ScrubTools): Promise<Judgement> {
  const { file, identity, sha256, index } = opened;
  const wanted = {
    archive: access(file, identity.bytes),
    index: index === undefined ? undefined : access(index.file, index.bytes),
    sha256,
  };
  try {
    return await withProgress(request.progress, "verifying", tools, (deps) => judgeArchive(wanted, deps));
  } finally {
    await closeOpened(opened);
  }
}

function access(file: DiskFile, size: number): ArchiveAccess {
  return { size, read: (into, offset) => file.read(into, offset), close: () => Promise.resolve() };
}
