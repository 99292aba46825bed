/**
 * For how long a backup is seen to be gone, and that it is told when it is shown no more. The time grows from look to look, by the clock that is
 * never set, while the server runs: what passes between two starts is not seen, and a wall clock that jumps makes nothing vanish. Both outlive the
 * server in a list that somebody else keeps: who restarts it each week has 14 days all the same, and what was told does not come back when the
 * events know it no more.
 */
import type { SessionRecord } from "#observe/records.ts";
import type { BackupRow, BackupStanding } from "./api-archives.ts";
import type { AgentChannel } from "./api-types.ts";
import { type BackupFacts, backupRows } from "./backup-rows.ts";
import type { EmitEvent, ReadModel } from "./read-model.ts";

/** Written so often while the time grows: what a crash costs of it. */
const KEPT_EVERY_MS = 3_600_000;

export type Place = Pick<BackupStanding, "agent" | "backup" | "storage" | "lastEndWallMs">;

type Shown = Place & Pick<BackupStanding, "lastSuccessWallMs">;

/** It had a success, none of its archives is there, and no agent names it. */
export interface GoneBackup extends Pick<BackupStanding, "agent" | "backup" | "storage"> {
  /** For how long that was seen. */
  readonly goneMs: number;
  /** When it was told that it is shown no more; null: it is shown. */
  readonly toldWallMs: number | null;
}

/** Keeps the list over a restart. */
export interface GoneKeeper {
  /** Undefined: nothing was ever kept, or it is lost. */
  readonly kept: readonly GoneBackup[] | undefined;
  /** In the background; never rejects. */
  keep(gone: readonly GoneBackup[]): Promise<void>;
}

interface Seen extends GoneBackup {
  /** When it was last seen to be gone, by the clock that is never set; undefined: the last look could not tell. */
  readonly lookMs: number | undefined;
}

export class Forgetting {
  readonly #model: Pick<ReadModel, "clock" | "events" | "status">;
  readonly #emit: EmitEvent;
  readonly #keeper: GoneKeeper;
  /** In the order in which they were found. */
  readonly #gone = new Map<string, Seen>();
  /** Those that had a success, as long as they are shown. */
  #shown = new Map<string, Shown>();
  #begun = false;
  /** The list has others than the kept one. */
  #changed = false;
  #keptAtMs = 0;
  #keeping: Promise<void> = Promise.resolve();

  constructor(model: Pick<ReadModel, "clock" | "events" | "status">, emit: EmitEvent, keeper: GoneKeeper) {
    this.#model = model;
    this.#emit = emit;
    this.#keeper = keeper;
  }

