/**
 * Keeps one connection of a running session up: opens it, and opens it again with backoff whenever it breaks. The counter
 * goes back only when the session made progress while this connection was up, so that a server that refuses one, or
 * accepts and drops it at once, is not hammered however well the others do.
 */
import type { BackoffLimits } from "#base/backoff.ts";
import type { Timer } from "#base/clock.ts";
import { type Failure, toFailure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { type HandshakeDeps, type LinkTarget, openLink, type OpenedLink, type OpenOptions } from "./handshake.ts";
import { retryDelayMs } from "./retry-delay.ts";

/** The first new attempt comes almost at once: most breaks are short. Up to so much, by chance. */
const FIRST_DELAY_MS_MAX = 200;

export interface ReconnectorOptions {
  readonly deps: HandshakeDeps & { readonly random: Random };
  readonly target: LinkTarget;
  readonly link: Pick<OpenOptions, "name" | "pingFacts" | "dscp">;
  readonly backoff: BackoffLimits;
  /** Failures that trying again cannot mend; everything else is tried until it is stopped. */
  readonly final: (failure: Failure) => boolean;
  /** In the turn of Welcome: must call `handle` (with `closed` telling `lost`) and `enter`. */
  readonly up: (opened: OpenedLink) => void;
  /** The connection broke or could not be opened; another attempt follows after `delayMs`. */
  readonly retrying: (failure: Failure, delayMs: number) => void;
  /** No attempt follows. `askedAtMs`: when the attempt began that failed so. */
  readonly gaveUp: (failure: Failure, askedAtMs: number) => void;
}

export class Reconnector {
  readonly #options: ReconnectorOptions;
  /** Failures since the last progress. */
  #attempt = 0;
  #timer: Timer | undefined;
  #up: boolean;
  /** Of the connection that is being opened, or was. */
  #opening: AbortController | undefined;
  #openedAtMs = 0;
  #stopped = false;

  /** `up`: whether the connection was opened by somebody else already; else `start` opens it. */
  constructor(options: ReconnectorOptions, up: boolean) {
    this.#options = options;
    this.#up = up;
  }

  /** Opens the connection for the first time, or after `rest`. */
  start(): void {
    this.#open();
  }

  /** The connection that `up` handed over is gone. */
  lost(failure: Failure): void {
    this.#up = false;
    this.#again(failure);
  }

  /** The connection that `up` handed over was closed on purpose: another one, of another port than `port`, and no failure. */
  renew(port: number): void {
    this.#up = false;
    this.#open(port);
  }

  /** No connection is wanted for now: one under way is broken off, and `start` opens it again. */
  rest(): void {
    this.#up = false;
    this.#timer?.cancel();
    this.#timer = undefined;
    const opening = this.#opening;
    this.#opening = undefined;
    opening?.abort();
  }

  /** The session made progress. */
  progressed(): void {
    if (this.#up) this.#attempt = 0;
  }

  /** Something suggests that the server can be reached: does not wait for the timer. */
  nudge(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#open();
  }

  /** No more attempts; one under way is broken off. */
  stop(): void {
    this.#stopped = true;
    this.rest();
  }

  #open(otherThanPort?: number): void {
    if (this.#stopped) return;
    const { deps, target, link, up } = this.#options;
    const opening = new AbortController();
    this.#opening = opening;
    this.#openedAtMs = deps.clock.now();
    const welcomed = (opened: OpenedLink): void => {
      this.#up = true;
      up(opened);
    };
    const options = { ...link, signal: opening.signal, welcomed, otherThanPort };
    openLink(deps, target, options).catch((error: unknown) => {
      if (this.#opening !== opening) return;
      this.#up = false;
      this.#again(toFailure(error));
    });
  }

  #again(failure: Failure): void {
    if (this.#stopped) return;
    const { deps, backoff, final, retrying, gaveUp } = this.#options;
    if (final(failure)) {
      gaveUp(failure, this.#openedAtMs);
      return;
    }
    const unit = deps.random.unit();
    const soon = this.#attempt === 0 && failure.retryAfterMs === undefined;
    const delayMs = soon ? unit * FIRST_DELAY_MS_MAX : retryDelayMs(backoff, failure, this.#attempt - 1, unit);
    this.#attempt += 1;
    this.#timer = deps.clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#open();
    });
    retrying(failure, delayMs);
  }
}
