/**
 * The runs of one simulated agent process, begun by its own rounds and by wishes of the server through the real scheduler:
 * never two of one entry at a time. What a run is, is the caller's.
 */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { RunVerdict } from "#agent/control-link.ts";
import { runVerdict } from "#agent/run-verdict.ts";
import { Scheduler } from "#agent/scheduler.ts";

export interface EntryRunsOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly backups: readonly string[];
  readonly run: (backup: string) => Promise<void>;
  /** The server has asked for a run of it, which begins now. */
  readonly wished: (backup: string) => void;
}

export class EntryRuns {
  readonly #scheduler: Scheduler;
  readonly #running = new Map<string, Promise<void>>();

  constructor({ clock, log, backups, run, wished }: EntryRunsOptions) {
    this.#scheduler = new Scheduler({
      ...{ clock, log, events: { emit: () => undefined }, remember: () => undefined },
      run: (backup) => {
        if (!this.#own) wished(backup);
        const done = run(backup).finally(() => this.#running.delete(backup));
        this.#running.set(backup, done);
        return done;
      },
    });
    const entries = backups.map((name) => ({ name, rule: undefined }));
    this.#scheduler.update(entries, backups.length, () => ({ handledMs: undefined, cutOff: undefined }));
  }

  /** Of its own accord: behind a run that the server has asked for. Resolves when it is over. */
  async own(backup: string): Promise<void> {
    while (this.#scheduler.activity(backup) !== "idle") await this.#running.get(backup);
    this.#own = true;
    this.#scheduler.request(backup);
    this.#own = false;
    await this.#running.get(backup);
  }

  /** The server wants one now. */
  wish(backup: string): RunVerdict {
    return runVerdict(backup, this.#scheduler.request(backup), this.#scheduler.runningCount);
  }

  /** Begins nothing any more. */
  stop(): void {
    this.#scheduler.stop();
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#running.values());
  }

  /** The request that is made is the agent's own. */
  #own = false;
}
