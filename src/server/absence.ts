/**
 * How long a session is kept for its agent while none of its connections is up: until it expires; and, when an earlier
 * start of the server began it, for how long no other run may have its place. It ends nothing: the session does.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { RETURN_MS } from "./limits.ts";

/** How soon a changed limit counts for who waits already. */
const LIMIT_LOOK_MS = 60_000;

export interface AbsenceLimits {
  readonly clock: Clock;
  /** Until the session expires; asked each time. */
  readonly idleTimeoutMs: number;
}

export class Absence {
  readonly #limits: AbsenceLimits;
  readonly #expired: (failure: Failure) => void;
  #timer: Timer | undefined;
  #begunAtMs = 0;
  #reservedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(limits: AbsenceLimits, expired: (failure: Failure) => void) {
    this.#limits = limits;
    this.#expired = expired;
  }

  /** The last connection is gone. `ofRestart`: it went with an earlier start of the server, whatever became of the agent. */
  begin(ofRestart: boolean): void {
    const { clock, idleTimeoutMs } = this.#limits;
    this.#begunAtMs = clock.now();
    this.#wait();
    if (ofRestart) this.#reservedUntilMs = clock.now() + Math.min(RETURN_MS, idleTimeoutMs);
  }

  /** It looks now and then: a reload may have changed how long. */
  #wait(): void {
    const { clock, idleTimeoutMs } = this.#limits;
    const leftMs = Math.max(0, this.#begunAtMs + idleTimeoutMs - clock.now());
    this.#timer = clock.after(Math.min(leftMs, LIMIT_LOOK_MS), () => this.#look());
  }

  #look(): void {
    const { clock, idleTimeoutMs } = this.#limits;
    if (clock.now() < this.#begunAtMs + idleTimeoutMs) this.#wait();
    else this.#expired(new Failure("E_SESSION_EXPIRED", `nothing was heard of the agent for ${idleTimeoutMs} ms`));
  }

  /** A connection is up, or the session is over. */
  end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#reservedUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** How much longer no other run may have its place; 0 when one may. */
  get reservedMs(): number {
    return Math.max(0, Math.ceil(this.#reservedUntilMs - this.#limits.clock.now()));
  }
}
