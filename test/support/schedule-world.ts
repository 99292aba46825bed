/**
 * A daemon's scheduler on a simulated clock, through restarts, reloads and whatever happens to the clock on the wall. Runs last
 * as long as the test says. What was run, skipped and missed is noted by due time; what must be kept for the next start is.
 */
import type { ScheduleRule } from "#agent/schedule.ts";
import { type CutOff, type Recalled, type ScheduledEntry, Scheduler, type Trigger } from "#agent/scheduler.ts";
import { sleep } from "#base/clock.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { memoryLogger } from "./memory-logger.ts";
import type { SimClock } from "./sim-clock.ts";

export interface Ran extends Trigger {
  readonly name: string;
  /** When it began. */
  readonly startMs: number;
}

export interface EntrySpec {
  readonly expression: string;
  readonly runMissed?: boolean;
  readonly jitterMs?: number;
  readonly lastsMs?: number;
}

export class ScheduleWorld {
  readonly ran: Ran[] = [];
  readonly events: ObservedEvent[] = [];
  readonly log = memoryLogger();
  /** Most runs at a time so far. */
  mostAtOnce = 0;
  readonly #clock: SimClock;
  readonly #zone: string;
  #entries: Readonly<Record<string, EntrySpec>>;
  #maxConcurrent: number;
  #kept = new Map<string, { readonly expression: string; readonly handledMs: number }>();
  #cutOff = new Map<string, CutOff>();
  #scheduler: Scheduler | undefined;
  #atOnce = 0;
  #life = 0;

  constructor(clock: SimClock, zone: string, entries: Readonly<Record<string, EntrySpec>>, maxConcurrent = 1) {
    this.#clock = clock;
    this.#zone = zone;
    this.#entries = entries;
    this.#maxConcurrent = maxConcurrent;
  }

  get scheduler(): Scheduler {
    if (this.#scheduler === undefined) throw new Error("the daemon does not run");
    return this.#scheduler;
  }

  start(): void {
    const life = this.#life;
    this.#scheduler = new Scheduler({
      clock: this.#clock,
      log: this.log,
      events: { emit: (event) => void this.events.push(event) },
      run: (name, trigger) => this.#run(name, trigger, life),
      remember: (name, expression, handledMs, waitingMs) => {
        this.#kept.set(name, { expression, handledMs });
        if (waitingMs === null) this.#cutOff.delete(name);
        else if (waitingMs !== undefined) this.#cutOff.set(name, { dueMs: waitingMs, waited: true });
      },
    });
    this.reload();
  }

  /** With other entries, or as they were. */
  reload(entries = this.#entries, maxConcurrent = this.#maxConcurrent): void {
    this.#entries = entries;
    this.#maxConcurrent = maxConcurrent;
    const scheduled = Object.entries(entries).map(([name, spec]): ScheduledEntry => ({
      name,
      rule: this.#rule(name, spec),
    }));
    this.scheduler.update(scheduled, maxConcurrent, (name) => this.#recall(name));
  }

  /** As by SIGKILL: what runs is cut short. */
  kill(): void {
    this.scheduler.stop();
    this.#scheduler = undefined;
    this.#life += 1;
    this.#atOnce = 0;
  }

  dueTimes(name: string): number[] {
    return this.ran.filter((run) => run.name === name).map((run) => run.dueMs);
  }

  /** Due times of an entry's events of that kind. */
  told(kind: string, name: string): number[] {
    const own = this.events.filter((event) => event.kind === kind && event.fields["backup"] === name);
    return own.map((event) => Date.parse(String(event.fields["due"])));
  }

  #rule(name: string, { expression, runMissed = false, jitterMs = 0 }: EntrySpec): ScheduleRule {
    return { expression, zone: this.#zone, runMissed, jitterMs, seed: `web-1/${name}` };
  }

  #recall(name: string): Recalled {
    const kept = this.#kept.get(name);
    const same = kept?.expression === this.#entries[name]?.expression;
    return {
      handledMs: same ? kept?.handledMs : undefined,
      cutOff: this.#cutOff.get(name),
    };
  }

  async #run(name: string, trigger: Trigger, life: number): Promise<void> {
    this.ran.push({ name, ...trigger, startMs: this.#clock.wall() });
    this.#cutOff.set(name, { dueMs: trigger.dueMs, waited: false });
    this.#atOnce += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atOnce);
    await sleep(this.#clock, this.#entries[name]?.lastsMs ?? 60_000);
    // The process that ran it is no more.
    if (life !== this.#life) return;
    this.#cutOff.delete(name);
    this.#atOnce -= 1;
  }
}
