/**
 * The commit records of a storage, `.nbackup/commits.jsonl`: one line of JSON per committed session, so that Finish gets
 * the same answer for 30 days or 10,000 sessions, also after the archive was rotated away, and so that the last totals of
 * each entry are known for ever. A torn last line is a commit that nobody was told of: its session still has its intent.
 */
import { must } from "#base/assert.ts";
import type { Logger } from "#base/log.ts";
import { type DiskFile, isDiskFull, orMissing } from "./disk.ts";
import { type CommitIntent, type CommitLine, type CommitRecord, fromHex, parseCommitLine } from "./records.ts";
import { CONTROL_DIRECTORY, PRIVATE_MODE, type StorageRoot } from "./storage-root.ts";

const RECORDS_MAX = 10_000;
const AGE_MAX_MS = 30 * 24 * 3600 * 1000;
/** The file is written anew when it has so many lines more than it needs: two per session, and then some. */
const LINES_MAX = 4 * RECORDS_MAX;
const FILE = `${CONTROL_DIRECTORY}/commits.jsonl`;
const NEW_FILE = `${CONTROL_DIRECTORY}/commits.jsonl.new`;

interface Kept {
  readonly intent: CommitIntent;
  readonly committedWallMs: number;
  removed: readonly string[];
}

export class CommitLog {
  readonly #root: StorageRoot;
  readonly #log: Logger;
  /** By session, oldest first. */
  readonly #records = new Map<string, Kept>();
  /** By `agent/backup`: the newest. */
  readonly #newest = new Map<string, Kept>();
  #file: DiskFile | undefined;
  #length = 0;
  #lines = 0;
  /** Appends are done one after another. */
  #last: Promise<void> = Promise.resolve();

  private constructor(root: StorageRoot, log: Logger) {
    this.#root = root;
    this.#log = log;
  }

  /** Reads the records and drops what is old or torn. Rejects with what the disk throws. */
  static async open(root: StorageRoot, log: Logger, nowWallMs: number): Promise<CommitLog> {
    const commits = new CommitLog(root, log);
    try {
      const clean = await commits.#load(nowWallMs);
      if (!clean) await commits.#tidy();
      return commits;
    } catch (error) {
      await commits.close();
      throw error;
    }
  }

  find(session: string): CommitRecord | undefined {
    const kept = this.#records.get(session);
    return kept === undefined ? undefined : toRecord(kept);
  }

  /** The newest record of an entry. */
  newest(agent: string, backup: string): CommitRecord | undefined {
    const kept = this.#newest.get(`${agent}/${backup}`);
    return kept === undefined ? undefined : toRecord(kept);
  }

