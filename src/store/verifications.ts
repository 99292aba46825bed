/**
 * The verification of a storage's archives, as far as it is the storage's: which are due, the file to be read, and what is kept and
 * rotated when the result is there. Who reads them, when and how, is the server's policy or a command's.
 */
import { Failure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import type { ArchiveHealth } from "./archive-health.ts";
import { openForReading, type OpenedFile } from "./archive-file.ts";
import type { Entry, ListedArchive } from "./archive-list.ts";
import { archiveTimeMs } from "./archive-names.ts";
import type { CommitLog } from "./commit-log.ts";
import type { ArchiveIdentity, Finding, VerifiedBy } from "./damage-mark.ts";
import { dueArchives } from "./due-archives.ts";
import type { CommitRecord } from "./records.ts";
import type { VerifyResult } from "./session-types.ts";
import { unusable } from "./storage-access.ts";
import type { StorageRoot } from "./storage-root.ts";
import type { Turns } from "./turns.ts";

export interface Recorded {
  /** False: the file that was read is there no more. */
  readonly recorded: boolean;
  /** By the rotation that had waited for this result. */
  readonly removed: readonly string[];
}

export interface VerificationParts {
  readonly storage: string;
  readonly root: StorageRoot;
  readonly commits: CommitLog;
  readonly health: ArchiveHealth;
  /** By agent: changes of its directories. */
  readonly turns: Turns;
  /** Resolves with what was removed. Never rejects. */
  readonly rotate: (entry: Entry) => Promise<readonly string[]>;
}

export class Verifications {
  readonly #parts: VerificationParts;

  constructor(parts: VerificationParts) {
    this.#parts = parts;
  }

  /** Commits whose archive is still to be verified, oldest first. */
  pending(): CommitRecord[] {
    return this.#parts.commits.pending();
  }

  /** Archives that were not read for so long, the longest unread first, without those that are pending. Rejects with E_STORAGE_FAILED. */
  async due(unreadMs: number, nowMs: number): Promise<readonly ListedArchive[]> {
    const { root, commits, health, storage } = this.#parts;
    const known = { times: health.times.times, isPending: (archive: string) => commits.isPending(archive) };
    const failed = unusable(`storage ${storage}: its archives cannot be read`);
    const { due, all } = await dueArchives(root, known, unreadMs, nowMs).catch(failed);
    health.times.retain(new Set(all.map(({ archive }) => archive)));
    return due;
  }

  /** Undefined when it is gone. Rejects with what the disk throws. */
  open(archive: string): Promise<OpenedFile | undefined> {
    return openForReading(this.#parts.root, archive);
  }

  /**
   * Keeps what was found of an archive. When a rotation had waited for it, it is done. Rejects with E_NAME, E_STORAGE_FAILED; a damage
   * counts all the same until the storage is closed.
   */
  async record(archive: string, read: ArchiveIdentity, finding: Finding, by: VerifiedBy): Promise<Recorded> {
    const { commits, health, turns, rotate, storage } = this.#parts;
    const entry = checkArchive(archive);
    const failed = unusable(`storage ${storage}: what was found of ${archive} cannot be kept`);
    const recorded = await turns.run(entry.agent, () => health.record(archive, read, finding, by)).catch(failed);
    const waited = this.pending().find((record) => record.archive === archive);
    if (!recorded || waited === undefined) return { recorded, removed: [] };
    // It counts until the storage is closed, and is found out again after that; the log has why it was not written.
    await this.settle(waited.session, resultOf(finding)).catch(() => undefined);
    // The newest commit decides, as it does when nothing is verified.
    const held = commits.newest(entry.agent, entry.backup)?.holdRotation === true;
    return { recorded, removed: finding.ok && !held ? await rotate(entry) : [] };
  }

  /** The pending verification of a commit is over. Rejects with E_STORAGE_FAILED. */
  async settle(session: string, result: VerifyResult): Promise<void> {
    const { commits, storage } = this.#parts;
    await commits.addVerified(session, result).catch(unusable(`storage ${storage}: its records cannot be written`));
  }
}

export function resultOf(finding: Finding): VerifyResult {
  return finding.ok ? { result: "ok", message: "" } : { result: "damaged", message: finding.what };
}

/** The entry of an archive's path, which may have come from anywhere. Throws Failure E_NAME. */
function checkArchive(archive: string): Entry {
  const [agent, backup, file, more] = archive.split("/");
  const known = agent !== undefined && backup !== undefined && file !== undefined && more === undefined;
  if (known && isName(agent) && isName(backup) && archiveTimeMs(file) !== undefined) return { agent, backup };
  throw new Failure("E_NAME", `${JSON.stringify(archive)} is not an archive of a storage`);
}
