/**
 * A small JSON document in the server's state directory: read once at the start, then replaced as a whole whenever what it
 * holds has changed. What a crash leaves is the old document or the new one. What is in it, and what its loss costs, is
 * the business of who keeps it.
 */
import { type Disk, orMissing } from "./disk.ts";

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

  /** Undefined when there is none. Rejects with what the disk throws, or when it is not JSON. */
  async read(): Promise<unknown> {
    const file = await orMissing(this.#disk.open(this.#path, "read"));
    if (file === undefined) return undefined;
    try {
      const bytes = Buffer.alloc(Math.min(await file.size(), FILE_BYTES_MAX));
      await file.read(bytes, 0);
      // Whoever put it there may have been killed before its name was synced, and what it has is not written again.
      await this.#disk.syncDirectory(this.#stateDir);
      return JSON.parse(bytes.toString("utf8"));
    } finally {
      await file.close();
    }
  }

  /** Writes what `value` says when its turn comes. Resolves when the disk has it; rejects with what that throws. */
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
