/**
 * What the storages hold, as far as the last look at each knows: archives, and free space over time. Looks go on in the background, one
 * storage after another, and nobody waits for them; in between, commits and removals are taken from the events. How a storage is
 * looked at is the caller's.
 */
import * as z from "zod/mini";
import { type Clock, every, type Timer } from "#base/clock.ts";
import { toFailure } from "#base/errors.ts";
import type { ObservedEvent } from "./events.ts";
import type { RecordStore } from "./record-store.ts";
import type { SessionEnd } from "./records.ts";
import type { StorageView } from "./views.ts";

export interface ScannedArchive {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
  /** The file's name. */
  readonly name: string;
  readonly timeMs: number;
  readonly archiveBytes: number;
  readonly entries: number | undefined;
  readonly rawBytes: number | undefined;
  readonly durationMs: number | undefined;
  readonly problems: number | undefined;
  readonly sha256: string | undefined;
  readonly hasIndex: boolean;
  readonly damage: string | undefined;
}

const storageSample = z.object({
  wallMs: z.number(),
  storage: z.string(),
  freeBytes: z.number(),
  totalBytes: z.number(),
  archiveCount: z.number(),
  archiveBytes: z.number(),
});

/** One look at one storage: a line of `storage-history.jsonl` in the state directory. */
export type StorageSample = Readonly<z.infer<typeof storageSample>>;

export function parseStorageSample(value: unknown): StorageSample | undefined {
  const result = z.safeParse(storageSample, value);
  return result.success ? result.data : undefined;
}

export interface StorageScan {
  /** Of the last one that came to something. */
  readonly atWallMs: number;
  readonly durationMs: number;
  /** Why the one after it came to nothing. */
  readonly failure: string | null;
}

export interface StorageScansOptions {
  readonly clock: Clock;
  readonly storages: () => readonly string[];
  /** All archives of a storage, or the first so many. */
  readonly list: (storage: string) => Promise<readonly ScannedArchive[]>;
  readonly archivesMax: number;
  readonly view: (storage: string) => StorageView | undefined;
  readonly samples: Pick<RecordStore<StorageSample>, "add" | "newest">;
  readonly intervalMs: number;
  /** Archives changed, or a look is over. */
  readonly changed: () => void;
}

interface Meanwhile {
  readonly storage: string;
  readonly removed: Set<string>;
  /** By archive; undefined: it is whole. */
  readonly damage: Map<string, string | undefined>;
}

/** The first look waits until sessions of before have found the server again. */
const FIRST_MS = 1_000;
const SAMPLES_MAX = 2_000;

export class StorageScans {
  readonly #options: StorageScansOptions;
  /** By storage, then by `agent/backup/name`. */
  readonly #archives = new Map<string, Map<string, ScannedArchive>>();
  readonly #scans = new Map<string, StorageScan>();
  readonly #failures = new Map<string, string>();
  /** What was told of its storage since the look that goes on began, which may have seen it otherwise. */
  #meanwhile: Meanwhile | undefined;
  #timers: Timer[] = [];
  #intervalMs: number;
  #scanning: Promise<void> | undefined;
  #stopped = false;

  constructor(options: StorageScansOptions) {
    this.#options = options;
    this.#intervalMs = options.intervalMs;
  }

  start(): void {
    this.#begin();
  }

