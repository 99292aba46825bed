/** Filters and pages of what is kept, by the texts of a URL. Throws Refused for what makes no sense, so that a slip is not an empty list. */
import { globMatches } from "#base/name-glob.ts";
import type { Page } from "./api-archives.ts";
import { badRequest } from "./http.ts";
import type { Records } from "./read-model.ts";

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 500;
/** More is in no store. */
const ROWS_MAX = 200_000;

/** A text of the query; undefined when it is missing or empty. Others than `known` are an error: a filter that is misspelt filters nothing. */
export function checkKnown(query: URLSearchParams, known: readonly string[]): void {
  for (const name of query.keys()) {
    if (!known.includes(name))
      throw badRequest(
        `${name.slice(0, 50)} is no filter here; there ${known.length === 0 ? "is none" : `are ${known.join(", ")}`}`,
      );
  }
}

export function textOf(query: URLSearchParams, name: string): string | undefined {
  const value = query.get(name);
  return value === null || value === "" ? undefined : value;
}

export function required(query: URLSearchParams, name: string): string {
  const value = textOf(query, name);
  if (value === undefined) throw badRequest(`${name} is missing`);
  return value;
}

export function listOf(query: URLSearchParams, name: string): readonly string[] | undefined {
  return textOf(query, name)
    ?.split(",")
    .filter((part) => part !== "");
}

/**
 * A filter by name takes a glob of whole names (`web-*`, `db-?`), the name of one that is there, which then means only that one, or else a
 * part of names. Case does not count but for the one that is there.
 */
export function nameFilter<T>(
  query: URLSearchParams,
  name: string,
  rows: Records<T> | readonly T[],
  of: (row: T) => unknown,
): (row: T) => boolean {
  const wanted = textOf(query, name);
  if (wanted === undefined) return () => true;
  const small = wanted.toLowerCase();
  const isText = (row: T, test: (text: string) => boolean): boolean => {
    const text = of(row);
    return typeof text === "string" && test(text.toLowerCase());
  };
  if (/[*?]/.test(small)) return (row) => isText(row, (text) => globMatches(small, text));
  const isIt = (row: T): boolean => of(row) === wanted;
  const isThere = "newest" in rows ? rows.newest(1, isIt).length > 0 : rows.some(isIt);
  return isThere ? isIt : (row) => isText(row, (text) => text.includes(small));
}

function numberOf(query: URLSearchParams, name: string, max = Number.MAX_SAFE_INTEGER): number | undefined {
  const text = textOf(query, name);
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!/^\d{1,16}$/.test(text) || number > max) throw badRequest(`${name} is no whole number from 0 to ${max}`);
  return number;
}

export function limitOf(query: URLSearchParams, max = LIMIT_MAX): number {
  const limit = numberOf(query, "limit", max) ?? Math.min(LIMIT_DEFAULT, max);
  if (limit < 1) throw badRequest("limit is at least 1");
  return limit;
}

/** Whether a time lies in `from` (included) to `to`. */
export function spanOf(query: URLSearchParams): (wallMs: number) => boolean {
  const [from, to] = [numberOf(query, "from"), numberOf(query, "to")];
  return (wallMs) => (from === undefined || wallMs >= from) && (to === undefined || wallMs < to);
}

/** `before`: the time of the last row of the page before, and how many rows of that very time have been given. */
interface Cursor {
  readonly wallMs: number;
  readonly given: number;
}

export interface PageSource<T> {
  /** As they were recorded, the last one first: where the clock was put back meanwhile that is not the order of their times. */
  newest(limit: number, wanted: (row: T) => boolean): readonly T[];
  timeOf(row: T): number;
}

export function pageOf<T>(source: PageSource<T>, query: URLSearchParams, wanted: (row: T) => boolean): Page<T> {
  const limit = limitOf(query);
  const cursor = cursorOf(textOf(query, "before"));
  const all = source.newest(ROWS_MAX, wanted).toSorted((a, b) => source.timeOf(b) - source.timeOf(a));
  const start = cursor === undefined ? 0 : startBehind(all, cursor, source);
  const rows = all.slice(start, start + limit);
  const last = rows.at(-1);
  const next =
    last === undefined || start + rows.length >= all.length ? null : cursorBehind(all, start + rows.length, source);
  return { rows, next, total: all.length };
}

function startBehind<T>(all: readonly T[], { wallMs, given }: Cursor, { timeOf }: PageSource<T>): number {
  const first = all.findIndex((row) => timeOf(row) <= wallMs);
  if (first < 0) return all.length;
  let at = first;
  for (let left = given; left > 0; left -= 1) {
    const row = all[at];
    if (row === undefined || timeOf(row) !== wallMs) break;
    at += 1;
  }
  return at;
}

function cursorBehind<T>(all: readonly T[], end: number, { timeOf }: PageSource<T>): string {
  const last = all[end - 1];
  if (last === undefined) return "0.0";
  const wallMs = timeOf(last);
  const first = all.findIndex((row) => timeOf(row) <= wallMs);
  return `${wallMs}.${end - first}`;
}

function cursorOf(text: string | undefined): Cursor | undefined {
  if (text === undefined) return undefined;
  const [, wallMs, given] = /^(\d{1,16}(?:\.\d+)?)\.(\d{1,9})$/.exec(text) ?? [];
  if (wallMs === undefined || given === undefined) throw badRequest("before is no place that an answer named");
  return { wallMs: Number(wallMs), given: Number(given) };
}
