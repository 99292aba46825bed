/**
 * Which archive is meant by what a person wrote: AGENT/BACKUP/TIME on the server, TIME on the agent, `latest`, `all`; TIME in any usual form,
 * and only as much of it as is needed. Pure: it chooses among the archives it is given, and opens none.
 */
import { Failure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import { safeText } from "#base/safe-text.ts";
import type { ArchiveArgument, ArchiveScope, ProgramSide } from "#cli/archive-arguments.ts";
import type { ArchiveRow } from "#restore/archive-stock.ts";

/** Digits of a UTC time, year first: as many as were written. */
export interface TimePrefix {
  readonly digits: string;
}

export interface Reference {
  readonly text: string;
  readonly scope: ArchiveScope;
  readonly which: "latest" | "all" | TimePrefix;
}

/** Archives named in an error; more are counted. */
const NAMED_MAX = 8;
const NEAREST_MAX = 3;
/** `20260212020000123` */
const TIME_DIGITS = 17;

/** Throws Failure E_USAGE for what cannot be a reference. */
export function parseReference({ text, scope }: ArchiveArgument, side: ProgramSide): Reference {
  const parts = text.split("/");
  const last = parts.pop() ?? "";
  const [agent, backup, ...more] = parts;
  const which = last === "latest" || last === "all" ? last : timePrefix(last);
  const names = side === "server" && more.length === 0 && parts.every(isName);
  if (which === undefined || (parts.length > 0 && !names)) throw unreadable(text, side);
  return { text, which, scope: { ...scope, agent: agent ?? scope.agent, backup: backup ?? scope.backup } };
}

function unreadable(text: string, side: ProgramSide): Failure {
  const hint =
    side === "server"
      ? "Write AGENT/BACKUP/TIME or AGENT/BACKUP/latest as nbackup-server list shows them, or the path of an archive's file."
      : "Write the time of an archive as nbackup-agent list shows it, or latest.";
  return new Failure("E_USAGE", `${safeText(text)} names no archive`, { hint });
}

/** With or without something between the numbers, as far as it is written. */
const TIME =
  /^(\d{1,4})(?:-?(\d{1,2})(?:-?(\d{1,2})(?:[T _]?(\d{1,2})(?:[:-]?(\d{1,2})(?:[:-]?(\d{1,2})(?:[.,-]?(\d{1,3}))?)?)?)?)?)?Z?$/i;
const DIGITS_PER_NUMBER = [4, 2, 2, 2, 2, 2, 3];
const WITH_ZONE = /^(\d{4}-\d\d-\d\d)[T _](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,3}))?([+-]\d\d:?\d\d)$/i;

/** Undefined for what is no time. A time zone is taken off; without one it is UTC, as in the names of archives. */
export function timePrefix(written: string): TimePrefix | undefined {
  const text = written.trim().replace(/\.(?:tar\.(?:gz|zst)(?:\.sha256)?|idx)$/, "");
  const zoned = WITH_ZONE.exec(text);
  if (zoned !== null) return zonedPrefix(zoned);
  const numbers = TIME.exec(text)
    ?.slice(1)
    .filter((number) => number !== undefined);
  // Only the last one may be cut short: 2026-2-1 is no beginning of anything.
  const cut = numbers?.findIndex((number, index) => number.length < (DIGITS_PER_NUMBER[index] ?? 0)) ?? -1;
  if (numbers === undefined || (cut >= 0 && cut < numbers.length - 1)) return undefined;
  return { digits: numbers.join("") };
}

function zonedPrefix([, day = "", time = "", fraction = "", zone = ""]: RegExpExecArray): TimePrefix | undefined {
  const ms = Date.parse(`${day}T${time.length === 5 ? `${time}:00` : time}${zone.replace(/(\d\d):?(\d\d)$/, "$1:$2")}`);
  if (Number.isNaN(ms)) return undefined;
  const whole = timeDigits(ms).slice(0, time.length === 5 ? 12 : 14);
  return { digits: `${whole}${fraction}` };
}

/** `20260212020000123` */
function timeDigits(timeMs: number): string {
  return new Date(timeMs).toISOString().replaceAll(/\D/g, "");
}

/** What was chosen, and what to tell about it. */
export interface Choice {
  readonly rows: readonly ArchiveRow[];
  /** Sentences without line end, lower case. */
  readonly warnings: readonly string[];
}

/** `rows` are those in the scope. One, or for `all` as many as there are. Throws Failure E_USAGE, E_ARCHIVE_UNKNOWN or E_ARCHIVE_DAMAGED. */
export function chooseArchive(reference: Reference, rows: readonly ArchiveRow[], side: ProgramSide): Choice {
  const { which, text } = reference;
  if (which === "all") throw new Failure("E_USAGE", `${safeText(text)} is more than one archive`, oneHint(side));
  if (which === "latest") return latestOf(oneEntry(reference, rows, side));
  const found = rows.filter(({ timeMs }) => timeDigits(timeMs).startsWith(which.digits));
  const [row] = found;
  if (row === undefined) throw unknown(reference, rows, which);
  if (found.length > 1) throw ambiguous(text, found, side);
  const warnings = row.damage === undefined ? [] : [`${rowName(row)} was found damaged: ${row.damage}`];
  return { rows: [row], warnings };
}