  /** This pause between looks counts from now on. */
  use(intervalMs: number): void {
    if (intervalMs === this.#intervalMs || this.#stopped) return;
    this.#intervalMs = intervalMs;
    for (const timer of this.#timers.splice(0)) timer.cancel();
    this.#begin();
  }

  /** Once more, if a look goes on. */
  scanSoon(): void {
    void (this.#scanning ?? Promise.resolve()).then(() => this.scanAll());
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers.splice(0)) timer.cancel();
  }

  /** Every storage was looked at, or could not be. */
  get complete(): boolean {
    return !this.#options.storages().some((name) => this.isAwaited(name));
  }

  /** What it holds is not known yet: its first look is still to come. */
  isAwaited(storage: string): boolean {
    const isKnown = this.#scans.has(storage) || this.#failures.has(storage);
    return !isKnown && this.#options.storages().includes(storage);
  }

  /** Undefined before the first look. */
  scanOf(storage: string): StorageScan | undefined {
    const failure = this.#failures.get(storage) ?? null;
    const scan = this.#scans.get(storage);
    return scan === undefined ? undefined : { ...scan, failure };
  }

  failureOf(storage: string): string | undefined {
    return this.#failures.get(storage);
  }

  /** What is not among its archives is not there: the last look saw all of it. */
  isWhole(storage: string): boolean {
    if (!this.#scans.has(storage) || this.#failures.has(storage)) return false;
    return (this.#archives.get(storage)?.size ?? 0) < this.#options.archivesMax;
  }

  archivesOf(storage: string): readonly ScannedArchive[] {
    return [...(this.#archives.get(storage)?.values() ?? [])];
  }

  archives(): ScannedArchive[] {
    return [...this.#archives.values()].flatMap((held) => [...held.values()]);
  }

  /** Oldest first. */
  samplesOf(storage: string): readonly StorageSample[] {
    return this.#options.samples.newest(SAMPLES_MAX, (sample) => sample.storage === storage).reverse();
  }

  /** Looks at all of them; who calls while that goes on gets the same. Never rejects. */
  scanAll(): Promise<void> {
    this.#scanning ??= this.#scanEach().finally(() => {
      this.#scanning = undefined;
    });
    return this.#scanning;
  }

  /** Commits, removals and damage since the last look. */
  note({ kind, fields, end }: ObservedEvent): void {
    if (end !== undefined) this.#ended(end);
    const [storage, archive] = [fields["storage"], fields["archive"]];
    if (typeof storage !== "string") return;
    if (kind === "archives.removed" && Array.isArray(fields["removed"])) this.#remove(storage, fields["removed"]);
    // It may have been tried while it could not be used: then nothing of it is known until somebody looks.
    if (kind === "storage.recovered" && this.#failures.has(storage)) this.scanSoon();
    if (typeof archive !== "string") return;
    if (kind === "archive.damaged") this.#mark(storage, archive, String(fields["what"]));
    if (kind === "archive.verified") this.#mark(storage, archive, undefined);
  }

  #begin(): void {
    const { clock } = this.#options;
    const scan = (): void => void this.scanAll();
    this.#timers = [clock.after(FIRST_MS, scan), every(clock, this.#intervalMs, scan)];
  }

  /** Those that are not configured any more. */
  #forgetOthers(): void {
    const names = new Set(this.#options.storages());
    for (const held of [this.#archives, this.#scans, this.#failures]) {
      for (const name of held.keys()) if (!names.has(name)) held.delete(name);
    }
  }

  async #scanEach(): Promise<void> {
    const { storages, changed } = this.#options;
    this.#forgetOthers();
    for (const storage of storages()) {
      if (this.#stopped) return;
      await this.#scan(storage);
      changed();
    }
  }

  async #scan(storage: string): Promise<void> {
    const { clock, list, samples, view } = this.#options;
    const startedMs = clock.now();
    const meanwhile: Meanwhile = { storage, removed: new Set(), damage: new Map() };
    this.#meanwhile = meanwhile;
    // What is committed while the look goes on may be missing in it.
    const before = new Set(this.#archives.get(storage)?.keys());
    try {
      const rows = new Map((await list(storage)).map((row) => [keyOf(row), row]));
      for (const [key, row] of this.#archives.get(storage) ?? [])
        if (!before.has(key) && !rows.has(key)) rows.set(key, row);
      for (const key of meanwhile.removed) rows.delete(key);
      for (const [key, damage] of meanwhile.damage) {
        const row = rows.get(key);
        if (row !== undefined) rows.set(key, { ...row, damage });
      }
      this.#archives.set(storage, rows);
      this.#failures.delete(storage);
      this.#scans.set(storage, { atWallMs: clock.wall(), durationMs: clock.now() - startedMs, failure: null });
    } catch (error) {
      this.#failures.set(storage, String(toFailure(error)));
      return;
    } finally {
      this.#meanwhile = undefined;
    }
    const { freeBytes = null, totalBytes = null } = view(storage) ?? {};
    if (freeBytes === null || totalBytes === null) return;
    const held = this.archivesOf(storage);
    const archiveBytes = held.reduce((sum, row) => sum + row.archiveBytes, 0);
    samples.add({ wallMs: clock.wall(), storage, freeBytes, totalBytes, archiveCount: held.length, archiveBytes });
  }

  #ended(end: SessionEnd): void {
    if (end.archive !== null) {
      const name = end.archive.slice(end.archive.lastIndexOf("/") + 1);
      const {
        storage,
        agent,
        backup,
        startWallMs: timeMs,
        archiveBytes,
        entries,
        rawBytes,
        durationMs,
        problems,
      } = end;
      this.#of(storage).set(end.archive, {
        ...{ storage, agent, backup, name, timeMs, archiveBytes, entries, rawBytes, durationMs, problems },
        ...{ sha256: end.sha256 ?? undefined, hasIndex: true, damage: undefined },
      });
      this.#options.changed();
    }
    if (end.removed.length > 0) this.#remove(end.storage, end.removed);
  }

  #remove(storage: string, removed: readonly unknown[]): void {
    const held = this.#of(storage);
    for (const archive of removed) {
      held.delete(String(archive));
      if (this.#meanwhile?.storage === storage) this.#meanwhile.removed.add(String(archive));
    }
    this.#options.changed();
  }

  #mark(storage: string, archive: string, damage: string | undefined): void {
    if (this.#meanwhile?.storage === storage) this.#meanwhile.damage.set(archive, damage);
    const row = this.#of(storage).get(archive);
    if (row === undefined || row.damage === damage) return;
    this.#of(storage).set(archive, { ...row, damage });
    this.#options.changed();
  }

  #of(storage: string): Map<string, ScannedArchive> {
    const held = this.#archives.get(storage) ?? new Map<string, ScannedArchive>();
    this.#archives.set(storage, held);
    return held;
  }
}

function keyOf({ agent, backup, name }: ScannedArchive): string {
  return `${agent}/${backup}/${name}`;
}
