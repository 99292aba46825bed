/**
 * How sessions that are over leave the disk of a storage. One that a failing disk keeps is remembered as ended, so that it
 * never comes to life again, and its removal is tried again when the storage is looked at, and at its next start.
 */
import type { Logger } from "#base/log.ts";
import { settleCommit } from "./interrupted-commit.ts";
import { closeSessionFiles, removeSessionFiles, type SessionFiles } from "./session-files.ts";
import type { StorageRoot } from "./storage-root.ts";

/** Which sessions have ended and are still on a disk; it outlives the server. */
export interface EndMemory {
  has(session: string): boolean;
  /** Never rejects. */
  add(session: string): Promise<void>;
  /** Never rejects. */
  delete(session: string): Promise<void>;
}

export interface SessionRemovalsParts {
  readonly root: StorageRoot;
  /** Of the storage, for the log. */
  readonly name: string;
  readonly log: Logger;
  readonly ended: EndMemory | undefined;
}

export class SessionRemovals {
  readonly #parts: SessionRemovalsParts;
  /** Ended, and still on the disk. */
  readonly #left = new Set<string>();

  constructor(parts: SessionRemovalsParts) {
    this.#parts = parts;
  }

  /** It ended at an earlier start, or in this one before the storage was opened anew. */
  hasEnded(session: string): boolean {
    return this.#parts.ended?.has(session) ?? false;
  }

  /** Closes and removes a session's files. Never rejects: what fails is logged, remembered and tried again. */
  async remove(session: string, files?: SessionFiles): Promise<void> {
    // A network disk may tell only now that it was full: all the more reason to remove what lies there.
    if (files !== undefined) await this.close(files);
    try {
      await this.#remove(session);
    } catch (error) {
      this.complain(error);
      this.#left.add(session);
      // Before its end is told to anybody: a server that is killed from here on knows it.
      await this.#parts.ended?.add(session);
    }
  }

  /** Closes a session's files and leaves them. Never rejects. */
  async close(files: SessionFiles): Promise<void> {
    await closeSessionFiles(files).catch((error: unknown) => this.complain(error));
  }

  /** Tries again to remove what could not be removed. Never rejects; that it failed again is nothing new. */
  async again(): Promise<void> {
    for (const session of [...this.#left]) {
      const { name: storage, log } = this.#parts;
      try {
        await this.#remove(session);
        log.info("what was left of a session that had ended is removed", { storage, session });
      } catch (error) {
        log.debug("what is left of a session that has ended can still not be removed", {
          ...{ storage, session, error: String(error) },
        });
      }
    }
  }

  complain(error: unknown): void {
    const { name: storage, log } = this.#parts;
    log.error("the storage could not be tidied up", { storage, error: String(error) });
  }

  async #remove(session: string): Promise<void> {
    // Its end was told when the disk was failing: what it could not take back then is settled now.
    if (this.#left.has(session) || this.hasEnded(session)) await settleCommit(this.#parts.root, session);
    await removeSessionFiles(this.#parts.root, session);
    this.#left.delete(session);
    await this.#parts.ended?.delete(session);
  }
}
