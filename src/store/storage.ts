/**
 * One named storage: a base directory, its lock, its archives and the sessions that write into it. One server per
 * storage (ARCHITECTURE.md). It admits nobody and knows no agents: that is the server's policy.
 */
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { ArchiveHealth } from "./archive-health.ts";
import { type Entry, type EntrySelection, earlierSizes, listArchives, type StoredArchive } from "./archive-list.ts";
import { archiveFileName, archiveTimeMs, entryDirectory, isSessionId } from "./archive-names.ts";
import { allOf } from "./at-once.ts";
import { BufferPool } from "./buffer-pool.ts";
import { BusyEntries } from "./busy-entries.ts";
import { ChunkBuffer } from "./chunk-buffer.ts";
import { placeArchive } from "./commit.ts";
import { CommitLog } from "./commit-log.ts";
import { diskFailure, type DiskLock } from "./disk.ts";
import { HashTurns } from "./hash-turns.ts";
import { type CommitIntent, type CommitRecord, fromHex, type JournalHead } from "./records.ts";
import { type EachPruned, type PrunedEntry, pruneEntries } from "./prune.ts";
import { LeftOvers } from "./left-overs.ts";
import { recoverSessions, type Survivor } from "./recovery.ts";
import { type EntryRotation, rotateEntry } from "./rotate.ts";
import type { RotationRule } from "./rotation.ts";
import { probe, takeLock, unusable } from "./storage-access.ts";
import { createSessionFiles, type SessionFiles, type StagingOptions } from "./session-files.ts";
import { SessionRemovals } from "./session-removals.ts";
import { type SessionParts, SessionStore } from "./session-store.ts";
import type { CommitAnswer, SessionEvents, SessionRequest } from "./session-types.ts";
import type { StagingCounters } from "./lazy-placement.ts";
import { reserveBytes, type StorageSpace } from "./space.ts";
import type { StorageOptions, StorageRules } from "./storage-options.ts";
import { StorageRoot } from "./storage-root.ts";
import { Turns } from "./turns.ts";
import { Verifications } from "./verifications.ts";

/** Totals of the last committed session of an entry. */
export interface CommittedTotals {
  readonly bytes: number;
  readonly entries: number;
  readonly rawBytes: number;
}

/** A session of an earlier start of the server. One of the three must be called, once. */
export interface LeftSession {
  readonly head: JournalHead;
  /** It goes on. */
  adopt(events: SessionEvents): SessionStore;
  /** Nothing of it stays on the disk. Never rejects. */
  discard(): Promise<void>;
  /** It waits for the next start. Never rejects. */
  leave(): Promise<void>;
}

/** What a storage is made of once it is open. */
interface Opened {
  readonly root: StorageRoot;
  readonly lock: DiskLock;
  readonly commits: CommitLog;
  readonly health: ArchiveHealth;
}

export class Storage {
  readonly name: string;
  readonly verifications: Verifications;
  #options: StorageOptions;
  readonly #opened: Opened;
  readonly #pool = new BufferPool();
  readonly #removals: SessionRemovals;
  readonly #turns: HashTurns;
  readonly #buffer: ChunkBuffer;
  #staging: StagingOptions & { readonly counters: StagingCounters };
  /** Of the sessions that run here, or are being made. */
  readonly #busy = new BusyEntries();
  /** By agent: its entries share a directory, so commits and rotations change it one after another. Those of others need not wait. */
  readonly #changes = new Turns();
  readonly #left = new LeftOvers<LeftSession>();
  /** Its lock is given back, or is about to be: nothing begins here any more. */
  #closed = false;

