/**
 * What must be true of the files in the storage: archives are what was made, byte for byte, the newest `max_backups` that
 * were committed stand and survive a crash, and nothing is done outside the storage's directory.
 */
import { must } from "#base/assert.ts";
import type { DiskEvent } from "#test/support/memory-file.ts";
import type { MemoryDisk } from "#test/support/memory-disk.ts";
import type { DiskView } from "#test/support/memory-nodes.ts";
import { STATE_DIR } from "./server-host.ts";
import type { Spoils } from "./spoils.ts";
import type { SessionFacts, Witness } from "./witness.ts";

export interface ArchiveCheckOptions {
  readonly witness: Witness;
  readonly spoils: Spoils;
  readonly disk: () => MemoryDisk;
  readonly baseDir: string;
  readonly maxBackups: number;
  /** The disk did not give a session back: it may be in the middle of its commit. */
  readonly isUnread: (session: string) => boolean;
  /** Every archive is verified after its commit. */
  readonly verifyIntegrity: boolean;
  /** A read may fail. */
  readonly unreadable: boolean;
}

const ARCHIVE = /^[\dTZ-]+\.tar\.(gz|zst)$/;
const MARK = /^[\dTZ-]+\.tar\.(gz|zst)\.damaged$/;
const ENDED_FILE = `${STATE_DIR}/ended-sessions.json`;
const COMPANION = /^[\dTZ-]+(\.tar\.(gz|zst)\.sha256|\.idx)$/;

/** Calls that change something at their path. */
const CHANGING: ReadonlySet<string> = new Set([
  ...["create", "mkdir", "rmdir", "link", "rename", "unlink", "chown", "chmod", "lock", "write", "truncate"],
]);

export class ArchiveChecks {
  readonly #options: ArchiveCheckOptions;

  constructor(options: ArchiveCheckOptions) {
    this.#options = options;
  }

  /** Before a call of the server's disk. */
  before({ call, path }: DiskEvent): void {
    const { baseDir, witness } = this.#options;
    if (!CHANGING.has(call)) return;
    if (!`${path}/`.startsWith(`${baseDir}/`) && !path.startsWith(`${STATE_DIR}/`))
      witness.broken(`${call} of ${path}, outside the storage`);
    const relative = path.slice(baseDir.length + 1);
    if (call === "unlink" || call === "rename") this.#mayGo(relative);
    const journal = /^\.nbackup\/sessions\/([^/]+)\/journal$/.exec(relative)?.[1];
    if (call === "unlink" && journal !== undefined) witness.removes(journal);
    if (call === "rename" && path === ENDED_FILE) this.#willBeRemoved();
  }

  /**
   * Everything in the storage. `bytes`: compared, which takes a while. `settled`: nobody is in the middle of a commit, so that
   * an archive that stands is committed, unless its session is still to be read.
   */
  inspect(how: { readonly bytes: boolean; readonly settled: boolean }): void {
    const { witness, disk, baseDir, isUnread } = this.#options;
    for (const [path, content] of disk().tree(baseDir)) {
      if (path.endsWith("/") || path.startsWith(".nbackup/")) continue;
      const name = path.slice(path.lastIndexOf("/") + 1);
      if (ARCHIVE.test(name)) {
        const session = this.#inspectArchive(path, how.bytes);
        // Also one that a recovery committed without a word to anybody.
        if (session !== undefined && how.settled && !isUnread(session.id)) witness.checkedCommit(session);
        if (how.settled && how.bytes) this.#inspectVerified(path);
      } else if (MARK.test(name)) {
        this.#inspectMark(path);
      } else if (!COMPANION.test(name) || typeof content === "string") {
        witness.broken(`a stranger in the storage: ${path}`);
      }
    }
    for (const entry of new Set([...witness.sessions.values()].map((session) => session.entry))) {
      this.#newestStand(entry, "now");
      this.#newestStand(entry, "durable");
    }
  }

  /** The files of a session that has just been committed. */
  committed(session: SessionFacts): void {
    this.#inspectArchive(session.archive, true);
    this.#newestStand(session.entry, "now");
    this.#newestStand(session.entry, "durable");
  }

