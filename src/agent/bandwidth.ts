/**
 * Keeps the throttle of a running entry at the limit that is in force: by its timetable as time passes, and by another configuration
 * from the moment it is read. Like the scheduler it looks at the clock every minute at least, because clocks are changed and
 * machines sleep.
 */
import type { Clock, Timer } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { formatSize } from "#base/units.ts";
import { type BandwidthRule, limitInForce, lowestLimit } from "./bandwidth-timetable.ts";
import type { Throttle } from "./throttle.ts";

const LOOK_MS_MAX = 60_000;

export interface BandwidthOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Name of the entry. */
  readonly backup: string;
}

export class Bandwidth {
  readonly #options: BandwidthOptions;
  #rule: BandwidthRule;
  #throttle: Throttle | undefined;
  #timer: Timer | undefined;

  constructor(options: BandwidthOptions, rule: BandwidthRule) {
    this.#options = options;
    this.#rule = rule;
  }

  /** What counts now, for a session that begins. */
  get bytesPerSecond(): number | undefined {
    return limitInForce(this.#rule, this.#options.clock.wall()).bytesPerSecond;
  }

  get lowestBytesPerSecond(): number | undefined {
    return lowestLimit(this.#rule);
  }

  /** From now on this rule counts, for a session that runs too. */
  use(rule: BandwidthRule): void {
    this.#rule = rule;
    if (this.#throttle !== undefined) this.#look(this.#throttle);
  }

  /** Holds a session's throttle to the limit until `release`. One at a time. */
  hold(throttle: Throttle): void {
    this.release();
    this.#throttle = throttle;
    this.#look(throttle);
  }

  release(): void {
    this.#throttle = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(throttle: Throttle): void {
    if (throttle.stopped) return;
    const { clock, log, backup } = this.#options;
    const nowMs = clock.wall();
    const { bytesPerSecond, untilMs } = limitInForce(this.#rule, nowMs);
    if (bytesPerSecond !== throttle.bytesPerSecond) {
      throttle.setLimit(bytesPerSecond);
      const text = bytesPerSecond === undefined ? "no bandwidth limit any more" : `${formatSize(bytesPerSecond)}/s`;
      const until = untilMs === undefined ? undefined : new Date(untilMs).toISOString();
      log.info(`the bandwidth limit changed: ${text}`, { backup, bytesPerSecond: bytesPerSecond ?? null, until });
    }
    this.#timer?.cancel();
    this.#timer = undefined;
    if (untilMs === undefined) return;
    const delayMs = Math.min(LOOK_MS_MAX, Math.max(1, untilMs - nowMs));
    this.#timer = clock.after(delayMs, () => this.#look(throttle));
  }
}
