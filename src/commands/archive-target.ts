/**
 * The archives that a command was told to work on: those of the stock by reference, or on the server a file by its path. What is found is
 * named, and opened only when the command gets to it.
 */
import { readFileSync, statSync } from "node:fs";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { ArchiveArgument } from "#cli/archive-arguments.ts";
import { failureText } from "#cli/failure-text.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type { ArchiveRow, ArchiveStock, OpenedArchive } from "#restore/archive-stock.ts";
import { openArchiveFile } from "#restore/file-access.ts";
import { parseSum } from "#restore/verify.ts";
import { type Choice, chooseArchive, chooseArchives, parseReference, rowName } from "./archive-reference.ts";
import type { CommandContext } from "./command-context.ts";

export interface ArchiveTarget {
  /** As messages and JSON name it: `web-01/etc/2026-02-12T02-00-00-123Z.tar.gz`, or the path of its file. */
  readonly name: string;
  /** Where it lies, if that is on this machine. */
  readonly file: string | undefined;
  /** Undefined for a file. */
  readonly row: ArchiveRow | undefined;
  readonly archiveBytes: number;
  /** 64 hex digits; undefined when nobody recorded it. */
  readonly sha256: string | undefined;
  open(): Promise<OpenedArchive>;
  /** Undefined when there is none. */
  openIndex(): Promise<ArchiveAccess | undefined>;
}

interface FindOptions {
  /** Also what takes looking up (ArchiveFilter). */
  readonly facts?: boolean;
}

/** Rejects with Failure E_USAGE, E_ARCHIVE_UNKNOWN, E_ARCHIVE_READ and what the stock says. */
export async function findArchive(
  argument: ArchiveArgument,
  context: CommandContext,
  options: FindOptions = {},
): Promise<ArchiveTarget> {
  const [target] = (await find(argument, context, chooseArchive, options)).targets;
  if (target === undefined) throw new Failure("E_ARCHIVE_UNKNOWN", `there is no archive ${safeText(argument.text)}`);
  return target;
}

export interface FoundArchives {
  readonly targets: readonly ArchiveTarget[];
  /** All were asked for, and some place could not be looked into (which has been said): what lies there is not among them. */
  readonly incomplete: boolean;
}

/** As `findArchive`, for commands that take `all`. */
export async function findArchives(argument: ArchiveArgument, context: CommandContext): Promise<FoundArchives> {
  return await find(argument, context, chooseArchives);
}

async function find(
  argument: ArchiveArgument,
  context: CommandContext,
  choose: typeof chooseArchive,
  { facts = false }: FindOptions = {},
): Promise<FoundArchives> {
  const { side, stderr } = context;
  if (side === "server" && isFilePath(argument.text)) {
    return { targets: [await fileTarget(argument.text)], incomplete: false };
  }
  const reference = parseReference(argument, side);
  const stock = await context.stock();
  const { rows, failures } = await stock.list({ ...reference.scope, facts });
  // What cannot be looked into may hold what is asked for.
  for (const failure of failures) stderr.write(failureText(failure));
  const [failure] = failures;
  if (rows.length === 0 && failure !== undefined) throw failure;
  const { rows: chosen, warnings }: Choice = choose(reference, rows, side);
  for (const warning of warnings) stderr.write(`warning: ${safeText(warning)}\n`);
  if (failure !== undefined && reference.which === "latest") {
    stderr.write(`warning: there may be a newer ${safeText(argument.text)} where nothing could be listed\n`);
  }
  const targets = chosen.map((row) => rowTarget(row, stock));
  return { targets, incomplete: failure !== undefined && reference.which === "all" };
}

export function rowTarget(row: ArchiveRow, stock: ArchiveStock): ArchiveTarget {
  return {
    ...{ name: rowName(row), row, archiveBytes: row.archiveBytes, sha256: row.sha256, file: stock.fileOf?.(row) },
    open: () => stock.open(row),
    openIndex: () => stock.openIndex(row),
  };
}

/** What names a place in the filesystem, or is the name of a file that is there. */
function isFilePath(text: string): boolean {
  if (/^(\/|\.\.?(\/|$))/.test(text)) return true;
  if (isFile(text)) return true;
  // One word with an ending can only be a file that is missing.
  return !text.includes("/") && /\.(tar|tgz|tar\.[a-z0-9]+)$/i.test(text);
}

/** What cannot be looked at, as below a file or a directory that is not ours, is no file to us: a reference may be written so. */
function isFile(text: string): boolean {
  try {
    return statSync(text).isFile();
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return false;
  }
}

async function fileTarget(path: string): Promise<ArchiveTarget> {
  // One that is missing is said to be, before anything is said about its index.
  const archive = openArchiveFile(path);
  await archive.close();
  return {
    ...{ name: path, row: undefined, file: path },
    archiveBytes: archive.size,
    sha256: sumBeside(path),
    open: () => openFile(path),
    openIndex: () => Promise.resolve(openIndexFile(path)),
  };
}

async function openFile(path: string): Promise<OpenedArchive> {
  const archive = openArchiveFile(path);
  const index = openIndexFile(path);
  return {
    ...{ archive, index },
    close: async () => {
      await archive.close();
      await index?.close();
    },
  };
}

/** One that cannot be opened is none: it keeps nobody from the archive. */
function openIndexFile(path: string): ArchiveAccess | undefined {
  try {
    return openArchiveFile(indexFileOf(path));
  } catch (error) {
    if (toFailure(error).code !== "E_ARCHIVE_READ") throw error;
    return undefined;
  }
}

/** `2026-02-12T02-00-00-123Z.idx` beside `2026-02-12T02-00-00-123Z.tar.gz`; beside what is called otherwise, its whole name and `.idx`. */
export function indexFileOf(path: string): string {
  return `${path.replace(/\.tar\.(gz|zst)$/, "")}.idx`;
}

/** An archive without the file is none the worse. */
function sumBeside(path: string): string | undefined {
  try {
    return parseSum(readFileSync(`${path}.sha256`, "utf8"));
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return undefined;
  }
}