  /** The sessions that the list names have ended, although their disk does not let go of them: no start goes on with one. */
  #willBeRemoved(): void {
    const { witness, disk } = this.#options;
    const list = must(disk().content(`${ENDED_FILE}.new`, "now"), "the list that is put in its place");
    for (const [, id] of list.bytes.toString().matchAll(/"([0-9a-f-]{36})"/g)) witness.removes(must(id, "an id"));
  }

  /** An archive that was committed may go only when `max_backups` newer ones are on the disk to stay. */
  #mayGo(path: string): void {
    const { witness, maxBackups } = this.#options;
    if (path.startsWith(".nbackup/") || !ARCHIVE.test(path.slice(path.lastIndexOf("/") + 1))) return;
    const sessions = this.#sessionsOf(path.slice(0, path.lastIndexOf("/")));
    if (sessions.find((session) => session.archive === path)?.committed !== true) return;
    const newer = sessions.filter((session) => session.archive > path && this.#stands(session, "durable"));
    const good = newer.filter(({ archive }) => !this.#isMarked(archive));
    if (good.length < maxBackups)
      witness.broken(`${path} is removed while ${good.length} newer good archives stand, expected ${maxBackups}`);
  }

  /** What was committed stands, unless `max_backups` newer ones do. */
  #newestStand(entry: string, view: DiskView): void {
    const { witness, maxBackups } = this.#options;
    let newer = 0;
    for (const session of this.#sessionsOf(entry).sort((a, b) => (a.archive < b.archive ? 1 : -1))) {
      if (this.#stands(session, view)) newer += 1;
      else if (session.committed && newer < maxBackups) {
        witness.broken(`${session.archive} was committed and is gone (${view}), ${newer} newer ones stand`);
      }
    }
  }

  #isMarked(archive: string): boolean {
    return this.#options.disk().content(`${this.#options.baseDir}/${archive}.damaged`, "now") !== undefined;
  }

  /** Only an archive that stands is marked, and only when something happened to it. */
  #inspectMark(path: string): void {
    const { witness, spoils, disk, baseDir, verifyIntegrity, unreadable } = this.#options;
    const name = path.slice(0, -".damaged".length);
    const archive = disk().content(`${baseDir}/${name}`, "now");
    const spoiled = [...witness.sessions.values()].some((one) => one.archive === name && spoils.has(one.id));
    if (!verifyIntegrity) witness.broken(`${path}, and nobody verifies`);
    else if (archive === undefined) witness.broken(`${path} marks nothing`);
    else if (!unreadable && !spoiled) witness.broken(`${path} marks an archive that is whole`);
  }

  /** After its verification an archive that is not what was made is marked. */
  #inspectVerified(path: string): void {
    const { witness, disk, baseDir, verifyIntegrity } = this.#options;
    if (!verifyIntegrity || this.#isMarked(path)) return;
    const made = [...witness.sessions.values()]
      .find((one) => one.archive === path && one.committed)
      ?.production?.bytes(0);
    const found = disk().content(`${baseDir}/${path}`, "now")?.bytes;
    if (made !== undefined && found !== undefined && Buffer.compare(made, found) !== 0)
      witness.broken(`${path} is damaged, and its verification did not find it`);
  }

  #sessionsOf(entry: string): SessionFacts[] {
    return [...this.#options.witness.sessions.values()].filter((session) => session.entry === entry);
  }

  #stands({ archive, production }: SessionFacts, view: DiskView): boolean {
    const found = this.#options.disk().content(`${this.#options.baseDir}/${archive}`, view);
    return found !== undefined && found.bytes.length === production?.bytes(0).length;
  }

  #inspectArchive(path: string, compare: boolean): SessionFacts | undefined {
    const { witness, spoils, disk, baseDir } = this.#options;
    const found = disk().content(`${baseDir}/${path}`, "now");
    if (found === undefined) return undefined;
    // A name is free again when its session was not committed: of several it is the one that was, or that fits.
    const candidates = [...witness.sessions.values()].filter((one) => one.archive === path);
    const session =
      candidates.find((one) => one.committed) ?? candidates.findLast((one) => one.finishes > 0) ?? candidates.at(-1);
    if (session === undefined) {
      witness.broken(`an archive of no session: ${path}`);
      return undefined;
    }
    const production = must(session.production, `production of session ${session.id}`);
    const made = production.bytes(0);
    if (found.bytes.length !== made.length)
      witness.broken(`${path} has ${found.bytes.length} bytes, ${made.length} were made`);
    if (!compare) return session;
    const about = { session: session.id, which: "unseen" } as const;
    const at = spoils.difference({ ...about, file: 0 }, found.bytes, made);
    if (at !== undefined) witness.broken(`${path} differs from what was read at byte ${at}`);
    const index = production.bytes(1);
    const indexFile = disk().content(`${baseDir}/${path.replace(/\.tar\.(gz|zst)$/, ".idx")}`, "now");
    if (indexFile !== undefined && spoils.difference({ ...about, file: 1 }, indexFile.bytes, index) !== undefined)
      witness.broken(`the index of ${path} is not what was made`);
    const checksum = disk().content(`${baseDir}/${path}.sha256`, "now");
    const line = `${production.sha256()}  ${path.slice(path.lastIndexOf("/") + 1)}\n`;
    if (checksum !== undefined && checksum.bytes.toString("latin1") !== line)
      witness.broken(`the checksum of ${path} says something else`);
    return session;
  }
}
