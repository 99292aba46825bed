/** Filters and pages of what is kept, by the texts of a URL. Throws Refused for what makes no sense, so that a slip is not an empty list. */
import type { Page } from "./api-archives.ts";
import { badRequest } from "./http.ts";
import { exactNames, type FilterTexts, namesTest, type NameReaders, partsOf } from "./matches.ts";
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
  const text = textOf(query, name);
  return text === undefined ? undefined : partsOf(text);
}

/** The texts of these filters. */
export function textsOf<Name extends string>(query: URLSearchParams, names: readonly Name[]): FilterTexts<Name> {
  const texts: { [N in Name]?: string | undefined } = {};
  for (const name of names) texts[name] = textOf(query, name);
  return texts;
}

/** Which filters by name mean one that is there, and only that one (matches.ts). */
export function exactOf<T, Name extends string>(
  query: URLSearchParams,
  rows: Records<T> | readonly T[],
  readers: NameReaders<T, Name>,
): readonly Name[] {
  const texts = textsOf(query, Object.keys(readers) as Name[]);
  return exactNames(texts, readers, (test) => ("newest" in rows ? rows.newest(1, test).length > 0 : rows.some(test)));
}

/** The filters by name of a query, over these rows. */
export function nameFilter<T, Name extends string>(
  query: URLSearchParams,
  rows: Records<T> | readonly T[],
  readers: NameReaders<T, Name>,
): (row: T) => boolean {
  const texts = textsOf(query, Object.keys(readers) as Name[]);
  return namesTest(texts, readers, exactOf(query, rows, readers));
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

/** `after` in a list by time: the time of the last row that was given, and how many rows of that very time have been. */
interface Cursor {
  readonly wallMs: number;
  readonly given: number;
}

/** A list by time. */
export interface PageSource<T> {
  /** As they were recorded, the last one first: where the clock was put back meanwhile that is not the order of their times. */
  newest(limit: number, wanted: (row: T) => boolean): readonly T[];
  timeOf(row: T): number;
}

/** Of a list of what is there now, in an order of its own: all of it unless `limit` is told. `keyOf` is what tells rows apart. */
export function pageOfList<T>(rows: readonly T[], query: URLSearchParams, keyOf: (row: T) => string): Page<T> {
  const limit = textOf(query, "limit") === undefined ? rows.length : limitOf(query);
  const after = textOf(query, "after");
  if (after !== undefined && !/^[\w-]+$/.test(after)) throw badRequest("after is no place that an answer named");
  const key = after === undefined ? undefined : Buffer.from(after, "base64url").toString();
  // Where the row is gone by now the list begins again: what comes twice can be told by its key, what is left out cannot.
  const start = key === undefined ? 0 : rows.findIndex((row) => keyOf(row) === key) + 1;
  const page = rows.slice(start, start + limit);
  const last = page.at(-1);
  const isLast = last === undefined || start + page.length >= rows.length;
  return { rows: page, next: isLast ? null : Buffer.from(keyOf(last)).toString("base64url"), total: rows.length };
}

/** Of a list by time, the newest first. */
export function pageOf<T>(source: PageSource<T>, query: URLSearchParams, wanted: (row: T) => boolean): Page<T> {
  const limit = limitOf(query);
  const cursor = cursorOf(textOf(query, "after"));
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
  if (wallMs === undefined || given === undefined) throw badRequest("after is no place that an answer named");
  return { wallMs: Number(wallMs), given: Number(given) };
}
