/** A list that the server gives in pages: the newest at once, older ones when they are wanted, new ones as they come live. */
import { useEffect, useState } from "preact/hooks";
import type { Page } from "#web/api-archives.ts";
import { type ApiFailure, askUnlessOver } from "./api.ts";
import { epoch } from "./live.ts";

export interface Paged<T> {
  /** Null until the first page is there. */
  readonly rows: readonly T[] | null;
  readonly total: number;
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
  readonly failure: ApiFailure | null;
}

const NOTHING = { rows: null, next: null, total: 0, failure: null };

/** `url` has all filters and at least one of them, so that `&before=` can follow. */
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
    void load<T>(`${url}&before=${encodeURIComponent(wanted)}`, abort.signal, (page) => {
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
    failure: state.failure,
    busy,
    more: () => setWanted(state.failure === null ? state.next : null),
    again: () => setTurn((before) => before + 1),
  };
}

async function load<T>(url: string, signal: AbortSignal, take: (page: State<T>) => void): Promise<void> {
  const answer = await askUnlessOver<Page<T>>(url, signal);
  if (answer === undefined || signal.aborted) return;
  if (answer.ok) take({ rows: answer.value.rows, next: answer.value.next, total: answer.value.total, failure: null });
  else take({ ...NOTHING, failure: answer.failure });
}
