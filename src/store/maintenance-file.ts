/**
 * Whether the server is in maintenance, kept in its state directory as `maintenance.json` so that a start knows it. When it is
 * lost or cannot be read the server is not in maintenance: nobody's backups wait for a file that is gone.
 */
import { z } from "zod";
import type { Logger } from "#base/log.ts";
import type { Disk } from "./disk.ts";
import { StateFile } from "./state-file.ts";

/** Agents hear it. */
export const MAINTENANCE_REASON_CHARS_MAX = 500;
const schema = z.object({
  on: z.object({ sinceWallMs: z.number(), reason: z.string().max(MAINTENANCE_REASON_CHARS_MAX).nullable() }).nullable(),
});

type MaintenanceSince = NonNullable<z.infer<typeof schema>["on"]>;

export class MaintenanceFile {
  readonly #file: StateFile;
  /** As the last start of the server left it; null: it is off. */
  readonly kept: MaintenanceSince | null;

  private constructor(file: StateFile, kept: MaintenanceSince | null) {
    this.#file = file;
    this.kept = kept;
  }

  /** Never rejects: what cannot be read is said in the log. */
  static async open(disk: Disk, stateDir: string, log: Logger): Promise<MaintenanceFile> {
    const file = new StateFile(disk, stateDir, "maintenance.json");
    let kept: MaintenanceSince | null = null;
    try {
      const found = await file.read();
      if (found !== undefined) kept = schema.parse(found).on;
    } catch (error) {
      const fields = { file: file.name, error: String(error) };
      log.warn("whether the server was in maintenance cannot be read: it is not", fields);
    }
    return new MaintenanceFile(file, kept);
  }

  /** Resolves when the disk has it; rejects with what that throws. */
  keep(on: MaintenanceSince | null): Promise<void> {
    return this.#file.write(() => ({ on }));
  }
}
