/** An answer of the API as a component uses it: asked when it is first shown, again when it is stale, and the old one stays meanwhile. */
import { signal, type Signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { type ApiFailure, ask } from "./api.ts";
import { changes, epoch } from "./live.ts";

/** Answers kept by URL, so that going back shows something at once. */
const KEPT_MAX = 30;
/** However much happens, one list is asked no more often than this. */
const AGAIN_MS = 2_000;

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
    this.refresh();
  }

  /** A function of its own, for it is handed to buttons. */
  readonly refresh = (): void => {
    this.#again = true;
    if (!this.#asking && this.#timer === undefined) void this.#ask();
  };

  async #ask(): Promise<void> {
    this.#asking = true;
    this.#again = false;
    const answer = await ask<T>(this.#url);
    this.#asking = false;
    if (this.#over) return;
    if (answer.ok) {
      keep(this.#url, answer.value);
      this.value.value = answer.value;
      this.failure.value = null;
    } else {
      this.failure.value = answer.failure;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#again && !this.#over) void this.#ask();
    }, AGAIN_MS);
  }

  stop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** `route`: of a `changed` message that makes it stale. */
export function useResource<T>(url: string, route?: string): Resource<T> {
  const asked = useMemo(() => new Asked<T>(url), [url]);
  useEffect(() => () => asked.stop(), [asked]);
  const stale = `${epoch.value} ${route === undefined ? 0 : (changes.value[route] ?? 0)}`;
  useEffect(() => {
    // The first run is the start itself.
    if (stale !== "0 0") asked.refresh();
  }, [asked, stale]);
  return asked;
}
