/**
 * The mark of an archive that a verification found damaged: `<archive>.damaged`, a file beside it that people read and programs too. It
 * stands there and not in the storage's own records, so that whoever looks at the directory without nbackup sees it, a copy of the
 * directory keeps it, and nothing that is lost elsewhere loses it. It counts only for the file that was verified: size and time of
 * change say which. Who judges archives is archive-health.ts.
 */
import * as z from "zod/mini";
import { errnoName } from "#base/errors.ts";
import { type Disk, orMissing } from "./disk.ts";

/** Which file it was that somebody read: another one of that name, or one that was changed since, is another. */
export interface ArchiveIdentity {
  readonly bytes: number;
  readonly mtimeMs: number;
}

/** What a verification has found. */
export type Finding =
  | { readonly ok: true }
  /** In a few words, and line by line with the names of the files that are hit. */
  | { readonly ok: false; readonly what: string; readonly details: readonly string[] };

/** Who verified: after the commit, `scrub` of the daemon or the command, the command `verify`. */
export const VERIFIERS = ["verify_integrity", "scrub", "verify"] as const;
export type VerifiedBy = (typeof VERIFIERS)[number];

export interface DamageMark extends ArchiveIdentity {
  readonly foundBy: string;
  /** ISO 8601, UTC. */
  readonly foundAt: string;
  readonly what: string;
  /** The first ones. */
  readonly details: readonly string[];
}

const SECOND_MS = 1_000;
const SUFFIX = ".damaged";
/** Lines kept in a mark: an archive overwritten by noise has one for every chunk. */
export const DETAILS_MAX = 100;
const DETAIL_CHARS_MAX = 4_000;
/** Larger than any that is written. */
const MARK_BYTES_MAX = 1 << 20;

const mark = z.object({
  bytes: z.number(),
  mtimeMs: z.number(),
  foundBy: z.string(),
  foundAt: z.string(),
  what: z.string(),
  details: z.array(z.string()),
});

/** The name of an archive's mark, with whatever directory the archive's name has. */
export function markName(archive: string): string {
  return `${archive}${SUFFIX}`;
}

export function identityOf(stat: { readonly size: number; readonly mtimeMs: number }): ArchiveIdentity {
  // No copy keeps more than milliseconds for certain.
  return { bytes: stat.size, mtimeMs: Math.floor(stat.mtimeMs) };
}

/** A time of whole seconds may be that of a copy: tar and other file systems keep no fractions. */
export function sameArchive(a: ArchiveIdentity, b: ArchiveIdentity): boolean {
  const stepMs = a.mtimeMs % SECOND_MS === 0 || b.mtimeMs % SECOND_MS === 0 ? SECOND_MS : 1;
  return a.bytes === b.bytes && Math.floor(a.mtimeMs / stepMs) === Math.floor(b.mtimeMs / stepMs);
}

export function makeMark(
  { bytes, mtimeMs }: ArchiveIdentity,
  finding: Extract<Finding, { readonly ok: false }>,
  foundBy: VerifiedBy,
  nowWallMs: number,
): DamageMark {
  const { what } = finding;
  const details = finding.details.slice(0, DETAILS_MAX).map((line) => line.slice(0, DETAIL_CHARS_MAX));
  const foundAt = new Date(nowWallMs).toISOString();
  return { bytes, mtimeMs, foundBy, foundAt, what: what.slice(0, DETAIL_CHARS_MAX), details };
}

export function encodeMark(made: DamageMark): Buffer {
  return Buffer.from(`${JSON.stringify(made, undefined, 2)}\n`);
}

/** In words: `2 damaged places (found by scrub at 2026-02-13T02:00:00.000Z)`. */
function markText({ what, foundBy, foundAt }: DamageMark): string {
  return `${what} (found by ${foundBy} at ${foundAt})`;
}

/**
 * What a mark beside an archive says of that file, in words; undefined when there is none, or when it is of another file that had the name.
 * A mark that cannot be read, or that somebody made by hand, counts: an archive is not to be called good because of it.
 */
export async function readDamage(
  disk: Pick<Disk, "open">,
  archivePath: string,
  identity: ArchiveIdentity,
): Promise<string | undefined> {
  let text: string | undefined;
  try {
    text = await readSmall(disk, markName(archivePath));
  } catch (error) {
    return `it is marked as damaged, and the mark cannot be read (${errnoName(error) ?? String(error)})`;
  }
  if (text === undefined) return undefined;
  const parsed = parseMark(text);
  if (parsed === undefined) return "it is marked as damaged by somebody";
  return sameArchive(parsed, identity) ? markText(parsed) : undefined;
}

function parseMark(text: string): DamageMark | undefined {
  try {
    const parsed = z.safeParse(mark, JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined; // Not JSON: the caller takes it for somebody's own.
  }
}

async function readSmall(disk: Pick<Disk, "open">, path: string): Promise<string | undefined> {
  const file = await orMissing(disk.open(path, "read"));
  if (file === undefined) return undefined;
  try {
    const bytes = Buffer.alloc(Math.min(await file.size(), MARK_BYTES_MAX));
    return bytes.subarray(0, await file.read(bytes, 0)).toString("utf8");
  } finally {
    await file.close();
  }
}
