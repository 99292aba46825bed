/**
 * Reads archives again after their commit, one at a time of each disk (verify-lanes.ts), and has the storage keep what it finds. What it has
 * not come to when the server stops stands in the commit records, and goes on after the next start. How an archive is judged is passed in;
 * who waits for a result asks by `watch`.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import { toFailure } from "#base/errors.ts";
import type { EventSink } from "#observe/events.ts";
import type { ArchiveToJudge } from "#restore/judge.ts";
import { closeOpened, type OpenedFile } from "#store/archive-file.ts";
import type { Finding } from "#store/damage-mark.ts";
import type { DiskFile } from "#store/disk.ts";
import type { VerifyResult } from "#store/session-types.ts";
import type { Storage } from "#store/storage.ts";
import { type Recorded, resultOf } from "#store/verifications.ts";
import { PHASE_STEP_MS, VERIFY_MEMORY_BYTES, VERIFY_RETRY_MS, VERIFY_RETRY_MS_MAX } from "./limits.ts";
import type { ServerMetrics } from "./server-metrics.ts";
import { archivesRemoved } from "./session-ends.ts";
import type { StorageShelf } from "./storage-shelf.ts";
import { VerifyAccess } from "./verify-access.ts";
import { archiveUnverified, archiveVerified, indexDamaged, type VerifiedArchive } from "./verify-events.ts";
import { VerifyLanes } from "./verify-lanes.ts";

export interface VerifyTask {
  readonly signal: AbortSignal;
  /** Is given a look at how many bytes of the archive were read, which can be asked at any time. */
  readonly onStart: (readBytes: () => number) => void;
}

export interface Judged {
  readonly finding: Finding;
  /** What is wrong with the index that lies beside it, in words. */
  readonly indexFault?: string | undefined;
}

/**
 * Judges an archive. What comes when the signal has aborted is not looked at.
 * Rejects when nothing can be said of the archive.
 */
export type VerifyArchive = (wanted: ArchiveToJudge, task: VerifyTask) => Promise<Judged>;

export interface VerifyWatcher {
  /** Bytes, now and then. */
  progress(done: number, total: number): void;
  /** Once; nothing follows. */
  result(result: VerifyResult): void;
}

export interface VerifierOptions {
  readonly storages: StorageShelf;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly metrics: ServerMetrics;
  readonly verify: VerifyArchive;
  /** Which disk a base directory lies on: of storages that give the same text one archive is read at a time. */
  readonly diskKey: (baseDir: string) => Promise<string>;
  /** A verification is over: its memory is free. */
  readonly onRoom: () => void;
  /** Sessions run, and come first. */
  readonly busy: () => boolean;
}

/** What is being read. */
export interface VerifyingNow extends VerifiedArchive {
  readonly done: number;
  readonly total: number;
}

interface Job extends VerifiedArchive {
  /** Whose commit waits for the result; undefined for a scrub, as long as no commit waits for the same archive. */
  session: string | undefined;
  /** How often it could not be verified. */
  attempts: number;
  /** It is over, unless the server stops; true when its result was kept. */
  readonly over?: (kept: boolean) => void;
}

type Counts = Parameters<typeof archiveVerified>[2];

export class Verifier {
  readonly #options: VerifierOptions;
  readonly #lanes: VerifyLanes<Job>;
  #stopped = false;
  /** By storage and archive: in the queue, being read, or to be tried again. */
  readonly #known = new Map<string, Job>();
  /** Jobs that wait to be tried again, by their key. */
  readonly #retries = new Map<string, { readonly job: Job; readonly timer: Timer }>();
  /** By session. */
  readonly #watchers = new Map<string, Set<VerifyWatcher>>();
  /** What is being read, in the order in which it was begun. */
  readonly #reading = new Set<VerifiedArchive & { readBytes: () => number; readonly total: number }>();

