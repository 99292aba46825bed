/** Filters of the lists: from the page's URL, to a request, and applied to what comes live. Pure. */
import type { BackupStanding, BackupState } from "#web/api-archives.ts";
import type { ApiEnd, ApiEvent } from "#web/api-types.ts";

/** Texts of a URL's query, without empty ones. */
export type Query = Readonly<Record<string, string>>;

export function parseQuery(search: string): Query {
  const found = [...new URLSearchParams(search)].filter(([, value]) => value !== "");
  return Object.fromEntries(found);
}

/** `?a=1&b=2`, or nothing. What is empty is left out. */
export function queryText(query: Readonly<Record<string, string | null | undefined>>): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") search.set(key, value);
  }
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}

/** How far back a list looks, as its filter says it. */
const PERIODS_MS: Readonly<Record<string, number>> = {
  day: 86_400_000,
  week: 7 * 86_400_000,
  month: 30 * 86_400_000,
  year: 365 * 86_400_000,
};

/** The request for a period: whole minutes, so that the same page asks the same URL for a while. */
export function fromOfPeriod(period: string | undefined, nowWallMs: number): string | undefined {
  const ms = period === undefined ? undefined : PERIODS_MS[period];
  return ms === undefined ? undefined : String(Math.floor((nowWallMs - ms) / 60_000) * 60_000);
}

/** `bad` and `good` stand for several outcomes. */
export function outcomesOf(choice: string | undefined, all: readonly ApiEnd["outcome"][]): string | undefined {
  if (choice === undefined) return undefined;
  if (choice === "good") return "committed";
  return choice === "bad" ? all.filter((outcome) => outcome !== "committed").join(",") : choice;
}

function eventKey({ wallMs, kind, message }: ApiEvent): string {
  return `${wallMs} ${kind} ${message}`;
}

/**
 * What came live and is in no list yet, newest first. `rows`: newest first. Older ones than the newest row are further down, on a page that
 * is not loaded; of the same millisecond some may be in the list and some not.
 */
export function freshOnly(fresh: readonly ApiEvent[], rows: readonly ApiEvent[]): readonly ApiEvent[] {
  const newest = rows[0]?.wallMs ?? Number.NEGATIVE_INFINITY;
  const candidates = fresh.filter(({ wallMs }) => wallMs >= newest);
  if (candidates.length === 0) return candidates;
  const known = new Set(rows.filter(({ wallMs }) => wallMs === newest).map(eventKey));
  return candidates.filter((event) => !known.has(eventKey(event))).reverse();
}

/** Rows of the overview that a state and a text leave. */
export function backupsLeft<T extends BackupStanding>(
  rows: readonly T[],
  state: BackupState | undefined,
  text: string | undefined,
): readonly T[] {
  const words = (text ?? "")
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  if (state === undefined && words.length === 0) return rows;
  return rows.filter((row) => {
    if (state !== undefined && row.state !== state) return false;
    const name = `${row.agent}/${row.backup} ${row.storage}`.toLowerCase();
    return words.every((word) => name.includes(word));
  });
}
