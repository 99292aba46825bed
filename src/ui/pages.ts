/** A list that the server gives in pages: the newest at once, older ones when they are wanted, new ones as they come live. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Page } from "#web/api-archives.ts";
import type { RecordPage } from "#web/api-types.ts";
import { exactNames, type FilterTexts, type NameReaders } from "#web/matches.ts";
import { type ApiFailure, askUnlessOver } from "./api.ts";
import { epoch } from "./live.ts";
import { query } from "./router.ts";

export interface Paged<T> {
  /** Null until the first page is there. */
  readonly rows: readonly T[] | null;
  readonly total: number;
  /** Filters by name that mean one only; of lists that have none, none. */
  readonly exact: readonly string[];
  readonly failure: ApiFailure | null;
  /** The first page is being asked for: what is shown may be of other filters. */
  readonly busy: boolean;
  more(): void;
  again(): void;
}

interface State<T> {
  readonly rows: readonly T[] | null;
  readonly next: string | null;
  readonly total: number;
  readonly exact: readonly string[];
  readonly failure: ApiFailure | null;
}

const NONE: readonly string[] = [];
const NOTHING = { rows: null, next: null, total: 0, exact: NONE, failure: null };

/** `url` has all filters and at least one of them, so that `&after=` can follow. */
export function usePages<T>(url: string): Paged<T> {
  const [state, setState] = useState<State<T>>(NOTHING);
  const [turn, setTurn] = useState(0);
  const [wanted, setWanted] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const stale = epoch.value;

  useEffect(() => {
    const abort = new AbortController();
    setState((before) => ({ ...before, failure: null }));
    setWanted(null);
    setBusy(true);
    void load<T>(url, abort.signal, (page) => {
      setState(page);
      setBusy(false);
    });
    return () => abort.abort();
  }, [url, turn, stale]);

  useEffect(() => {
    if (wanted === null) return undefined;
    const abort = new AbortController();
    void load<T>(`${url}&after=${encodeURIComponent(wanted)}`, abort.signal, (page) => {
      setWanted(null);
      setState((before) => {
        // A page that did not come takes none of those away that did, and can be asked for again.
        if (page.rows === null) return { ...before, failure: page.failure };
        return { ...page, rows: [...(before.rows ?? []), ...page.rows] };
      });
    });
    return () => abort.abort();
  }, [url, turn, stale, wanted]);

  return {
    rows: state.rows,
    total: Math.max(state.total, state.rows?.length ?? 0),
    exact: state.exact,
    failure: state.failure,
    busy,
    more: () => setWanted(state.failure === null ? state.next : null),
    again: () => setTurn((before) => before + 1),
  };
}

/**
 * As the server takes filters by name, for what comes live: a name that has come is there, and means only itself from then on. Then a list that
 * was of parts of names is asked for again, once.
 */
export function useExact<T, Name extends string>(
  { exact, busy, again }: Pick<Paged<T>, "exact" | "busy" | "again">,
  readers: NameReaders<T, Name>,
  live: readonly T[],
): readonly string[] {
  const texts: FilterTexts<string> = query.value;
  const came = exactNames(texts, readers, (test) => live.some(test)).filter((name) => !exact.includes(name));
  const text = [...exact, ...came].join(" ");
  const wanted = `${text} ${came.map((name) => texts[name]).join(" ")}`;
  const asked = useRef("");
  useEffect(() => {
    if (busy || came.length === 0 || asked.current === wanted) return;
    asked.current = wanted;
    again();
  }, [wanted, busy]);
  return useMemo(() => [...exact, ...came], [text]);
}

async function load<T>(url: string, signal: AbortSignal, take: (page: State<T>) => void): Promise<void> {
  const answer = await askUnlessOver<Page<T> & Partial<RecordPage<T>>>(url, signal);
  if (answer === undefined || signal.aborted) return;
  if (!answer.ok) {
    take({ ...NOTHING, failure: answer.failure });
    return;
  }
  const { rows, next, total, exact = NONE } = answer.value;
  take({ rows, next, total, exact, failure: null });
}