  constructor(options: VerifierOptions) {
    this.#options = options;
    const { storages, diskKey } = options;
    this.#lanes = new VerifyLanes({
      diskOf: async (storage) => await diskKey(storages.config(storage).baseDir),
      work: (job, signal) => this.#one(job, signal),
    });
  }

  /**
   * A storage was opened: what waits in it since an earlier start goes on, and what could not be verified is tried at once. Or it was only
   * looked at again: then that waits for its time.
   */
  opened({ name, verifications }: Storage, anew: boolean): void {
    for (const { session, archive } of verifications.pending()) {
      const retry = this.#retries.get(keyOf({ storage: name, archive }));
      if (retry === undefined) this.committed(name, session, archive);
      else if (anew) this.#again(retry);
    }
  }

  committed(storage: string, session: string, archive: string): void {
    this.#add({ storage, session, archive, by: "verify_integrity", attempts: 0 });
  }

  /** Reads an archive that nobody waits for. `over` is called unless the server stops; with true when the result was kept. */
  scrub(storage: string, archive: string, over: (kept: boolean) => void): void {
    if (!this.#add({ storage, archive, session: undefined, by: "scrub", attempts: 0, over })) over(false);
  }

  get count(): number {
    return this.#known.size;
  }

  /** Archives of a storage that wait for their verification or are being read. */
  countOf(storage: string): number {
    return [...this.#known.values()].filter((job) => job.storage === storage).length;
  }

  /** The archive of that session waits for its verification, or is being read: `watch` will hear of it. */
  awaits(session: string): boolean {
    return [...this.#known.values()].some((job) => job.session === session);
  }

  /** Nothing of that storage is read, or waits for its turn. */
  idle(storage: string): boolean {
    return this.#lanes.idle(storage);
  }

  /** What `memory_limit` counts of what is being read. */
  get memoryBytes(): number {
    return this.#reading.size * VERIFY_MEMORY_BYTES;
  }

  /** What was begun last. */
  get now(): VerifyingNow | undefined {
    const last = [...this.#reading].at(-1);
    if (last === undefined) return undefined;
    const { storage, archive, by, readBytes, total } = last;
    return { storage, archive, by, done: readBytes(), total };
  }

  /** Somebody waits for the result of a session's archive. The return value ends that. */
  watch(session: string, watcher: VerifyWatcher): () => void {
    const watchers = this.#watchers.get(session) ?? new Set();
    this.#watchers.set(session, watchers.add(watcher));
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(session) === watchers) this.#watchers.delete(session);
    };
  }

  /**
   * The storage left the configuration: nothing of it is read any more, and its files are closed when this resolves. What waits stands in
   * its records, for when it comes back. Never rejects.
   */
  async leave(storage: string): Promise<void> {
    const { waiting, over } = this.#lanes.leave(storage);
    for (const job of waiting) this.#left(job);
    for (const { job, timer } of [...this.#retries.values()]) {
      if (job.storage !== storage) continue;
      timer.cancel();
      this.#retries.delete(keyOf(job));
      this.#left(job);
    }
    await over;
  }

  /** Leaves off. Resolves when nothing is open any more. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { timer } of this.#retries.values()) timer.cancel();
    await this.#lanes.stop();
  }

  /** False when it is known already, or the server stops. */
  #add(job: Job): boolean {
    const key = keyOf(job);
    const known = this.#known.get(key);
    if (known !== undefined) known.session ??= job.session;
    if (this.#stopped || known !== undefined) return false;
    this.#known.set(key, job);
    this.#lanes.add(job);
    return true;
  }

  async #one(job: Job, signal: AbortSignal): Promise<void> {
    let kept = false;
    try {
      const result = signal.aborted ? "stopped" : await this.#verify(job, signal);
      if (result === "stopped") {
        this.#left(job);
        return;
      }
      kept = true;
      this.#known.delete(keyOf(job));
      this.#tell(job, result);
    } catch (error) {
      if (signal.aborted) {
        this.#left(job);
        return;
      }
      const { code, message } = toFailure(error);
      this.#options.events.emit(archiveUnverified(job, message));
      this.#tell(job, { result: "unknown", message });
      // A storage that left the configuration has what waits in its records, for when it comes back.
      if (code === "E_STORAGE_UNKNOWN") this.#known.delete(keyOf(job));
      else this.#later(job);
    }
    job.over?.(kept);
  }

  /** It was not read to its end. Who waits for a server that stops hears of that, and comes again. */
  #left(job: Job): void {
    if (this.#stopped) return;
    this.#known.delete(keyOf(job));
    this.#tell(job, { result: "unknown", message: `storage ${job.storage} is no longer in the configuration` });
    job.over?.(false);
  }

  /** Rejects when nothing could be found out, or not be kept. */
  async #verify(job: Job, signal: AbortSignal): Promise<VerifyResult | "stopped"> {
    const { storages, clock } = this.#options;
    const { storage: name, archive, by } = job;
    const { verifications } = await storages.open(name);
    const opened = await verifications.open(archive);
    if (opened === undefined) return await this.#gone(job, "it was removed before it was read");
    const startedAtMs = clock.now();
    const { finding, indexFault } = await this.#read(job, opened, signal);
    if (signal.aborted) return "stopped";
    if (indexFault !== undefined) this.#options.events.emit(indexDamaged(job, indexFault));
    const counts = { archiveBytes: opened.identity.bytes, durationMs: clock.now() - startedAtMs };
    const now = await storages.open(name);
    const recording = now.verifications.record(archive, opened.identity, finding, by);
    if (!(await this.keep(job, finding, counts, recording))) {
      return await this.#gone(job, "it was removed or replaced while it was read");
    }
    return resultOf(finding);
  }

  async #read(job: Job, opened: OpenedFile, signal: AbortSignal): Promise<Judged> {
    const { file, identity, sha256 } = opened;
    const { clock, busy, verify } = this.#options;
    const total = identity.bytes;
    const { storage, archive, by } = job;
    const now = { storage, archive, by, readBytes: (): number => 0, total };
    this.#reading.add(now);
    const access = (bytes: DiskFile, size: number): VerifyAccess =>
      new VerifyAccess({ file: bytes, size, clock, busy, signal });
    const index = opened.index === undefined ? undefined : access(opened.index.file, opened.index.bytes);
    const ticker = every(clock, PHASE_STEP_MS, () => {
      for (const watcher of this.#watchersOf(job)) watcher.progress(now.readBytes(), total);
    });
    const onStart = (readBytes: () => number): void => {
      now.readBytes = readBytes;
    };
    try {
      return await verify({ archive: access(file, total), index, sha256 }, { signal, onStart });
    } finally {
      ticker.cancel();
      this.#reading.delete(now);
      this.#options.onRoom();
      await closeOpened(opened);
    }
  }

  /**
   * Whoever verified it, the running server tells, once it is recorded; a damage also when that fails: a disk that takes no mark is the
   * one that damages archives. Resolves with whether it was recorded, and rejects as `recording` does.
   */
  async keep(where: VerifiedArchive, finding: Finding, counts: Counts, recording: Promise<Recorded>): Promise<boolean> {
    try {
      const { recorded, removed } = await recording;
      if (recorded) this.#found(where, finding, counts, removed);
      return recorded;
    } catch (error) {
      if (!finding.ok) this.#found(where, finding, counts, []);
      throw error;
    }
  }

  #found(where: VerifiedArchive, finding: Finding, counts: Counts, removed: readonly string[]): void {
    const { events, metrics } = this.#options;
    const { storage, archive } = where;
    events.emit(archiveVerified(where, finding, counts));
    if (removed.length === 0) return;
    const [agent = "", backup = ""] = archive.split("/");
    metrics.archivesRemoved(storage, removed.length);
    events.emit(archivesRemoved("rotation", { storage, agent, backup }, removed));
  }

  async #gone(job: Job, reason: string): Promise<VerifyResult> {
    const result: VerifyResult = { result: "unknown", message: reason };
    if (job.session === undefined) return result;
    const { verifications } = await this.#options.storages.open(job.storage);
    await verifications.settle(job.session, result);
    this.#options.events.emit({ ...archiveUnverified(job, reason), level: "info" });
    return result;
  }

  /** Its commit still waits: rotation does not count it as good until it was read. */
  #later(job: Job): void {
    if (job.session === undefined) {
      this.#known.delete(keyOf(job));
      return;
    }
    const delayMs = Math.min(VERIFY_RETRY_MS_MAX, VERIFY_RETRY_MS * 2 ** job.attempts);
    job.attempts += 1;
    const timer = this.#options.clock.after(delayMs, () => this.#again({ job, timer }));
    this.#retries.set(keyOf(job), { job, timer });
  }

  #again({ job, timer }: { readonly job: Job; readonly timer: Timer }): void {
    timer.cancel();
    this.#retries.delete(keyOf(job));
    this.#lanes.add(job);
  }

  #tell(job: Job, result: VerifyResult): void {
    const watchers = this.#watchersOf(job);
    if (job.session !== undefined) this.#watchers.delete(job.session);
    for (const watcher of watchers) watcher.result(result);
  }

  #watchersOf({ session }: Job): VerifyWatcher[] {
    return session === undefined ? [] : [...(this.#watchers.get(session) ?? [])];
  }
}

function keyOf({ storage, archive }: Pick<VerifiedArchive, "storage" | "archive">): string {
  return `${storage} ${archive}`;
}
