/**
 * What is known of the archives of a storage beyond their names: which were found damaged, and when each was last read. It keeps the
 * marks beside the archives (damage-mark.ts) and the times (verify-log.ts); it reads no archive and removes none.
 */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { ListedArchive } from "./archive-list.ts";
import {
  type ArchiveIdentity,
  type DamageMark,
  encodeMark,
  type Finding,
  identityOf,
  makeMark,
  markName,
  readDamage,
  sameArchive,
  type VerifiedBy,
} from "./damage-mark.ts";
import type { Standing } from "./rotation.ts";
import { ARCHIVE_MODE, CONTROL_DIRECTORY, type StorageRoot } from "./storage-root.ts";
import { Turns } from "./turns.ts";
import { VerifyLog } from "./verify-log.ts";

const NEW_MARK = `${CONTROL_DIRECTORY}/damaged.new`;

export class ArchiveHealth {
  readonly #root: StorageRoot;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #times: VerifyLog;
  /** By archive: marks that the disk did not take. They count as long as this process runs. */
  readonly #unwritten = new Map<string, DamageMark>();
  readonly #turns = new Turns();

  private constructor(root: StorageRoot, clock: Clock, log: Logger, times: VerifyLog) {
    this.#root = root;
    this.#clock = clock;
    this.#log = log;
    this.#times = times;
  }

  /** Rejects with what the disk throws. */
  static async open(root: StorageRoot, clock: Clock, log: Logger): Promise<ArchiveHealth> {
    return new ArchiveHealth(root, clock, log, await VerifyLog.open(root, log));
  }

  get times(): VerifyLog {
    return this.#times;
  }

  /** How an archive counts for rotation. `isPending` says of which one a verification is awaited. */
  standing(isPending: (archive: string) => boolean): (archive: ListedArchive) => Promise<Standing> {
    const onDisk = standingOf(this.#root, isPending);
    return async (archive) => {
      const unwritten = this.#unwritten.get(archive.archive);
      return unwritten !== undefined && sameArchive(unwritten, archive) ? "damaged" : await onDisk(archive);
    };
  }

  /**
   * Keeps what a verification has found, on the disk when this resolves. False when the file that was read is there no more. Rejects with
   * what the disk throws; a damage is remembered all the same while this process runs.
   */
  async record(archive: string, read: ArchiveIdentity, finding: Finding, by: VerifiedBy): Promise<boolean> {
    const stat = await this.#root.stat(archive);
    if (stat?.type !== "file" || !sameArchive(identityOf(stat), read)) return false;
    if (finding.ok) {
      await this.#clear(archive);
    } else {
      const made = makeMark(read, finding, by, this.#clock.wall());
      this.#unwritten.set(archive, made);
      await this.#turns.run("mark", () => this.#write(archive, made));
      this.#unwritten.delete(archive);
    }
    // A crash before this has the archive read once more, as a disk that does not take it has; what was found stands without it.
    await this.#times.add(archive, read, this.#clock.wall()).catch((error: unknown) => {
      this.#log.warn("when an archive was read could not be kept: it is read again", { archive, error: String(error) });
    });
    return true;
  }

  /** They were removed. */
  forget(archives: readonly string[]): void {
    for (const archive of archives) {
      this.#times.forget(archive);
      this.#unwritten.delete(archive);
    }
  }

  async close(): Promise<void> {
    await this.#turns.idle();
    await this.#times.close();
  }

  async #write(archive: string, made: DamageMark): Promise<void> {
    const root = this.#root;
    // A crash below leaves this name, or the mark whole in the place of an older one.
    await root.unlink(NEW_MARK);
    const file = await root.createFile(NEW_MARK, ARCHIVE_MODE);
    try {
      await file.write(encodeMark(made), 0);
      await file.fdatasync();
    } finally {
      await file.close();
    }
    await root.rename(NEW_MARK, markName(archive));
    await root.sync(directoryOf(archive));
    this.#log.error("an archive is damaged", { archive, what: made.what });
  }

  async #clear(archive: string): Promise<void> {
    this.#unwritten.delete(archive);
    if (!(await this.#root.unlink(markName(archive)))) return;
    // A crash before this may bring the mark back: then the next verification removes it.
    await this.#root.sync(directoryOf(archive));
    this.#log.info("an archive that was marked as damaged is whole", { archive });
  }
}

/** How an archive counts for rotation, as the disk says it. */
export function standingOf(
  root: StorageRoot,
  isPending: (archive: string) => boolean,
): (archive: ListedArchive) => Promise<Standing> {
  return async (archive) => {
    const path = root.path(archive.archive);
    if (archive.marked && (await readDamage(root.disk, path, archive)) !== undefined) return "damaged";
    return isPending(archive.archive) ? "pending" : "good";
  };
}

function directoryOf(archive: string): string {
  return archive.slice(0, archive.lastIndexOf("/"));
}
