/**
 * A file of lines of the storage's own: one is appended and synced at a time, and the file is written anew, without what nobody needs any
 * more, when it has grown too long. A line that a crash tore is dropped. What is in a line is the owner's, who keeps it all in memory.
 */
import { must } from "#base/assert.ts";
import type { Logger } from "#base/log.ts";
import { type Disk, type DiskFile, isDiskFull, orMissing } from "./disk.ts";
import { PRIVATE_MODE, type StorageRoot } from "./storage-root.ts";

export interface LineLogOptions {
  readonly root: StorageRoot;
  readonly log: Logger;
  /** Relative to the base directory; a new one is written beside it. */
  readonly file: string;
  /** With so many lines the next one has the file written anew. */
  readonly linesMax: () => number;
  /** All lines that are to be in a new file, without line ends. */
  readonly contents: () => readonly string[];
}

export class LineLog {
  readonly #options: LineLogOptions;
  #file: DiskFile | undefined;
  #length = 0;
  #lines = 0;
  /** Appends are done one after another. */
  #last: Promise<void> = Promise.resolve();

  constructor(options: LineLogOptions) {
    this.#options = options;
  }

  /**
   * Hands over each line of the file; `take` says whether it is one. Resolves with how many were dropped; undefined when
   * there is no file. Rejects with what the disk throws.
   */
  async load(take: (line: string) => boolean): Promise<number | undefined> {
    const { root, file: name, log } = this.#options;
    const file = await orMissing(root.openFile(name, "read-write"));
    if (file === undefined) return undefined;
    this.#file = file;
    await this.#keepOnDisk(file);
    const bytes = Buffer.alloc(await file.size());
    this.#length = await file.read(bytes, 0);
    const texts = bytes.subarray(0, this.#length).toString("utf8").split("\n");
    let dropped = texts.pop() === "" ? 0 : 1;
    // A torn line at the end is overwritten by the next one.
    this.#length = bytes.lastIndexOf("\n", this.#length) + 1;
    this.#lines = texts.length;
    for (const [index, text] of texts.entries()) {
      if (take(text)) continue;
      dropped += 1;
      log.warn("a line of the storage's records cannot be read and was dropped", { file: name, line: index + 1 });
    }
    return dropped;
  }

  /** The next line would have the file written anew. */
  get full(): boolean {
    return this.#lines >= this.#options.linesMax();
  }

  /** Resolves when the line is on the disk; its content must be among `contents` already. */
  append(line: string): Promise<void> {
    const done = this.#last.then(async () => {
      if (this.#file === undefined || this.full) {
        await this.#rewrite();
        return;
      }
      const bytes = Buffer.from(`${line}\n`);
      // A torn line from an append that failed is overwritten by the next one: the length only grows when it is whole.
      await this.#file.write(bytes, this.#length);
      await this.#file.fdatasync();
      this.#length += bytes.length;
      this.#lines += 1;
    });
    this.#last = done.catch((error: unknown) => {
      const { log, file } = this.#options;
      log.error("a line of the storage's records could not be written", { file, error: String(error) });
    });
    return done;
  }

  /** Writes the file anew; but a full disk must not keep the storage shut: what is there can be appended to as well. */
  async tidy(): Promise<void> {
    try {
      await this.#rewrite();
    } catch (error) {
      if (this.#file === undefined || !isDiskFull(error)) throw error;
      const { log, file } = this.#options;
      log.warn("the storage's records could not be tidied up: the disk is full", { file });
    }
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#file?.close();
  }

  /**
   * A line that a killed server wrote can be read, synced or not; because of it things are removed, so it must not go with
   * the power. On a full disk nothing can be done about that, and rotation makes room on it.
   */
  async #keepOnDisk(file: DiskFile): Promise<void> {
    try {
      await file.fdatasync();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      const options = this.#options;
      options.log.warn("the storage's records could not be synced: the disk is full", { file: options.file });
    }
  }

  /** Writes what is kept to a new file and puts it in the place of the old one. */
  async #rewrite(): Promise<void> {
    const { root, file: name, contents } = this.#options;
    const newName = `${name}.new`;
    const lines = contents();
    const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
    // A crash before the rename leaves the old file, and a new one that the next start removes here.
    await root.unlink(newName);
    const file = await root.createFile(newName, PRIVATE_MODE);
    try {
      await file.write(bytes, 0);
      await file.fdatasync();
      await root.rename(newName, name);
    } catch (error) {
      await file.close();
      throw error;
    }
    // The name is the new file's, whatever happens below: appending to the old one would write into nothing.
    const old = this.#file;
    this.#file = file;
    this.#length = bytes.length;
    this.#lines = lines.length;
    await old?.close();
    // A crash here leaves one or the other; both are whole, and nothing was appended to the new one yet.
    await root.sync(must(name.split("/").slice(0, -1).join("/"), "a directory"));
  }
}

/** The whole lines of such a file, for who only looks; none when it is not there. Rejects with what the disk throws. */
export async function readLines(disk: Disk, path: string): Promise<string[]> {
  const file = await orMissing(disk.open(path, "read"));
  if (file === undefined) return [];
  try {
    const bytes = Buffer.alloc(await file.size());
    const length = await file.read(bytes, 0);
    const texts = bytes.subarray(0, length).toString("utf8").split("\n");
    // Behind the last line end is nothing, or a line that is just being written.
    texts.pop();
    return texts;
  } finally {
    await file.close();
  }
}
