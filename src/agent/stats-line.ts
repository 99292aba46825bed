/**
 * Lines of figures in the log while something runs: one a minute for each run, and with `logging.stream_stats` more often one with
 * its streams. It counts nothing itself.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { formatSize } from "#base/units.ts";
import { STREAM_STATS_MS, StreamStats, type StreamsOfSession } from "#observe/stream-stats.ts";
import type { RunningFacts } from "./running-view.ts";
import { runningView } from "./running-view.ts";

const LINE_MS = 60_000;

export interface StatsLineOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly streamStats: () => boolean;
  /** What runs now, by the name of its entry. */
  readonly running: () => ReadonlyMap<string, RunningFacts>;
}

export class StatsLines {
  readonly #options: StatsLineOptions;
  readonly #streams: StreamStats;
  #timer: Timer | undefined;
  #ticks = 0;
  #sentBytes = new Map<string, number>();

  constructor(options: StatsLineOptions) {
    this.#options = options;
    this.#streams = new StreamStats(options.log);
  }

  /** Something began or ended: without anything that runs there is no timer. */
  changed(): void {
    const { clock, running } = this.#options;
    if (running().size > 0) {
      this.#timer ??= every(clock, STREAM_STATS_MS, () => this.#tick());
      return;
    }
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#ticks = 0;
    this.#sentBytes.clear();
  }

  #tick(): void {
    this.#ticks += 1;
    const running = this.#options.running();
    if ((this.#ticks * STREAM_STATS_MS) % LINE_MS === 0) {
      for (const [backup, facts] of running) this.#line(backup, facts);
    }
    this.#streams.tell([...running].flatMap(streamsOf), STREAM_STATS_MS, this.#options.streamStats());
  }

  #line(backup: string, facts: RunningFacts): void {
    const { stage, entries, rawBytes, storedBytes, durableBytes, streamsUp, rttMs, reconnects } = runningView(facts);
    const sentBytes = streamsOf([backup, facts])
      .flatMap(({ streams }) => streams)
      .reduce((sum, { bytes }) => sum + bytes, 0);
    const bytesPerSecond = Math.round((Math.max(0, sentBytes - (this.#sentBytes.get(backup) ?? 0)) * 1000) / LINE_MS);
    this.#sentBytes.set(backup, sentBytes);
    const session = facts.stage?.stage === "running" ? facts.stage.session : undefined;
    this.#options.log.info(`${backup} is ${stage}: ${formatSize(bytesPerSecond)}/s`, {
      ...{ event: "agent.stats", backup, session, stage, bytesPerSecond, entries, rawBytes, storedBytes, durableBytes },
      ...{ streamsUp, reconnects, rttMs: rttMs === null ? undefined : Math.round(rttMs * 10) / 10 },
    });
  }
}

function streamsOf([backup, { stage }]: readonly [string, RunningFacts]): StreamsOfSession[] {
  if (stage?.stage !== "running") return [];
  const streams = stage.progress().streams.map(({ slot, state, sentBytes: bytes }) => {
    return { slot, up: state === "up" || state === "draining", bytes };
  });
  return [{ session: stage.session, backup, streams }];
}