  rows(facts: Omit<BackupFacts, "goneForMs" | "succeeded">): readonly BackupRow[] {
    this.#begin();
    const before = this.#shownBefore();
    this.#shown = new Map();
    const gone = new Set<string>();
    const goneForMs = (place: Place): number => {
      gone.add(keyOf(place));
      return this.#goneForMs(place);
    };
    const rows = backupRows({ ...facts, goneForMs, succeeded: [...before.values()] });
    this.#newLives(rows, facts.agents);
    for (const row of rows) {
      const key = keyOf(row);
      if (row.lastSuccessWallMs !== null || gone.has(key) || before.has(key)) this.#shown.set(key, row);
    }
    for (const [key, place] of before) if (!this.#shown.has(key)) this.#tell(key, place);
    for (const [key, seen] of this.#gone) if (!gone.has(key)) this.#gone.set(key, { ...seen, lookMs: undefined });
    this.#dropNeedless(facts.history);
    const isDue = this.#isGrowing && this.#model.clock.now() - this.#keptAtMs >= KEPT_EVERY_MS;
    if (this.#changed || isDue) this.#keep();
    return rows;
  }

  /** Nobody looks any more. Resolves when what was seen until now is kept, or cannot be; never rejects. */
  close(): Promise<void> {
    if (this.#changed || this.#isGrowing) this.#keep();
    return this.#keeping;
  }

  /** Goes on from the list that was kept. Before there was one, and when it is lost, the events tell what was told. */
  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    const { kept } = this.#keeper;
    for (const one of kept ?? this.#toldByEvents()) {
      const key = keyOf(one);
      this.#gone.set(key, { ...one, lookMs: undefined });
      if (one.toldWallMs === null) this.#shown.set(key, { ...one, lastEndWallMs: null, lastSuccessWallMs: null });
    }
    this.#changed = kept === undefined && this.#gone.size > 0;
  }

  #toldByEvents(): readonly GoneBackup[] {
    const events = this.#model.events.newest(Number.MAX_SAFE_INTEGER, ({ kind }) => kind === "backup.forgotten");
    return events.reverse().map(({ fields: { agent, backup, storage }, wallMs }) => {
      return { agent: String(agent), backup: String(backup), storage: String(storage), goneMs: 0, toldWallMs: wallMs };
    });
  }

  /** But for those of a storage that a reload has taken out of the configuration: of its archives nobody knows. */
  #shownBefore(): ReadonlyMap<string, Shown> {
    const storages = new Set(this.#model.status().storages.map(({ name }) => name));
    return new Map([...this.#shown].filter(([, { storage }]) => storages.has(storage)));
  }

  #goneForMs(place: Place): number {
    const key = keyOf(place);
    const seen = this.#gone.get(key);
    if (isTold(seen, place)) return Number.POSITIVE_INFINITY;
    const lookMs = this.#model.clock.now();
    if (seen?.toldWallMs === null) {
      const goneMs = goneUntil(seen, lookMs);
      this.#gone.set(key, { ...seen, goneMs, lookMs });
      return goneMs;
    }
    this.#set(key, { ...namesOf(place), goneMs: 0, toldWallMs: null, lookMs });
    return 0;
  }

  #tell(key: string, place: Place): void {
    if (isTold(this.#gone.get(key), place)) return;
    const toldWallMs = Math.max(this.#model.clock.wall(), place.lastEndWallMs ?? 0);
    this.#set(key, { ...namesOf(place), goneMs: 0, toldWallMs, lookMs: undefined });
    const { agent, backup, storage } = place;
    const why = `none of its archives is in storage ${storage}, and no agent says that it has it`;
    this.#emit({
      ...{ kind: "backup.forgotten", level: "warn", message: `the backup ${agent}/${backup} is shown no more: ${why}` },
      ...{ fields: { agent, backup, storage }, byAgent: agent },
    });
  }

  /**
   * Somebody has it again. An agent that has named it counts although it has no archives: else the time of before its word would go on after a
   * restart, and make the backup vanish while its agent is still on its way back.
   */
  #newLives(rows: readonly BackupRow[], agents: readonly AgentChannel[]): void {
    for (const row of rows) if (row.archiveCount > 0) this.#delete(keyOf(row));
    for (const { agent, backups } of agents) for (const named of backups) this.#delete(keyOf({ ...named, agent }));
  }

  /** Of a storage that is not configured any more the time is not counted on; what was told is needed while a success of it is remembered. */
  #dropNeedless(history: readonly SessionRecord[]): void {
    if (this.#gone.size === 0) return;
    const succeeded = new Set(history.filter(({ outcome }) => outcome === "committed").map(keyOf));
    for (const [key, { toldWallMs }] of this.#gone) {
      if (!(toldWallMs === null ? this.#shown.has(key) : succeeded.has(key))) this.#delete(key);
    }
  }

  #set(key: string, seen: Seen): void {
    this.#delete(key);
    this.#gone.set(key, seen);
    this.#changed = true;
  }

  #delete(key: string): void {
    if (this.#gone.delete(key)) this.#changed = true;
  }

  get #isGrowing(): boolean {
    return this.#gone.values().some(({ lookMs }) => lookMs !== undefined);
  }

  #keep(): void {
    const nowMs = this.#model.clock.now();
    this.#changed = false;
    this.#keptAtMs = nowMs;
    this.#keeping = this.#keeper.keep(
      [...this.#gone.values()].map((seen): GoneBackup => {
        return { ...namesOf(seen), goneMs: goneUntil(seen, nowMs), toldWallMs: seen.toldWallMs };
      }),
    );
  }
}

/** A run that ended since then begins a new life. */
function isTold(seen: Seen | undefined, { lastEndWallMs }: Place): boolean {
  return (seen?.toldWallMs ?? Number.NEGATIVE_INFINITY) >= (lastEndWallMs ?? 0);
}

function goneUntil({ goneMs, lookMs }: Seen, nowMs: number): number {
  return lookMs === undefined ? goneMs : goneMs + nowMs - lookMs;
}

type Names = Pick<Place, "agent" | "backup" | "storage">;

function namesOf({ agent, backup, storage }: Names): Names {
  return { agent, backup, storage };
}

function keyOf({ agent, backup, storage }: Names): string {
  return `${agent}\0${backup}\0${storage}`;
}
