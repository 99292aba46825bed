/** One directory of an archive, asked in pages. */
import { useEffect, useState } from "preact/hooks";
import type { TreeAnswer, TreeEntry } from "#web/api-archives.ts";
import { type ApiFailure, ask } from "./api.ts";
import { queryText } from "./filters.ts";
import type { ArchivePlace } from "./routes.ts";

const PAGE_ROWS = "500";

interface Directory {
  readonly answer: TreeAnswer | null;
  readonly rows: readonly TreeEntry[];
  readonly failure: ApiFailure | null;
}

const NOTHING: Directory = { answer: null, rows: [], failure: null };

export interface Tree extends Directory {
  readonly complete: boolean;
  more(): void;
  again(): void;
}

/** `key` null: the top. */
export function useTree(place: ArchivePlace & { readonly archive: string }, key: string | null): Tree {
  const [state, setState] = useState(NOTHING);
  const [after, setAfter] = useState<string | null>(null);
  const [turn, setTurn] = useState(0);
  const { storage, agent, backup, archive } = place;
  const url = `/api/v1/archives/tree${queryText({ storage, agent, backup, archive, key, limit: PAGE_ROWS })}`;
  useEffect(() => {
    let over = false;
    setState(NOTHING);
    setAfter(null);
    void ask<TreeAnswer>(url).then((answer) => {
      if (over) return;
      setState(
        answer.ok
          ? { answer: answer.value, rows: answer.value.rows, failure: null }
          : { ...NOTHING, failure: answer.failure },
      );
    });
    return () => {
      over = true;
    };
  }, [url, turn]);
  useEffect(() => {
    if (after === null) return undefined;
    let over = false;
    void ask<TreeAnswer>(`${url}&after=${encodeURIComponent(after)}`).then((answer) => {
      if (over) return;
      setState((before) =>
        answer.ok
          ? { answer: answer.value, rows: [...before.rows, ...answer.value.rows], failure: null }
          : { ...before, failure: answer.failure },
      );
    });
    return () => {
      over = true;
    };
  }, [url, after]);
  return {
    ...state,
    complete: state.answer?.next === null,
    more: () => setAfter(state.answer?.next ?? null),
    again: () => setTurn((before) => before + 1),
  };
}
