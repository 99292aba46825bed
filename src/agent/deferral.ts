/**
 * How long a server may keep an agent waiting that says "not now, come again": no failed attempt is counted for it, but it
 * has an end. Pure.
 */
import type { ErrorCode } from "#base/catalogue.ts";
import type { Failure } from "#base/errors.ts";

/** The server is well and says when it will have time: that is a place in a line, not a failure. */
const DEFERRALS: ReadonlySet<ErrorCode> = new Set(["E_MAINTENANCE"]);

/** The server wants something later, and it is no failure. */
export function isDeferral({ code, retryable, retryAfterMs }: Failure): boolean {
  return retryable && retryAfterMs !== undefined && DEFERRALS.has(code);
}

export class Deferral {
  readonly #msMax: number;
  #sinceMs: number | undefined;

  constructor(msMax: number) {
    this.#msMax = msMax;
  }

  /** The server has taken the agent into its line: a deferral after that is another one. */
  over(): void {
    this.#sinceMs = undefined;
  }

  /** True: it is only to be waited for. False: it is a failed attempt like others, or it has lasted too long. */
  covers(failure: Failure, nowMs: number): boolean {
    if (!isDeferral(failure)) return false;
    this.#sinceMs ??= nowMs;
    return nowMs - this.#sinceMs < this.#msMax;
  }
}