/** For commands about many archives: `all`, and `latest` of each entry in the scope. */
export function chooseArchives(reference: Reference, rows: readonly ArchiveRow[], side: ProgramSide): Choice {
  const { which } = reference;
  if (typeof which === "object") return chooseArchive(reference, rows, side);
  if (rows.length === 0) throw nothingThere(reference);
  if (which === "all") return { rows, warnings: [] };
  const choices = [...byEntry(rows).values()].map(latestOf);
  return { rows: choices.flatMap((one) => one.rows), warnings: choices.flatMap((one) => one.warnings) };
}

/** `main: web-01/etc/2026-02-12T02-00-00-123Z.tar.gz` would name the storage too; where there is one of that name it is not needed. */
export function rowName({ agent, backup, name }: ArchiveRow): string {
  return `${agent}/${backup}/${name}`;
}

function byEntry(rows: readonly ArchiveRow[]): ReadonlyMap<string, readonly ArchiveRow[]> {
  return Map.groupBy(rows, ({ agent, backup }) => `${agent}/${backup}`);
}

function oneEntry(reference: Reference, rows: readonly ArchiveRow[], side: ProgramSide): readonly ArchiveRow[] {
  const entries = byEntry(rows);
  if (entries.size === 0) throw nothingThere(reference);
  const [first] = entries.values();
  if (entries.size === 1 && first !== undefined) return first;
  throw new Failure(
    "E_USAGE",
    `${safeText(reference.text)} of which backup? ${listed([...entries.keys()])}`,
    entryHint(side),
  );
}

/** The newest that was not found damaged. */
function latestOf(rows: readonly ArchiveRow[]): Choice {
  const newestFirst = rows.toSorted((a, b) => b.timeMs - a.timeMs);
  const row = newestFirst.find(({ damage }) => damage === undefined);
  if (row === undefined) {
    const names = newestFirst.map(rowName);
    throw new Failure("E_ARCHIVE_DAMAGED", `every archive was found damaged: ${listed(names)}`, {
      hint: "Name one by its time: what is not hit can be restored from it all the same.",
    });
  }
  const same = newestFirst.filter(({ timeMs }) => timeMs === row.timeMs);
  if (same.length > 1) throw inSeveralStorages(same);
  const warnings = newestFirst
    .slice(0, newestFirst.indexOf(row))
    .map((newer) => `${rowName(newer)} is newer, but was found damaged: ${newer.damage ?? ""}`);
  return { rows: [row], warnings };
}

function ambiguous(text: string, found: readonly ArchiveRow[], side: ProgramSide): Failure {
  const entries = byEntry(found);
  if (entries.size > 1) {
    return new Failure(
      "E_USAGE",
      `${safeText(text)} is in several backups: ${listed([...entries.keys()])}`,
      entryHint(side),
    );
  }
  if (new Set(found.map(rowName)).size === 1) return inSeveralStorages(found);
  return new Failure("E_USAGE", `${safeText(text)} is one of ${found.length} archives: ${listed(found.map(rowName))}`, {
    hint: "Write more of its time.",
  });
}

function inSeveralStorages(found: readonly ArchiveRow[]): Failure {
  const [row] = found;
  const storages = found.map(({ storage }) => safeText(storage));
  return new Failure(
    "E_USAGE",
    `${row === undefined ? "" : rowName(row)} is in several storages: ${listed(storages)}`,
    {
      hint: "Say which with --storage NAME.",
    },
  );
}

function unknown({ text, scope }: Reference, rows: readonly ArchiveRow[], time: TimePrefix): Failure {
  if (rows.length === 0) return nothingThere({ text, scope, which: time });
  const wanted = timeGuess(time);
  const nearest = rows
    .toSorted((a, b) => Math.abs(a.timeMs - wanted) - Math.abs(b.timeMs - wanted))
    .slice(0, NEAREST_MAX);
  return new Failure(
    "E_ARCHIVE_UNKNOWN",
    `there is no archive ${safeText(text)}; the nearest: ${listed(nearest.map(rowName))}`,
  );
}

function nothingThere({ text, scope }: Reference): Failure {
  const { agent, backup, storage } = scope;
  const of = agent === undefined ? "" : ` of ${agent}${backup === undefined ? "" : `/${backup}`}`;
  const entry = agent === undefined && backup !== undefined ? ` of ${backup}` : of;
  const where = storage === undefined ? "" : ` in storage ${safeText(storage)}`;
  return new Failure("E_ARCHIVE_UNKNOWN", `there is no archive${entry}${where}: ${safeText(text)} is none`);
}

/** The first moment that the digits can mean. */
function timeGuess({ digits }: TimePrefix): number {
  const full = `${digits}${"00000101000000000".slice(digits.length)}`.slice(0, TIME_DIGITS);
  const at = (from: number, to: number): number => Number(full.slice(from, to));
  return Date.UTC(at(0, 4), at(4, 6) - 1, at(6, 8), at(8, 10), at(10, 12), at(12, 14), at(14, 17));
}

function oneHint(side: ProgramSide): { readonly hint: string } {
  return { hint: side === "server" ? "Write AGENT/BACKUP/TIME or AGENT/BACKUP/latest." : "Write a time, or latest." };
}

function entryHint(side: ProgramSide): { readonly hint: string } {
  return { hint: side === "server" ? "Write AGENT/BACKUP in front of it." : "Say which with --backup NAME." };
}

function listed(names: readonly string[]): string {
  const rest = names.length - NAMED_MAX;
  return `${names.slice(0, NAMED_MAX).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}