  private constructor(options: StorageOptions, opened: Opened) {
    this.name = options.name;
    this.#options = options;
    this.#opened = opened;
    const { name, log, ended } = options;
    this.#removals = new SessionRemovals({ root: opened.root, name, log, ended });
    this.#turns = new HashTurns(options.clock);
    this.#buffer = options.buffer ?? new ChunkBuffer({ bytesMax: 0, drainRatio: 0, clock: options.clock });
    // A session of an earlier start may be lazy where the storage no longer is: syncing each chunk is always right.
    this.#staging = { chunkFsync: true, ...options.staging, counters: { stagedChunks: 0, assembledBytes: 0 } };
    const { root, commits, health } = opened;
    this.verifications = new Verifications({
      ...{ storage: options.name, root, commits, health, turns: this.#changes },
      rotate: (entry) => this.#rotateNow(entry),
    });
  }

  /**
   * Makes the directory ready, takes its lock and cleans up after sessions of a server that died. Rejects with
   * E_LOCKED when another process has it, E_STORAGE_FAILED when it cannot be used.
   */
  static async open(options: StorageOptions): Promise<Storage> {
    const { disk, baseDir, clock, log } = options;
    const failed = unusable(`storage ${options.name}: ${baseDir} cannot be used`);
    const root = await StorageRoot.open(disk, baseDir, options.established ?? false).catch(failed);
    const lock = await takeLock(root, options.name).catch(failed);
    let commits: CommitLog | undefined;
    let health: ArchiveHealth | undefined;
    try {
      await probe(root);
      commits = await CommitLog.open(root, log, clock.wall());
      health = await ArchiveHealth.open(root, clock, log);
      const storage = new Storage(options, { root, lock, commits, health });
      await storage.#recover();
      return storage;
    } catch (error) {
      try {
        await Promise.all([commits?.close(), health?.close()]);
      } finally {
        await lock.release();
      }
      return failed(error);
    }
  }

  /** Other rules from now on; sessions that run keep those of how their bytes are written. */
  configure(rules: StorageRules): void {
    this.#options = { ...this.#options, ...rules };
    this.#staging = { chunkFsync: true, ...rules.staging, counters: this.#staging.counters };
  }

  /** Chunks staged and bytes assembled since the storage was opened. */
  get staging(): Readonly<StagingCounters> {
    return { ...this.#staging.counters };
  }

  /**
   * Sessions of an earlier start of the server that can go on, those that ended with it, and those that it had as good as
   * committed. Each is handed out once; the entries of the first are busy until they are over.
   */
  takeLeft(): ReturnType<LeftOvers<LeftSession>["take"]> {
    return this.#left.take();
  }

  /**
   * Since when, by the clock, a session of an earlier start lies here that could not be read, or whose commit could not be
   * carried out; undefined when it does not. Nobody can say how it ended.
   */
  unreadSince(session: string): number | undefined {
    return this.#left.unreadSince(session);
  }

  /** Tries again to deal with those, and says whether there were any; what comes of it is taken with `takeLeft`. Never rejects. */
  async readAgain(): Promise<boolean> {
    const { unread } = this.#left;
    if (unread.length > 0) await this.#recover(unread);
    return unread.length > 0;
  }

  /** Archives of an entry, oldest first. Rejects with E_NAME, E_STORAGE_FAILED. */
  archives(agent: string, backup: string): Promise<StoredArchive[]> {
    const directory = entryDirectory(agent, backup);
    return listArchives(this.#opened.root, { agent, backup }).catch(
      unusable(`storage ${this.name}: ${directory} cannot be read`),
    );
  }

  /**
   * False when the base directory is not what was opened: its disk was unmounted, or something else took its place. Rejects
   * with E_STORAGE_FAILED when the disk does not say.
   */
  present(): Promise<boolean> {
    const { root } = this.#opened;
    return root.present().catch(unusable(`storage ${this.name}: ${root.baseDir} cannot be looked at`));
  }

  /** True while sessions run here, or wait to be taken. */
  get inUse(): boolean {
    return this.#busy.size > 0;
  }

  /** Undefined when none is known. */
  lastCommitted(agent: string, backup: string): CommittedTotals | undefined {
    return this.#opened.commits.newest(agent, backup);
  }

  /** The answer that a session's Finish got, for 30 days or 10,000 sessions; also who may ask for it. */
  commitRecord(session: string): CommitRecord | undefined {
    return this.#opened.commits.find(session);
  }

  /** Free space and reserve now; `fits` and `missingBytes` of space.ts judge it. Rejects with E_STORAGE_FAILED. */
  async space(): Promise<StorageSpace> {
    const failed = unusable(`storage ${this.name}: the free space cannot be read`);
    const space = await this.#options.disk.space(this.#opened.root.baseDir).catch(failed);
    return { ...space, reserveBytes: reserveBytes(this.#options.reserve, space.totalBytes) };
  }

  /** Begins a session. Rejects with E_NAME, E_BUSY (the entry has a session here), E_DISK, E_DISK_FULL, E_STORAGE_FAILED. */
  async createSession(request: SessionRequest, events: SessionEvents): Promise<SessionStore> {
    const directory = entryDirectory(request.agent, request.backup);
    for (const id of [request.session, request.run]) {
      if (!isSessionId(id)) throw new Failure("E_NAME", `${JSON.stringify(id)} is not a session id`);
    }
    this.#checkOpen();
    if (this.#busy.has(request)) throw new Failure("E_BUSY", `${directory} has a session that is not over`);
    this.#busy.take(request);
    try {
      return await this.#create(request, directory, events);
    } catch (error) {
      this.#busy.free(request);
      throw diskFailure(error, `storage ${this.name}: beginning a session of ${directory}`);
    }
  }

  /** Applies the rotation now; the archives that were removed (with `dryRun`: would be). Rejects as `archives` does. */
  async rotate(agent: string, backup: string, options: { readonly dryRun: boolean }): Promise<string[]> {
    entryDirectory(agent, backup);
    const { removed } = await this.#rotate({ agent, backup }, this.#options, options.dryRun);
    return removed.map(({ archive }) => archive);
  }

  /** Applies a rotation to all selected entries. Rejects with E_NAME, E_STORAGE_FAILED. */
  prune(selection: EntrySelection, rule: RotationRule, dryRun: boolean, each?: EachPruned): Promise<PrunedEntry[]> {
    const rotate = (entry: Entry): Promise<EntryRotation> => this.#rotate(entry, rule, dryRun);
    return pruneEntries(this.#opened.root, selection, rotate, each).catch(
      unusable(`storage ${this.name}: its archives cannot be read`),
    );
  }

  /** Rejects with E_STORAGE_FAILED when nothing may be written there. Writes nothing. */
  writable(): Promise<void> {
    const { disk, baseDir } = this.#opened.root;
    return disk.writable(baseDir).catch(unusable(`storage ${this.name}: ${baseDir} cannot be written`));
  }

  /** Removes what is left of sessions that have ended, where that failed before. Never rejects; writes nothing when there is none. */
  tidy(): Promise<void> {
    return this.#removals.again();
  }

  /** It is about to be closed: from now on nothing begins here. */
  retire(): void {
    this.#closed = true;
  }

  /** Gives the lock back. Sessions must have been committed or aborted before; of a prune that is under way the rest is left. */
  async close(): Promise<void> {
    this.retire();
    await this.#changes.idle();
    // Nobody took them: the next start finds them as this one did.
    for (const left of this.#left.take().sessions) await left.leave();
    const { commits, health, lock } = this.#opened;
    await allOf([commits.close(), health.close()]).finally(() => lock.release());
  }

  /** Who had it opened may come a moment too late. Throws Failure E_STORAGE_FAILED. */
  #checkOpen(): void {
    if (this.#closed) throw new Failure("E_STORAGE_FAILED", `storage ${this.name} is closed`);
  }

  async #create(request: SessionRequest, directory: string, events: SessionEvents): Promise<SessionStore> {
    const { staging } = this.#options;
    const timeMs = await this.#archiveTime(request);
    const archive = `${directory}/${archiveFileName(timeMs, request.compression)}`;
    const lazy = staging === undefined ? {} : { staging: { shardLevels: staging.shardLevels } };
    const head: JournalHead = { ...request, archive, ...lazy };
    const files = await createSessionFiles(this.#opened.root, head, this.#staging, this.#removals);
    return this.#openStore(head, files, events);
  }

  #openStore(
    head: JournalHead,
    files: SessionFiles,
    events: SessionEvents,
    recovered?: SessionParts["recovered"],
  ): SessionStore {
    const { clock, log, pendingBytesMax } = this.#options;
    const endings = this.#endings(head, files);
    return new SessionStore({
      ...{
        head,
        files,
        pool: this.#pool,
        buffer: this.#buffer,
        turns: this.#turns,
        clock,
        log,
        pendingBytesMax,
        events,
      },
      ...(recovered === undefined ? {} : { recovered }),
      ...endings,
      commit: async (intent, rotating) => {
        const answer = await this.#commit(intent, files, rotating);
        this.#busy.free(head);
        return answer;
      },
    });
  }

  /** The two ways to let go of a session that is not committed; its entry is free afterwards. */
  #endings(head: JournalHead, files: SessionFiles): Pick<SessionParts, "discard" | "leave"> {
    const free = (): void => this.#busy.free(head);
    return {
      discard: () => this.#removals.remove(head.session, files).finally(free),
      leave: () => this.#leave(head.session, files).finally(free),
    };
  }

  /** Rejects when the sessions cannot be listed; not of `only` these. */
  async #recover(only?: readonly string[]): Promise<void> {
    const { root, commits } = this.#opened;
    const { log } = this.#options;
    const commit = (intent: CommitIntent): Promise<CommitAnswer> => this.#commit(intent, undefined);
    const parts = { root, commits, log, staging: this.#staging, removals: this.#removals, commit };
    const found = await recoverSessions(parts, only);
    const sessions = found.survivors.map((survivor) => this.#leftSession(survivor));
    this.#left.add(found, sessions, this.#options.clock.now());
  }

  #leftSession({ head, files, ledgers }: Survivor): LeftSession {
    // One that was read only now may find a rival here; the server lets one of them go on.
    if (!this.#busy.has(head)) this.#busy.take(head);
    return {
      ...this.#endings(head, files),
      head,
      adopt: (events) => {
        this.#busy.take(head);
        return this.#openStore(head, files, events, ledgers);
      },
    };
  }

  /** The clock at admission, raised so that archives sort in the order in which they were begun. */
  async #archiveTime(request: SessionRequest): Promise<number> {
    const archives = await this.archives(request.agent, request.backup);
    const last = this.#opened.commits.newest(request.agent, request.backup)?.archive;
    const lastMs = last === undefined ? undefined : archiveTimeMs(last.slice(last.lastIndexOf("/") + 1));
    const newestMs = Math.max(archives.at(-1)?.timeMs ?? -1, lastMs ?? -1);
    return Math.max(Math.floor(request.startWallMs), newestMs + 1);
  }

  #rotate(entry: Entry, rule: RotationRule, dryRun: boolean): Promise<EntryRotation> {
    const { root, commits, health } = this.#opened;
    const { clock, log } = this.#options;
    const failed = unusable(`storage ${this.name}: ${entry.agent}/${entry.backup} cannot be read`);
    const standing = health.standing((archive) => commits.isPending(archive));
    return this.#changes.run(entry.agent, async () => {
      this.#checkOpen();
      const options = { rule, nowWallMs: clock.wall(), dryRun, log, standing };
      const rotation = await rotateEntry(root, entry, options).catch(failed);
      if (!dryRun) health.forget(rotation.removed.map(({ archive }) => archive));
      return rotation;
    });
  }

  /** Carries out a commit whose intent is synced, and all that follows. `files` are still open, unless recovered. */
  async #commit(intent: CommitIntent, files: SessionFiles | undefined, rotating?: () => void): Promise<CommitAnswer> {
    const { root, commits } = this.#opened;
    const { log, clock } = this.#options;
    const verify = this.#options.verifyIntegrity === true ? "pending" : "none";
    await this.#changes.run(intent.agent, () => placeArchive(root, intent, log));
    // The archive stands: nothing below may fail the session any more.
    try {
      await commits.add(intent, Math.floor(clock.wall()), verify);
      // A crash before this leaves the session's directory with the intent: the next start writes the record.
      await this.#removals.remove(intent.session, files);
    } catch (error) {
      // Without a record on the disk the directory stays, so that the next start can write it.
      log.error("the commit record could not be written", { archive: intent.archive, error: String(error) });
      if (files !== undefined) await this.#removals.close(files);
    }
    const earlierBytes = await this.#complained(earlierSizes(root, intent));
    const earlier = earlierBytes.length > 0 ? { earlierBytes } : {};
    rotating?.();
    const removed = intent.holdRotation === true ? [] : await this.#rotateNow(intent);
    await commits.addRemoved(intent.session, removed).catch((error: unknown) => this.#removals.complain(error));
    const { bytes, sha256 } = must(intent.files[0], "the archive of an intent");
    const { session, archive } = intent;
    return { session, archive, bytes, sha256: fromHex(sha256), removed, verify, ...earlier };
  }

  /** What was removed; what fails is left for the next rotation. */
  #rotateNow({ agent, backup }: Entry): Promise<string[]> {
    return this.#complained(this.rotate(agent, backup, { dryRun: false }));
  }

  #complained<T>(list: Promise<T[]>): Promise<T[]> {
    return list.catch((error: unknown) => {
      this.#removals.complain(error);
      return [];
    });
  }

  /** Closes a session's files for the next start. Of a journal that failed that one could not tell what is on the disk. */
  #leave(session: string, files: SessionFiles): Promise<void> {
    return files.journal.broken ? this.#removals.remove(session, files) : this.#removals.close(files);
  }
}
