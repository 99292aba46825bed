/**
 * Which directories have been storages of this server, kept in its state directory as `storages.json`: so that an empty
 * directory where one of them was is seen for what it is, a disk that is not mounted. Nothing depends on it when it is lost:
 * then the directories are taken as they are found.
 */
import { z } from "zod";
import type { Logger } from "#base/log.ts";
import { type Disk, orMissing } from "./disk.ts";

const FILE = "storages.json";
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const MODE = 0o600;

const schema = z.object({ baseDirs: z.array(z.string()) });

export class KnownStorages {
  readonly #disk: Disk;
  readonly #stateDir: string;
  readonly #log: Logger;
  readonly #baseDirs: Set<string>;
  /** One write after another. */
  #last: Promise<void> = Promise.resolve();

  private constructor(disk: Disk, stateDir: string, log: Logger, baseDirs: readonly string[]) {
    this.#disk = disk;
    this.#stateDir = stateDir;
    this.#log = log;
    this.#baseDirs = new Set(baseDirs);
  }

  /** Never rejects: what cannot be read is said in the log, and nothing is known. */
  static async open(disk: Disk, stateDir: string, log: Logger): Promise<KnownStorages> {
    let baseDirs: readonly string[] = [];
    try {
      baseDirs = await read(disk, `${stateDir}/${FILE}`);
      // Whoever put the list there may have been killed before its name was synced, and nothing is written again that it has.
      await disk.syncDirectory(stateDir);
    } catch (error) {
      log.warn("the list of known storages cannot be read and is begun anew", { file: FILE, error: String(error) });
    }
    return new KnownStorages(disk, stateDir, log, baseDirs);
  }

  /** The directory was a storage before. */
  has(baseDir: string): boolean {
    return this.#baseDirs.has(baseDir);
  }

  /** The directory is a storage. Resolves when the disk knows it; never rejects. */
  add(baseDir: string): Promise<void> {
    if (this.#baseDirs.has(baseDir)) return this.#last;
    this.#baseDirs.add(baseDir);
    this.#last = this.#last
      .then(() => this.#write())
      .catch((error: unknown) => {
        this.#log.warn("the list of known storages could not be written", { file: FILE, error: String(error) });
      });
    return this.#last;
  }

  async #write(): Promise<void> {
    const path = `${this.#stateDir}/${FILE}`;
    const bytes = Buffer.from(`${JSON.stringify({ baseDirs: [...this.#baseDirs].sort() })}\n`);
    // A crash before the rename leaves the old list, and a new file that is removed here the next time.
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

async function read(disk: Disk, path: string): Promise<readonly string[]> {
  const file = await orMissing(disk.open(path, "read"));
  if (file === undefined) return [];
  try {
    const bytes = Buffer.alloc(Math.min(await file.size(), FILE_BYTES_MAX));
    await file.read(bytes, 0);
    return schema.parse(JSON.parse(bytes.toString("utf8"))).baseDirs;
  } finally {
    await file.close();
  }
}
