/**
 * Keeps one connection of a running session up: opens it, and opens it again with backoff whenever it breaks. The counter
 * goes back only when the session made progress, so that a server that accepts and drops at once is not hammered.
 */
import { type BackoffLimits, backoffDelayMs } from "#base/backoff.ts";
import type { ErrorCode } from "#base/catalogue.ts";
import type { Timer } from "#base/clock.ts";
import { type Failure, toFailure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { type HandshakeDeps, type LinkTarget, openLink, type OpenedLink, type OpenOptions } from "./handshake.ts";

/** Failures that trying again cannot mend; everything else is tried until `resume.give_up_after`. */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "E_SESSION_GONE",
  "E_SESSION_EXPIRED",
  "E_SUPERSEDED",
  "E_IDENTITY",
  "E_VERSION",
  "E_PROTOCOL",
  "E_FRAME_TOO_LARGE",
  "E_ABORTED",
  "E_INTERNAL",
]);

/** The first new attempt comes almost at once: most breaks are short. Up to so much, by chance. */
const FIRST_DELAY_MS_MAX = 200;

export interface ReconnectorOptions {
  readonly deps: HandshakeDeps & { readonly random: Random };
  readonly target: LinkTarget;
  readonly link: Pick<OpenOptions, "name" | "pingFacts">;
  readonly backoff: BackoffLimits;
  /** In the turn of Welcome: must call `handle` (with `closed` telling `lost`) and `enter`. */
  readonly up: (opened: OpenedLink) => void;
  /** The connection could not be opened; another attempt follows after `delayMs`. */
  readonly retrying: (failure: Failure, delayMs: number) => void;
  /** No attempt follows. */
  readonly gaveUp: (failure: Failure) => void;
}

export class Reconnector {
  readonly #options: ReconnectorOptions;
  readonly #stop = new AbortController();
  #attempt = 0;
  #timer: Timer | undefined;
  #opening = false;

  constructor(options: ReconnectorOptions) {
    this.#options = options;
  }

  /** Opens the connection for the first time. */
  start(): void {
    this.#open();
  }

  /** The connection that `up` handed over is gone. */
  lost(failure: Failure): void {
    this.#again(failure);
  }

  /** The session made progress. */
  progressed(): void {
    this.#attempt = 0;
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
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#stop.abort();
  }

  #open(): void {
    if (this.#stop.signal.aborted || this.#opening) return;
    this.#opening = true;
    const { deps, target, link, up } = this.#options;
    const welcomed = (opened: OpenedLink): void => {
      this.#opening = false;
      up(opened);
    };
    openLink(deps, target, { ...link, signal: this.#stop.signal, welcomed }).catch((error: unknown) => {
      this.#opening = false;
      this.#again(toFailure(error));
    });
  }

  #again(failure: Failure): void {
    if (this.#stop.signal.aborted || this.#timer !== undefined) return;
    if (FINAL.has(failure.code)) {
      this.#options.gaveUp(failure);
      return;
    }
    const unit = this.#options.deps.random.unit();
    const delayMs =
      this.#attempt === 0 ? unit * FIRST_DELAY_MS_MAX : backoffDelayMs(this.#options.backoff, this.#attempt - 1, unit);
    this.#attempt += 1;
    this.#options.retrying(failure, delayMs);
    this.#timer = this.#options.deps.clock.after(failure.retryAfterMs ?? delayMs, () => {
      this.#timer = undefined;
      this.#open();
    });
  }
}