  /** Keeps the record, and resolves when it is on the disk. A rejection leaves it in memory only. */
  async add(intent: CommitIntent, committedWallMs: number): Promise<void> {
    if (this.#records.has(intent.session)) return;
    this.#keep({ intent, committedWallMs, removed: [] });
    await this.#append({ type: "commit", committedWallMs, intent });
  }

  /** Adds to a record what rotation removed for it. */
  async addRemoved(session: string, removed: readonly string[]): Promise<void> {
    const kept = this.#records.get(session);
    if (kept === undefined || removed.length === 0) return;
    kept.removed = [...removed];
    await this.#append({ type: "rotated", session, removed: [...removed] });
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#file?.close();
  }

  #keep(kept: Kept): void {
    const { session, agent, backup } = kept.intent;
    this.#records.set(session, kept);
    this.#newest.set(`${agent}/${backup}`, kept);
    const oldest = this.#records.keys().next().value;
    if (this.#records.size > RECORDS_MAX && oldest !== undefined) this.#records.delete(oldest);
  }

  #append(line: CommitLine): Promise<void> {
    const done = this.#last.then(async () => {
      if (this.#lines >= LINES_MAX) {
        await this.#rewrite();
        return;
      }
      const bytes = encodeLine(line);
      const file = must(this.#file, "commits.jsonl");
      // A torn line from an append that failed is overwritten by the next one: the length only grows when it is whole.
      await file.write(bytes, this.#length);
      await file.fdatasync();
      this.#length += bytes.length;
      this.#lines += 1;
    });
    this.#last = done.catch((error: unknown) => {
      this.#log.error("a commit record could not be written", { error: String(error) });
    });
    return done;
  }

  /** True when the file can be appended to as it is. */
  async #load(nowWallMs: number): Promise<boolean> {
    const file = await orMissing(this.#root.openFile(FILE, "read-write"));
    if (file === undefined) return false;
    this.#file = file;
    await this.#keepOnDisk(file);
    const bytes = Buffer.alloc(await file.size());
    this.#length = await file.read(bytes, 0);
    const texts = bytes.subarray(0, this.#length).toString("utf8").split("\n");
    let dropped = texts.pop() === "" ? 0 : 1;
    // A torn line at the end is overwritten by the next one.
    this.#length = bytes.lastIndexOf("\n", this.#length) + 1;
    this.#lines = texts.length;
    for (const [index, text] of texts.entries()) {
      const line = parseCommitLine(text);
      if (line === undefined) {
        dropped += 1;
        this.#log.warn("a commit record cannot be read and was dropped", { file: FILE, line: index + 1 });
      } else if (line.type === "commit") {
        this.#keep({ intent: line.intent, committedWallMs: line.committedWallMs, removed: [] });
      } else {
        const kept = this.#records.get(line.session);
        if (kept !== undefined) kept.removed = line.removed;
      }
    }
    for (const [session, kept] of this.#records) {
      if (nowWallMs - kept.committedWallMs <= AGE_MAX_MS) continue;
      this.#records.delete(session);
      dropped += 1;
    }
    return dropped === 0 && this.#lines < LINES_MAX;
  }

  /**
   * A line that a killed server wrote can be read, synced or not; because of it its session is removed, so it must not go
   * with the power. On a full disk nothing can be done about that, and rotation makes room on it.
   */
  async #keepOnDisk(file: DiskFile): Promise<void> {
    try {
      await file.fdatasync();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#log.warn("the commit records could not be synced: the disk is full", { file: FILE });
    }
  }

  /** As `#rewrite`, but a full disk must not keep the storage shut: what is there can be appended to as well. */
  async #tidy(): Promise<void> {
    try {
      await this.#rewrite();
    } catch (error) {
      if (this.#file === undefined || !isDiskFull(error)) throw error;
      this.#log.warn("the commit records could not be tidied up: the disk is full", { file: FILE });
    }
  }

  /** Writes what is kept to a new file and puts it in the place of the old one. */
  async #rewrite(): Promise<void> {
    const kept = new Set([...this.#newest.values(), ...this.#records.values()]);
    const lines = [...kept]
      .toSorted((a, b) => a.committedWallMs - b.committedWallMs)
      .flatMap(({ intent, committedWallMs, removed }): CommitLine[] => {
        const commit: CommitLine = { type: "commit", committedWallMs, intent };
        return removed.length === 0
          ? [commit]
          : [commit, { type: "rotated", session: intent.session, removed: [...removed] }];
      });
    const bytes = Buffer.concat(lines.map(encodeLine));
    // A crash before the rename leaves the old file, and a new one that the next start removes here.
    await this.#root.unlink(NEW_FILE);
    const file = await this.#root.createFile(NEW_FILE, PRIVATE_MODE);
    try {
      await file.write(bytes, 0);
      await file.fdatasync();
      await this.#root.rename(NEW_FILE, FILE);
    } catch (error) {
      await file.close();
      throw error;
    }
    // The name is the new file's, whatever happens below: appending to the old one would write into nothing.
    const old = this.#file;
    this.#file = file;
    this.#length = bytes.length;
    this.#lines = lines.length;
    await old?.close();
    // A crash here leaves one or the other; both are whole, and nothing was appended to the new one yet.
    await this.#root.sync(CONTROL_DIRECTORY);
  }
}

function encodeLine(line: CommitLine): Buffer {
  return Buffer.from(`${JSON.stringify(line)}\n`);
}

function toRecord(kept: Kept): CommitRecord {
  const { intent, committedWallMs, removed } = kept;
  const { session, agent, backup, run, archive, entries, rawBytes, problems } = intent;
  const file = must(intent.files[0], "the archive of a commit record");
  return {
    ...{ session, agent, backup, run, archive, entries, rawBytes, problems, committedWallMs, removed },
    bytes: file.bytes,
    sha256: fromHex(file.sha256),
  };
}
