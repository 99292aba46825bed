/**
 * What the page keeps of backups that nobody has any more, in the server's state directory as `gone-backups.json`: for how long that was seen, and
 * of which it was told that they are shown no more. When it is lost the time is counted anew, and what was told is what the events know.
 */
import { z } from "zod";
import type { Logger } from "#base/log.ts";
import type { Disk } from "./disk.ts";
import { StateFile } from "./state-file.ts";

/** Some megabytes. The oldest give way: they begin to count anew at the next start, or are shown once more. */
export const GONE_BACKUPS_MAX = 10_000;

const schema = z.object({
  backups: z.array(
    z.object({
      agent: z.string(),
      backup: z.string(),
      storage: z.string(),
      goneMs: z.number().min(0),
      toldWallMs: z.number().nullable(),
    }),
  ),
});

type Backups = Readonly<z.infer<typeof schema>["backups"]>;

export class GoneBackups {
  readonly #file: StateFile;
  readonly #log: Logger;
  #kept: Backups | undefined;
  /** A write waits for its turn: it will have what is new by then. */
  #writing: Promise<void> | undefined;

  private constructor(file: StateFile, log: Logger, kept: Backups | undefined) {
    this.#file = file;
    this.#log = log;
    this.#kept = kept;
  }

  /** Never rejects: what cannot be read is said in the log, and nothing is known. */
  static async open(disk: Disk, stateDir: string, log: Logger): Promise<GoneBackups> {
    const file = new StateFile(disk, stateDir, "gone-backups.json");
    let kept: Backups | undefined;
    try {
      const found = await file.read();
      if (found !== undefined) kept = schema.parse(found).backups;
    } catch (error) {
      const fields = { file: file.name, error: String(error) };
      log.warn("the list of backups that nobody has any more cannot be read and is begun anew", fields);
    }
    return new GoneBackups(file, log, kept);
  }

  /** What was kept last, the oldest first; undefined: nothing ever was, or it cannot be read. */
  get kept(): Backups | undefined {
    return this.#kept;
  }

  /** These, and nothing else. Resolves when the disk has them, or does not take them, which the log says; never rejects. */
  keep(backups: Backups): Promise<void> {
    this.#kept = backups.slice(-GONE_BACKUPS_MAX);
    this.#writing ??= this.#write();
    return this.#writing;
  }

  async #write(): Promise<void> {
    try {
      await this.#file.write(() => {
        this.#writing = undefined;
        return { backups: this.#kept };
      });
    } catch (error) {
      const fields = { file: this.#file.name, error: String(error) };
      this.#log.warn("the list of backups that nobody has any more could not be written", fields);
    }
  }
}
