/**
 * When each archive was last read from its beginning to its end, `.nbackup/verified.jsonl`: how a scrub knows where it was. A record
 * counts only for the file that was read. Losing it costs reading archives earlier than was needed; whether they are good is not in it.
 */
import * as z from "zod/mini";
import type { Logger } from "#base/log.ts";
import { type ArchiveIdentity, sameArchive } from "./damage-mark.ts";
import type { Disk } from "./disk.ts";
import { LineLog, readLines } from "./line-log.ts";
import { CONTROL_DIRECTORY, type StorageRoot } from "./storage-root.ts";

const FILE = `${CONTROL_DIRECTORY}/verified.jsonl`;
/** The file is written anew when it has twice as many lines as archives, and so many more. */
const LINES_SPARE = 1_000;

const line = z.object({ archive: z.string(), bytes: z.number(), mtimeMs: z.number(), wallMs: z.number() });

export interface Verified extends ArchiveIdentity {
  readonly wallMs: number;
}

/** By archive: `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
export type VerifiedTimes = ReadonlyMap<string, Verified>;

export class VerifyLog {
  readonly #lines: LineLog;
  readonly #times = new Map<string, Verified>();

  private constructor(root: StorageRoot, log: Logger) {
    this.#lines = new LineLog({
      ...{ root, log, file: FILE },
      linesMax: () => 2 * this.#times.size + LINES_SPARE,
      contents: () => [...this.#times].map(([archive, verified]) => JSON.stringify({ archive, ...verified })),
    });
  }

  /** Rejects with what the disk throws. */
  static async open(root: StorageRoot, log: Logger): Promise<VerifyLog> {
    const opened = new VerifyLog(root, log);
    try {
      await opened.#lines.load((text) => take(opened.#times, text));
      return opened;
    } catch (error) {
      await opened.close();
      throw error;
    }
  }

  get times(): VerifiedTimes {
    return this.#times;
  }

  /** Resolves when it is on the disk. Rejects with what the disk throws; then it does not count as read. */
  async add(archive: string, { bytes, mtimeMs }: ArchiveIdentity, wallMs: number): Promise<void> {
    const verified: Verified = { bytes, mtimeMs, wallMs: Math.floor(wallMs) };
    const before = this.#times.get(archive);
    this.#times.set(archive, verified);
    try {
      await this.#lines.append(JSON.stringify({ archive, ...verified }));
    } catch (error) {
      if (this.#times.get(archive) === verified) {
        if (before === undefined) this.#times.delete(archive);
        else this.#times.set(archive, before);
      }
      throw error;
    }
  }

  /** The archive is gone; the file forgets it when it is written anew. */
  forget(archive: string): void {
    this.#times.delete(archive);
  }

  /** These are all that there are. */
  retain(archives: ReadonlySet<string>): void {
    for (const archive of this.#times.keys()) if (!archives.has(archive)) this.#times.delete(archive);
  }

  close(): Promise<void> {
    return this.#lines.close();
  }
}

/** For who only looks. Rejects with what the disk throws. */
export async function readVerifiedTimes(disk: Disk, baseDir: string): Promise<VerifiedTimes> {
  const times = new Map<string, Verified>();
  for (const text of await readLines(disk, `${baseDir}/${FILE}`)) take(times, text);
  return times;
}

/** When the archive was last read; undefined when that is not known of this file. */
export function verifiedAtMs(times: VerifiedTimes, archive: string, identity: ArchiveIdentity): number | undefined {
  const verified = times.get(archive);
  return verified !== undefined && sameArchive(verified, identity) ? verified.wallMs : undefined;
}

/** False when it is no line of this file. */
function take(times: Map<string, Verified>, text: string): boolean {
  const parsed = z.safeParse(line, parseJson(text));
  if (!parsed.success) return false;
  const { archive, ...verified } = parsed.data;
  times.set(archive, verified);
  return true;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The caller drops the line.
  }
}
