/** An answer of the API as a component uses it: asked when it is first shown, again when it is stale, and the old one stays meanwhile. */
import { signal, type Signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { type ApiFailure, ask } from "./api.ts";
import { browserNow } from "./browser.ts";
import { shared } from "./share.ts";
import { changes, epoch, type StaleRoute } from "./live.ts";

/** Answers kept by URL, so that going back shows something at once. */
const KEPT_MAX = 30;
/** However much happens, one list is asked no more often than this, and one that takes its time less often still. */
const AGAIN_MS = 2_000;
const AGAIN_TIMES = 20;
const AGAIN_MAX_MS = 30_000;

export interface Resource<T> {
  readonly value: Signal<T | null>;
  readonly failure: Signal<ApiFailure | null>;
  refresh(): void;
}

const kept = new Map<string, unknown>();

function keep(url: string, value: unknown): void {
  kept.delete(url);
  kept.set(url, value);
  const oldest = kept.keys().next();
  if (kept.size > KEPT_MAX && oldest.done !== true) kept.delete(oldest.value);
}

/** Answers that came with the page: the first who asks has them at once, and does not ask. */
const fresh = new Set<string>();

export function takeAnswer(url: string, value: unknown): void {
  keep(url, value);
  fresh.add(url);
}

/** After a logout nothing may be shown from before. */
export function forgetAnswers(): void {
  kept.clear();
}

class Asked<T> implements Resource<T> {
  readonly value: Signal<T | null>;
  readonly failure = signal<ApiFailure | null>(null);
  readonly #url: string;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;
  #again = false;
  #over = false;

  constructor(url: string) {
    this.#url = url;
    this.value = signal((kept.get(url) as T | undefined) ?? null);
    // Not when it is shown: that is a frame later, and the answer is what everybody waits for.
    if (!fresh.delete(url)) this.refresh();
  }

  /** A function of its own, for it is handed to buttons. */
  readonly refresh = (): void => {
    this.#again = true;
    if (!this.#asking && this.#timer === undefined) void this.#ask();
  };

  async #ask(): Promise<void> {
    this.#asking = true;
    this.#again = false;
    const askedAt = browserNow();
    const answer = await ask<T>(this.#url);
    const tookMs = Math.max(0, browserNow() - askedAt);
    this.#asking = false;
    if (this.#over) return;
    if (answer.ok) {
      const value = shared(this.value.peek(), answer.value);
      keep(this.#url, value);
      this.value.value = value;
      this.failure.value = null;
    } else {
      this.failure.value = answer.failure;
    }
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        if (this.#again && !this.#over) void this.#ask();
      },
      Math.min(AGAIN_MAX_MS, Math.max(AGAIN_MS, tookMs * AGAIN_TIMES)),
    );
  }

  stop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** When an answer is asked for again, beside after every gap of the stream. */
interface Staleness {
  /** Of `changed` messages, and those of live.ts. */
  readonly routes?: readonly StaleRoute[];
  /** What becomes old by itself: an entry that gets late, a disk that fills. */
  readonly everyMs?: number;
}

const NO_ROUTES: readonly StaleRoute[] = [];

export function useResource<T>(url: string, { routes = NO_ROUTES, everyMs }: Staleness = {}): Resource<T> {
  const asked = useMemo(() => new Asked<T>(url), [url]);
  useEffect(() => () => asked.stop(), [asked]);
  const stale = `${epoch.value} ${routes.map((route) => changes.value[route] ?? 0).join(" ")}`;
  const known = useRef({ asked, stale });
  useEffect(() => {
    const before = known.current;
    known.current = { asked, stale };
    // What is new is asked for by its start.
    if (before.asked === asked && before.stale !== stale) asked.refresh();
  }, [asked, stale]);
  useEffect(() => {
    if (everyMs === undefined) return undefined;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") asked.refresh();
    }, everyMs);
    return () => clearInterval(timer);
  }, [asked, everyMs]);
  return asked;
}
