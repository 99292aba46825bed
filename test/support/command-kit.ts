/** The archive commands in this process, over archives in memory: what they print, and what they leave open. Without threads. */
import os from "node:os";
import type { ArchiveScope, ProgramSide } from "#cli/archive-arguments.ts";
import type { ArchiveRequest } from "#cli/archive-command.ts";
import type { CommandContext } from "#commands/command-context.ts";
import { runArchiveCommand } from "#commands/run-archive-command.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type { ArchiveFilter, ArchiveListing, ArchiveRow, ArchiveStock, OpenedArchive } from "#restore/archive-stock.ts";
import { inlineThread, MemoryAccess } from "./restore-run.ts";
import { seededRandom } from "./seeded-random.ts";
import { SimClock } from "./sim-clock.ts";

export interface StockedArchive {
  readonly time: string;
  readonly archive: Uint8Array;
  readonly index?: Uint8Array | undefined;
  readonly row?: Partial<ArchiveRow>;
}

interface Stocked {
  readonly row: ArchiveRow;
  readonly archive: Uint8Array;
  readonly index: Uint8Array | undefined;
}

export class MemoryStock implements ArchiveStock {
  readonly #archives: readonly Stocked[];
  readonly failures: readonly Failure[];
  /** Accesses that were not closed, now and at most. */
  openCount = 0;
  openMax = 0;
  archivesOpened = 0;
  readBytes = 0;
  /** Offsets at which the disk fails, in every file. */
  readonly badOffsets: number[] = [];
  /** Where all archives are said to lie; undefined: at a server. */
  file: string | undefined;

  constructor(archives: readonly StockedArchive[], failures: readonly Failure[] = []) {
    this.failures = failures;
    this.#archives = archives.map(({ time, archive, index, row }) => {
      const timeMs = Date.parse(time);
      const name = `${new Date(timeMs).toISOString().replaceAll(/[:.]/g, "-")}.tar.gz`;
      const facts = { entries: undefined, rawBytes: undefined, durationMs: undefined, problems: undefined };
      return {
        ...{ archive, index },
        row: {
          ...{ storage: "main", agent: "web-1", backup: "etc", name, timeMs, archiveBytes: archive.length },
          ...{ ...facts, sha256: undefined, hasIndex: index !== undefined, damage: undefined, ...row },
        },
      };
    });
  }

  async list({ storage, agent, backup }: ArchiveFilter): Promise<ArchiveListing> {
    const wanted = (value: string, filter: string | undefined): boolean => filter === undefined || filter === value;
    const rows = this.#archives
      .map(({ row }) => row)
      .filter((row) => wanted(row.storage, storage) && wanted(row.agent, agent) && wanted(row.backup, backup))
      .toSorted((a, b) => a.backup.localeCompare(b.backup) || b.timeMs - a.timeMs);
    return { rows, failures: this.failures };
  }

  async open(row: ArchiveRow): Promise<OpenedArchive> {
    this.archivesOpened += 1;
    const archive = this.#access(this.#find(row).archive);
    const index = await this.openIndex(row);
    return {
      ...{ archive, index },
      close: async () => {
        await archive.close();
        await index?.close();
      },
    };
  }

  async openIndex(row: ArchiveRow): Promise<ArchiveAccess | undefined> {
    const { index } = this.#find(row);
    return index === undefined ? undefined : this.#access(index);
  }

  fileOf(): string {
    return this.file ?? "/nowhere";
  }

  async close(): Promise<void> {
    // Nothing of its own.
  }

  #find(row: ArchiveRow): Stocked {
    const found = this.#archives.find((one) => one.row === row);
    if (found === undefined) throw new Failure("E_ARCHIVE_UNKNOWN", row.name);
    return found;
  }

  #access(bytes: Uint8Array): ArchiveAccess {
    const access = new MemoryAccess(bytes);
    for (const offset of this.badOffsets) access.badOffsets.add(offset);
    this.openCount += 1;
    this.openMax = Math.max(this.openMax, this.openCount);
    let closed = false;
    return {
      size: bytes.length,
      read: async (into, offset) => {
        if (closed) throw new Error("read of what was closed");
        const length = await access.read(into, offset);
        this.readBytes += length;
        return length;
      },
      close: async () => {
        if (!closed) this.openCount -= 1;
        closed = true;
      },
    };
  }
}

export interface CommandRun {
  /** `CODE: message` instead when it failed. */
  readonly exit: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly side?: ProgramSide;
  readonly signal?: AbortSignal;
  /** Who runs it; an ordinary user unless told. */
  readonly uid?: number;
  readonly keepVerification?: CommandContext["keepVerification"];
  /** Instead of keeping what is written. */
  readonly write?: (text: string) => Promise<void>;
}

export async function runCommand(
  request: ArchiveRequest,
  stock: ArchiveStock,
  options: CommandOptions = {},
): Promise<CommandRun> {
  let [stdout, stderr] = ["", ""];
  const keep = async (text: string): Promise<void> => {
    stdout += text;
  };
  const context: CommandContext = {
    side: options.side ?? "agent",
    stock: () => Promise.resolve(stock),
    keepVerification: options.keepVerification,
    stdout: { write: options.write ?? keep },
    stderr: {
      write: (text) => {
        stderr += text;
      },
    },
    ...{ clock: new SimClock(), random: seededRandom(Math.floor(Math.random() * 2 ** 31)) },
    spawn: inlineThread,
    ...{ cores: 1, user: { uid: options.uid ?? 1, gids: [1] }, temporaryDirectory: os.tmpdir() },
    signal: options.signal ?? new AbortController().signal,
    argumentBytes: (text) => Buffer.from(text, "latin1"),
  };
  const exit = await runArchiveCommand(request, context).catch((error: unknown) => toFailure(error).toString());
  return { exit, stdout, stderr };
}

export const EVERYWHERE: ArchiveScope = { storage: undefined, agent: undefined, backup: undefined };
