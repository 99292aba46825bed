/** An archive and its index, opened for an agent that reads them. They stay readable when rotation removes them. */
import type { FileNumber } from "#base/chunk.ts";
import { errnoName, Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";

export interface LentArchiveOptions {
  readonly storage: string;
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
  readonly name: string;
  readonly archive: ArchiveAccess | undefined;
  readonly index: ArchiveAccess | undefined;
  readonly close: () => Promise<void>;
  /** Does the work when it is this archive's turn; rejects before it has ended if that takes too long. */
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
}

export class LentArchive {
  readonly #options: LentArchiveOptions;
  /** Calls into the disk that have not come back. */
  readonly #pending = new Set<Promise<number>>();

  constructor(options: LentArchiveOptions) {
    this.#options = options;
  }

  get storage(): string {
    return this.#options.storage;
  }

  get name(): string {
    return this.#options.name;
  }

  /** Of the archive (0) or its index (1); undefined when it was not opened. */
  bytes(file: FileNumber): number | undefined {
    return this.#access(file)?.size;
  }

  /**
   * Fills `into` from `offset`. Rejects with Failure E_ARCHIVE_READ (its cause is the disk's error, if that is the reason) or
   * E_STORAGE_FAILED when the disk does not answer: then it may still write to `into`.
   */
  async read(file: FileNumber, into: Uint8Array, offset: number): Promise<void> {
    const access = this.#access(file);
    const what = file === 0 ? this.name : `the index of ${this.name}`;
    if (access === undefined) throw new Failure("E_ARCHIVE_READ", `${what} is not open`);
    const end = offset + into.length;
    if (end > access.size) {
      throw new Failure("E_ARCHIVE_READ", `${what} has ${access.size} bytes, and ${end} were to be read`);
    }
    const length = await this.#options.inTurn(() => this.#call(access, into, offset)).catch(unreadable(what, offset));
    if (length < into.length) throw new Failure("E_ARCHIVE_READ", `${what} ends at ${offset + length}: it was cut off`);
  }

  /** Once, after the last read; a call that hangs keeps its file until it comes back. Never rejects. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#pending);
    // It was only read: nothing can be lost by it.
    await this.#options.close().catch(() => undefined);
  }

  #access(file: FileNumber): ArchiveAccess | undefined {
    return file === 0 ? this.#options.archive : this.#options.index;
  }

  #call(access: ArchiveAccess, into: Uint8Array, offset: number): Promise<number> {
    const call = access.read(into, offset);
    this.#pending.add(call);
    const back = (): void => void this.#pending.delete(call);
    call.then(back, back);
    return call;
  }
}

function unreadable(what: string, offset: number): (error: unknown) => never {
  return (cause) => {
    const errno = errnoName(cause);
    if (errno === undefined) throw cause;
    throw new Failure("E_ARCHIVE_READ", `${what} cannot be read at ${offset}: ${errno}`, { cause });
  };
}
