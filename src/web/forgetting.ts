/**
 * How long the archives of a backup are known to be gone, and that it is told when a backup is shown no more. What is counted begins anew with
 * the process; what was told stands among the events, so that a backup that somebody retired does not come back with each start.
 */
import type { BackupRow, BackupStanding } from "./api-archives.ts";
import { type BackupFacts, backupRows } from "./backup-rows.ts";
import type { EmitEvent, ReadModel } from "./read-model.ts";

export type Place = Pick<BackupStanding, "agent" | "backup" | "storage" | "lastEndWallMs">;

type Shown = Place & Pick<BackupStanding, "lastSuccessWallMs">;

export class Forgetting {
  readonly #model: Pick<ReadModel, "clock" | "events" | "status">;
  readonly #emit: EmitEvent;
  /** Since when, by the clock that is never set. */
  readonly #goneSinceMs = new Map<string, number>();
  /** Those that had a success, as long as they are shown. */
  #shown = new Map<string, Shown>();
  /** When it was told that they are shown no more; read from the events once. */
  #told: Map<string, number> | undefined;

  constructor(model: Pick<ReadModel, "clock" | "events" | "status">, emit: EmitEvent) {
    this.#model = model;
    this.#emit = emit;
  }

  rows(facts: Omit<BackupFacts, "goneForMs" | "succeeded">): readonly BackupRow[] {
    const before = this.#shownBefore();
    this.#shown = new Map();
    const gone = new Map<string, Place>();
    const goneForMs = (place: Place): number => {
      gone.set(keyOf(place), place);
      return this.#goneForMs(place);
    };
    const rows = backupRows({ ...facts, goneForMs, succeeded: [...before.values()] });
    for (const row of rows) {
      const key = keyOf(row);
      if (row.archiveCount > 0) {
        this.#goneSinceMs.delete(key);
        this.#toldAt.delete(key);
      }
      if (row.lastSuccessWallMs !== null || gone.has(key) || before.has(key)) this.#shown.set(key, row);
    }
    for (const [key, place] of before) if (!this.#shown.has(key)) this.#tell(key, place);
    return rows;
  }

  /** But for those of a storage that a reload has taken out of the configuration: of its archives nobody knows. */
  #shownBefore(): ReadonlyMap<string, Shown> {
    const storages = new Set(this.#model.status().storages.map(({ name }) => name));
    return new Map([...this.#shown].filter(([, { storage }]) => storages.has(storage)));
  }

  #goneForMs(place: Place): number {
    const key = keyOf(place);
    if (this.#isTold(key, place)) return Number.POSITIVE_INFINITY;
    const nowMs = this.#model.clock.now();
    const sinceMs = this.#goneSinceMs.get(key) ?? nowMs;
    this.#goneSinceMs.set(key, sinceMs);
    return nowMs - sinceMs;
  }

  #tell(key: string, place: Place): void {
    if (this.#isTold(key, place)) return;
    this.#toldAt.set(key, Math.max(this.#model.clock.wall(), place.lastEndWallMs ?? 0));
    const { agent, backup, storage } = place;
    const why = `none of its archives is in storage ${storage}, and no agent says that it has it`;
    this.#emit({
      ...{ kind: "backup.forgotten", level: "warn", message: `the backup ${agent}/${backup} is shown no more: ${why}` },
      ...{ fields: { agent, backup, storage }, byAgent: agent },
    });
  }

  /** A run that ended since then begins a new life. */
  #isTold(key: string, { lastEndWallMs }: Place): boolean {
    const toldMs = this.#toldAt.get(key);
    return toldMs !== undefined && toldMs >= (lastEndWallMs ?? 0);
  }

  get #toldAt(): Map<string, number> {
    this.#told ??= new Map(
      this.#model.events
        .newest(Number.MAX_SAFE_INTEGER, ({ kind }) => kind === "backup.forgotten")
        .reverse()
        .map(({ fields: { agent, backup, storage }, wallMs }) => [keyOfNames(agent, backup, storage), wallMs]),
    );
    return this.#told;
  }
}

function keyOf({ agent, backup, storage }: Place): string {
  return keyOfNames(agent, backup, storage);
}

function keyOfNames(...names: readonly unknown[]): string {
  return names.map(String).join("\0");
}
