/**
 * The verification of a storage's archives, as far as it is the storage's: which are due, the file to be read, and what is kept and
 * rotated when the result is there. Who reads them, when and how, is the server's policy or a command's.
 */
import { Failure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import type { ArchiveHealth } from "./archive-health.ts";
import { type Entry, type ListedArchive, listArchives, listEntries } from "./archive-list.ts";
import { archiveTimeMs } from "./archive-names.ts";
import type { CommitLog } from "./commit-log.ts";
import { type ArchiveIdentity, type Finding, identityOf, type VerifiedBy } from "./damage-mark.ts";
import { type DiskFile, orMissing } from "./disk.ts";
import type { CommitRecord } from "./records.ts";
import { planScrub } from "./scrub-plan.ts";
import type { VerifyResult } from "./session-types.ts";
import { unusable } from "./storage-access.ts";
import type { StorageRoot } from "./storage-root.ts";
import type { Turns } from "./turns.ts";
import { verifiedAtMs } from "./verify-log.ts";

/** An archive that is open for reading. */
export interface OpenedFile {
  readonly file: DiskFile;
  readonly identity: ArchiveIdentity;
  /** 64 hex digits beside it; undefined when there are none. */
  readonly sha256: string | undefined;
}

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

/** A line of `sha256sum`. */
const SUM = /^\\?([0-9a-f]{64})[ \t]/;
const SUM_BYTES_MAX = 4_096;

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
  async due(unreadMs: number, nowMs: number): Promise<ListedArchive[]> {
    const { root, commits, health, storage } = this.#parts;
    const all: ListedArchive[] = [];
    try {
      for (const entry of await listEntries(root, {})) all.push(...(await listArchives(root, entry)));
    } catch (error) {
      return unusable(`storage ${storage}: its archives cannot be read`)(error);
    }
    health.times.retain(new Set(all.map(({ archive }) => archive)));
    const candidates = all
      .filter(({ archive }) => !commits.isPending(archive))
      .map((listed) => ({ ...listed, verifiedAtMs: verifiedAtMs(health.times.times, listed.archive, listed) }));
    return planScrub(candidates, unreadMs, nowMs);
  }

  /** Undefined when it is gone. Rejects with what the disk throws. */
  async open(archive: string): Promise<OpenedFile | undefined> {
    const { root } = this.#parts;
    checkArchive(archive);
    const stat = await root.stat(archive);
    if (stat?.type !== "file") return undefined;
    const file = await orMissing(root.openFile(archive, "read"));
    if (file === undefined) return undefined;
    try {
      return { file, identity: identityOf(stat), sha256: await this.#sum(archive) };
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * Keeps what was found of an archive. When a rotation had waited for it, it is done. Rejects with E_NAME, E_STORAGE_FAILED; a damage
   * counts all the same until the storage is closed.
   */
  async record(archive: string, read: ArchiveIdentity, finding: Finding, by: VerifiedBy): Promise<Recorded> {
    const { health, turns, rotate, storage } = this.#parts;
    const entry = checkArchive(archive);
    const failed = unusable(`storage ${storage}: what was found of ${archive} cannot be kept`);
    const recorded = await turns.run(entry.agent, () => health.record(archive, read, finding, by)).catch(failed);
    const waited = this.pending().find((record) => record.archive === archive);
    if (!recorded || waited === undefined) return { recorded, removed: [] };
    await this.settle(waited.session, resultOf(finding));
    return { recorded, removed: finding.ok ? await rotate(entry) : [] };
  }

  /** The pending verification of a commit is over. Rejects with E_STORAGE_FAILED. */
  async settle(session: string, result: VerifyResult): Promise<void> {
    const { commits, storage } = this.#parts;
    await commits.addVerified(session, result).catch(unusable(`storage ${storage}: its records cannot be written`));
  }

  async #sum(archive: string): Promise<string | undefined> {
    const file = await orMissing(this.#parts.root.openFile(`${archive}.sha256`, "read"));
    if (file === undefined) return undefined;
    try {
      const bytes = Buffer.alloc(SUM_BYTES_MAX);
      return SUM.exec(bytes.subarray(0, await file.read(bytes, 0)).toString("latin1"))?.[1];
    } finally {
      await file.close();
    }
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
