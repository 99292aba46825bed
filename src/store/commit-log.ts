/**
 * The commit records of a storage, `.nbackup/commits.jsonl`: one line of JSON per committed session, so that Finish gets
 * the same answer for 30 days or 10,000 sessions, also after the archive was rotated away, and so that the last totals of
 * each entry are known for ever. A torn last line is a commit that nobody was told of: its session still has its intent.
 * Whether an archive is still to be verified after its commit, and what came of that, stands there too; until that is known its record
 * stays, however old.
 */
import { must } from "#base/assert.ts";
import type { Logger } from "#base/log.ts";
import { LineLog, readLines } from "./line-log.ts";
import { type CommitIntent, type CommitLine, type CommitRecord, fromHex, parseCommitLine } from "./records.ts";
import type { VerifyResult } from "./session-types.ts";
import { CONTROL_DIRECTORY, type StorageRoot } from "./storage-root.ts";

const RECORDS_MAX = 10_000;
const AGE_MAX_MS = 30 * 24 * 3600 * 1000;
/** The file is written anew when it has so many lines more than it needs: two or three per session, and then some. */
const LINES_MAX = 4 * RECORDS_MAX;
const FILE = `${CONTROL_DIRECTORY}/commits.jsonl`;

interface Kept {
  readonly intent: CommitIntent;
  readonly committedWallMs: number;
  readonly verify: "none" | "pending";
  removed: readonly string[];
  verified: VerifyResult | undefined;
}

export class CommitLog {
  readonly #lines: LineLog;
  /** By session, oldest first. */
  readonly #records = new Map<string, Kept>();
  /** By `agent/backup`: the newest. */
  readonly #newest = new Map<string, Kept>();
  /** By archive: those that wait for their verification. */
  readonly #pending = new Map<string, Kept>();

  private constructor(root: StorageRoot, log: Logger) {
    this.#lines = new LineLog({ root, log, file: FILE, linesMax: () => LINES_MAX, contents: () => this.#contents() });
  }

  /** Reads the records and drops what is old or torn. Rejects with what the disk throws. */
  static async open(root: StorageRoot, log: Logger, nowWallMs: number): Promise<CommitLog> {
    const commits = new CommitLog(root, log);
    try {
      const dropped = await commits.#lines.load((text) => commits.#take(text));
      commits.#evict();
      const expired = commits.#expire(nowWallMs);
      if (dropped !== 0 || expired > 0 || commits.#lines.full) await commits.#lines.tidy();
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

  /** Archives that wait for their verification, in the order of their commits. */
  pending(): CommitRecord[] {
    return [...this.#pending.values()].map(toRecord);
  }

  isPending(archive: string): boolean {
    return this.#pending.has(archive);
  }

  /** Keeps the record, and resolves when it is on the disk. A rejection leaves it in memory only. */
  async add(intent: CommitIntent, committedWallMs: number, verify: "none" | "pending"): Promise<void> {
    if (this.#records.has(intent.session)) return;
    const kept: Kept = { intent, committedWallMs, verify, removed: [], verified: undefined };
    this.#keep(kept);
    this.#evict();
    await this.#lines.append(encode(commitLine(kept)));
  }

  /** Adds to a record what rotation removed for it. */
  async addRemoved(session: string, removed: readonly string[]): Promise<void> {
    const kept = this.#records.get(session);
    if (kept === undefined || removed.length === 0) return;
    kept.removed = [...removed];
    await this.#lines.append(encode({ type: "rotated", session, removed: [...removed] }));
  }

  /** Adds to a record what its verification has found. */
  async addVerified(session: string, result: VerifyResult): Promise<void> {
    const kept = this.#records.get(session);
    if (kept === undefined) return;
    this.#verified(kept, result);
    await this.#lines.append(encode({ type: "verified", session, ...result }));
  }

  close(): Promise<void> {
    return this.#lines.close();
  }

  #keep(kept: Kept): void {
    const { session, agent, backup, archive } = kept.intent;
    this.#records.set(session, kept);
    this.#newest.set(`${agent}/${backup}`, kept);
    if (kept.verify === "pending") this.#pending.set(archive, kept);
  }

  /** Not those that wait for their verification: they would count as good without one. */
  #evict(): void {
    for (const [session, kept] of this.#records) {
      if (this.#records.size <= RECORDS_MAX) return;
      if (!this.#waits(kept)) this.#records.delete(session);
    }
  }

  #waits(kept: Kept): boolean {
    return this.#pending.get(kept.intent.archive) === kept;
  }

  #verified(kept: Kept, result: VerifyResult): void {
    kept.verified = result;
    this.#pending.delete(kept.intent.archive);
  }

  /** False when it is no line of this file. */
  #take(text: string): boolean {
    const line = parseCommitLine(text);
    if (line === undefined) return false;
    if (line.type === "commit") {
      const { intent, committedWallMs, verify = "none" } = line;
      this.#keep({ intent, committedWallMs, verify, removed: [], verified: undefined });
      return true;
    }
    const kept = this.#records.get(line.session);
    if (kept === undefined) return true;
    if (line.type === "rotated") kept.removed = line.removed;
    else this.#verified(kept, { result: line.result, message: line.message });
    return true;
  }

  /** How many records were dropped. */
  #expire(nowWallMs: number): number {
    let expired = 0;
    for (const [session, kept] of this.#records) {
      if (nowWallMs - kept.committedWallMs <= AGE_MAX_MS || this.#waits(kept)) continue;
      this.#records.delete(session);
      expired += 1;
    }
    return expired;
  }

  #contents(): string[] {
    const kept = new Set([...this.#newest.values(), ...this.#records.values()]);
    return [...kept]
      .toSorted((a, b) => a.committedWallMs - b.committedWallMs)
      .flatMap((one) => linesOf(one).map(encode));
  }
}

/** Archives of a storage that wait for their verification, for who only looks. Rejects with what the disk throws. */
export async function readPending(root: StorageRoot): Promise<ReadonlySet<string>> {
  const bySession = new Map<string, string>();
  for (const text of await readLines(root.disk, root.path(FILE))) {
    const line = parseCommitLine(text);
    if (line?.type === "commit" && line.verify === "pending") bySession.set(line.intent.session, line.intent.archive);
    if (line?.type === "verified") bySession.delete(line.session);
  }
  return new Set(bySession.values());
}

function linesOf(kept: Kept): CommitLine[] {
  const { session } = kept.intent;
  const lines: CommitLine[] = [commitLine(kept)];
  if (kept.removed.length > 0) lines.push({ type: "rotated", session, removed: [...kept.removed] });
  if (kept.verified !== undefined) lines.push({ type: "verified", session, ...kept.verified });
  return lines;
}

function commitLine({ intent, committedWallMs, verify }: Kept): CommitLine {
  return { type: "commit", committedWallMs, ...(verify === "none" ? {} : { verify }), intent };
}

function encode(line: CommitLine): string {
  return JSON.stringify(line);
}

function toRecord(kept: Kept): CommitRecord {
  const { intent, committedWallMs, verify, removed, verified } = kept;
  const { session, agent, backup, run, archive, entries, rawBytes, problems } = intent;
  const file = must(intent.files[0], "the archive of a commit record");
  return {
    ...{
      session,
      agent,
      backup,
      run,
      archive,
      entries,
      rawBytes,
      problems,
      committedWallMs,
      removed,
      verify,
      holdRotation: intent.holdRotation === true,
      verified,
    },
    bytes: file.bytes,
    sha256: fromHex(file.sha256),
  };
}
