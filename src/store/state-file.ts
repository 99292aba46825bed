/**
 * A small JSON document in the server's state directory: read once at the start, then replaced as a whole whenever what it
 * holds has changed. What a crash leaves is the old document or the new one. What is in it, and what its loss costs, is
 * the business of who keeps it.
 */
import { Failure } from "#base/errors.ts";
import { type Disk, orMissing } from "./disk.ts";

/** Read whole at a start. What would be longer is not written: half a document is worth less than the old one. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const MODE = 0o600;

export class StateFile {
  readonly #disk: Disk;
  readonly #stateDir: string;
  readonly name: string;
  /** One write after another. */
  #last: Promise<void> = Promise.resolve();

  constructor(disk: Disk, stateDir: string, name: string) {
    this.#disk = disk;
    this.#stateDir = stateDir;
    this.name = name;
  }

  /** Undefined when there is none. Rejects with what the disk throws, when it is not JSON, or with Failure E_STATE_DIR: too long. */
  async read(): Promise<unknown> {
    const file = await orMissing(this.#disk.open(this.#path, "read"));
    if (file === undefined) return undefined;
    try {
      const size = await file.size();
      if (size > FILE_BYTES_MAX) throw tooLong(this.#path, size, "has");
      const bytes = Buffer.alloc(size);
      await file.read(bytes, 0);
      // Whoever put it there may have been killed before its name was synced, and what it has is not written again.
      await this.#disk.syncDirectory(this.#stateDir);
      return JSON.parse(bytes.toString("utf8"));
    } finally {
      await file.close();
    }
  }

  /**
   * Writes what `value` says when its turn comes. Resolves when the disk has it; rejects with what that throws, or with Failure E_STATE_DIR
   * when it is too long to be read again, and then the old document stays.
   */
  write(value: () => unknown): Promise<void> {
    const written = this.#last.then(() => this.#write(value()));
    this.#last = written.catch(() => undefined); // Whoever asked for the write hears how it went.
    return written;
  }

  /** Resolves when no write is under way. */
  idle(): Promise<void> {
    return this.#last;
  }

  get #path(): string {
    return `${this.#stateDir}/${this.name}`;
  }

  async #write(value: unknown): Promise<void> {
    const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
    const path = this.#path;
    if (bytes.length > FILE_BYTES_MAX) throw tooLong(path, bytes.length, "would have");
    // A crash before the rename leaves the old document, and a new file that is removed here the next time.
    await orMissing(this.#disk.unlink(`${path}.new`));
    const file = await this.#disk.create(`${path}.new`, MODE);
    try {
      await file.write(bytes, 0);
      await file.fdatasync();
    } finally {
      await file.close();
    }
    await this.#disk.rename(`${path}.new`, path);
    await this.#disk.syncDirectory(this.#stateDir);
  }
}

function tooLong(path: string, bytes: number, verb: string): Failure {
  return new Failure("E_STATE_DIR", `${path} ${verb} ${bytes} bytes, more than the limit of ${FILE_BYTES_MAX}`, {
    hint: "What is on the disk stays as it is. The server has heard of more agents than it is made for (20,000).",
  });
}
