/**
 * Which directories have been storages of this server, kept in its state directory as `storages.json`: so that an empty
 * directory where one of them was is seen for what it is, a disk that is not mounted. Nothing depends on it when it is lost:
 * then the directories are taken as they are found.
 */
import { z } from "zod";
import type { Logger } from "#base/log.ts";
import type { Disk } from "./disk.ts";
import { StateFile } from "./state-file.ts";

const schema = z.object({ baseDirs: z.array(z.string()) });

export class KnownStorages {
  readonly #file: StateFile;
  readonly #log: Logger;
  readonly #baseDirs: Set<string>;

  private constructor(file: StateFile, log: Logger, baseDirs: readonly string[]) {
    this.#file = file;
    this.#log = log;
    this.#baseDirs = new Set(baseDirs);
  }

  /** Never rejects: what cannot be read is said in the log, and nothing is known. */
  static async open(disk: Disk, stateDir: string, log: Logger): Promise<KnownStorages> {
    const file = new StateFile(disk, stateDir, "storages.json");
    let baseDirs: readonly string[] = [];
    try {
      const found = await file.read();
      if (found !== undefined) ({ baseDirs } = schema.parse(found));
    } catch (error) {
      const fields = { file: file.name, error: String(error) };
      log.warn("the list of known storages cannot be read and is begun anew", fields);
    }
    return new KnownStorages(file, log, baseDirs);
  }

  /** The directory was a storage before. */
  has(baseDir: string): boolean {
    return this.#baseDirs.has(baseDir);
  }

  /** The directory is a storage. Resolves when the disk knows it; never rejects. */
  async add(baseDir: string): Promise<void> {
    if (this.#baseDirs.has(baseDir)) {
      await this.#file.idle();
      return;
    }
    this.#baseDirs.add(baseDir);
    try {
      await this.#file.write(() => ({ baseDirs: [...this.#baseDirs].sort() }));
    } catch (error) {
      this.#log.warn("the list of known storages could not be written", {
        file: this.#file.name,
        error: String(error),
      });
    }
  }
}
