/**
 * Which records the filters of a list mean: one judgement for the server, which answers lists, and for the page, which adds to a list what comes
 * live. Pure, and of our own imports nothing that a browser could not run. Whether a filter makes sense is the server's to say (paging.ts).
 */
import { globMatches } from "#base/name-glob.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { EventsQuery, HistoryQuery } from "./api-types.ts";

/** Texts of a URL's query; undefined or missing: everything is meant. */
export type FilterTexts<Name extends string> = { readonly [N in Name]?: string | undefined };

/** What a list's filters by name look at. */
export type NameReaders<T, Name extends string> = { readonly [N in Name]: (row: T) => unknown };

/** Those that no record is compared with, or only by the server. */
type PageFilter = "from" | "to" | "limit" | "after";

export type EndFilter = Exclude<keyof HistoryQuery, PageFilter>;
export type EventFilter = Exclude<keyof EventsQuery, PageFilter>;

type Named = Pick<SessionRecord, "agent" | "backup" | "storage">;

export const END_NAMES: NameReaders<Named, keyof Named> = {
  agent: (end) => end.agent,
  backup: (end) => end.backup,
  storage: (end) => end.storage,
};

export const EVENT_NAMES: NameReaders<EventRecord, "agent"> = { agent: ({ fields }) => fields["agent"] };

/** The worst last. */
export const LEVELS: readonly string[] = ["debug", "info", "warn", "error"] satisfies EventRecord["level"][];

/** Of a text with commas. */
export function partsOf(text: string): readonly string[] {
  return text.split(",").filter((part) => part !== "");
}

function isGlob(text: string): boolean {
  return /[*?]/.test(text);
}

/**
 * A filter by name takes a glob of whole names (`web-*`, `db-?`), the name of one that is there (`exact`), which then means only that one, or
 * else a part of names. Case does not count but for the one that is there.
 */
function nameTest(wanted: string | undefined, exact: boolean): (name: unknown) => boolean {
  if (wanted === undefined) return () => true;
  if (exact) return (name) => name === wanted;
  const small = wanted.toLowerCase();
  const test = isGlob(small)
    ? (name: string): boolean => globMatches(small, name)
    : (name: string): boolean => name.includes(small);
  return (name) => typeof name === "string" && test(name.toLowerCase());
}

/** The filters whose text is the name of one that is there. */
export function exactNames<T, Name extends string>(
  texts: FilterTexts<Name>,
  readers: NameReaders<T, Name>,
  isThere: (test: (row: T) => boolean) => boolean,
): readonly Name[] {
  return namesOf(readers).filter((name) => {
    const wanted = texts[name];
    return wanted !== undefined && !isGlob(wanted) && isThere((row) => readers[name](row) === wanted);
  });
}

/** Whether a row has the names that the filters mean. */
export function namesTest<T, Name extends string>(
  texts: FilterTexts<Name>,
  readers: NameReaders<T, Name>,
  exact: readonly string[],
): (row: T) => boolean {
  const tests = namesOf(readers)
    .filter((name) => texts[name] !== undefined)
    .map((name) => ({ read: readers[name], test: nameTest(texts[name], exact.includes(name)) }));
  return (row) => tests.every(({ read, test }) => test(read(row)));
}

function namesOf<Name extends string>(readers: { readonly [N in Name]: unknown }): readonly Name[] {
  return Object.keys(readers) as Name[];
}

/** Of `GET /api/v1/sessions/history`, but for its span of time. */
export function endTest(texts: FilterTexts<EndFilter>, exact: readonly string[]): (end: SessionRecord) => boolean {
  const isNamed = namesTest(texts, END_NAMES, exact);
  const outcomes = texts.outcome === undefined ? undefined : partsOf(texts.outcome);
  return (end) => isNamed(end) && (outcomes === undefined || outcomes.includes(end.outcome));
}

/** Of `GET /api/v1/events`, but for its span of time. A level that is none leaves all. */
export function eventTest(texts: FilterTexts<EventFilter>, exact: readonly string[]): (event: EventRecord) => boolean {
  const isNamed = namesTest(texts, EVENT_NAMES, exact);
  const least = LEVELS.indexOf(texts.level ?? "");
  const kinds = texts.kind === undefined ? undefined : partsOf(texts.kind);
  const { session } = texts;
  const text = texts.text?.toLowerCase();
  const isOfKind = (kind: string): boolean =>
    kinds === undefined || kinds.some((one) => (one.endsWith(".") ? kind.startsWith(one) : kind === one));
  return (event) =>
    LEVELS.indexOf(event.level) >= least &&
    isOfKind(event.kind) &&
    isNamed(event) &&
    (session === undefined || event.fields["session"] === session) &&
    (text === undefined || textIn(event).includes(text));
}

function textIn({ message, kind, fields }: EventRecord): string {
  return `${kind} ${message} ${JSON.stringify(fields)}`.toLowerCase();
}
