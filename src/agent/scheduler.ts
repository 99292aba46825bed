/**
 * Has the backup entries run when their schedules say so: one timer, a line for those that are due while others run, and never
 * the same entry twice at a time. When a time is due is schedule.ts; what a run is, and what is kept on the disk, is the
 * caller's.
 */
import type { Clock, Timer } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import type { EventSink } from "#observe/events.ts";
import { lookAt, memoryAfter, memoryAt, type ScheduleMemory, type ScheduleRule, startOf } from "./schedule.ts";

/** Why a run begins: its time came, it is made up for, a stop or crash cut an earlier one short, or the server asked for it. */
export type TriggerKind = "schedule" | "missed" | "cut-off" | "remote";

export interface Trigger {
  readonly kind: TriggerKind;
  readonly dueMs: number;
}

export interface ScheduledEntry {
  readonly name: string;
  /** undefined: it has no schedule. */
  readonly rule: ScheduleRule | undefined;
}

export interface CutOff {
  readonly dueMs: number;
  /** It had not begun: nothing was told of it. */
  readonly waited: boolean;
}

/** What is known of an entry from before the daemon was started. */
export interface Recalled {
  /** Of the same expression: everything up to here was dealt with. undefined: nothing is known. */
  readonly handledMs: number | undefined;
  /** A run that did not come to its end, to be made up for. */
  readonly cutOff: CutOff | undefined;
}

export interface SchedulerOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventSink;
  /** Resolves when the run is over; never rejects. */
  readonly run: (name: string, trigger: Trigger) => Promise<void>;
  /**
   * Everything up to `handledMs` is dealt with: for the next start. `waitingMs`: as far as the run that is due then is still to
   * begin, which a start of it forgets; null: no such run is to be made up for any more; undefined: nothing changes there.
   */
  readonly remember: (name: string, expression: string, handledMs: number, waitingMs?: number | null) => void;
}

export type EntryActivity = "idle" | "waiting" | "running";

interface Known {
  rule: ScheduleRule;
  memory: ScheduleMemory;
  /** Its next start by rule and memory; infinite when there is none, undefined until it is looked for. */
  nextMs: number | undefined;
}

interface Waiting {
  readonly name: string;
  readonly trigger: Trigger;
  /** When it should have begun. */
  readonly startMs: number;
}

/**
 * The clock is looked at so often at least: a timer of hours would not notice that it was changed, or that the machine slept,
 * during which timers stand still.
 */
const LOOK_MS_MAX = 60_000;

export class Scheduler {
  readonly #options: SchedulerOptions;
  /** In the order of the file. */
  #known = new Map<string, Known>();
  /** Also those without a schedule. */
  #names = new Set<string>();
  #maxConcurrent = 1;
  #waiting: Waiting[] = [];
  /** Also of entries that have been removed since. */
  readonly #running = new Map<string, Trigger>();
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /**
   * From now on these are the entries; at the start, and when the configuration was read again. One whose expression is as before
   * goes on where it was, others begin at this moment, or where `recall` says.
   */
  update(entries: readonly ScheduledEntry[], maxConcurrent: number, recall: (name: string) => Recalled): void {
    const nowMs = this.#options.clock.wall();
    const known = new Map<string, Known>();
    this.#maxConcurrent = maxConcurrent;
    for (const { name, rule } of entries) {
      if (rule === undefined) continue;
      const before = this.#known.get(name);
      if (before?.rule.expression === rule.expression) known.set(name, { ...before, rule, nextMs: undefined });
      else known.set(name, this.#begin(name, rule, before === undefined ? recall(name) : undefined, nowMs));
    }
    this.#known = known;
    this.#names = new Set(entries.map(({ name }) => name));
    this.#waiting = this.#waiting.filter(({ name, trigger }) =>
      trigger.kind === "remote" ? this.#names.has(name) : known.has(name),
    );
    this.#look();
  }

  activity(name: string): EntryActivity {
    if (this.#running.has(name)) return "running";
    return this.#waiting.some((waiting) => waiting.name === name) ? "waiting" : "idle";
  }

  /** Wall-clock time of the entry's next start; undefined when it has none. */
  nextMs(name: string): number | undefined {
    const nextMs = this.#known.get(name)?.nextMs;
    return nextMs === Number.POSITIVE_INFINITY ? undefined : nextMs;
  }

  /**
   * Begins a run of an idle entry at once, or behind those that wait already; what it does instead when there can be none.
   * `unknown`: there is no such entry.
   */
  request(name: string): "begun" | "queued" | "running" | "waiting" | "unknown" | "stopped" {
    if (this.#stopped) return "stopped";
    if (!this.#names.has(name)) return "unknown";
    const activity = this.activity(name);
    if (activity !== "idle") return activity;
    const nowMs = this.#options.clock.wall();
    this.#enqueue(name, { kind: "remote", dueMs: nowMs }, nowMs);
    this.#startWaiting();
    return this.#running.has(name) ? "begun" : "queued";
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** Begins nothing any more. What runs is the caller's. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    for (const { name: backup, trigger } of this.#waiting)
      if (trigger.kind === "remote")
        this.#options.log.warn("a run that the server asked for had not begun, and is forgotten", { backup });
    this.#waiting = [];
  }

  #begin(name: string, rule: ScheduleRule, recalled: Recalled | undefined, nowMs: number): Known {
    const handledMs = recalled?.handledMs ?? nowMs;
    // One that was removed and is back may still run: that is not cut off.
    const cutOff = this.#running.has(name) ? undefined : recalled?.cutOff;
    const missed = !rule.runMissed && cutOff?.waited === true ? cutOff : undefined;
    if (missed !== undefined) this.#tellMissed(name, missed.dueMs, nowMs - missed.dueMs);
    if (recalled?.handledMs === undefined || missed !== undefined)
      this.#options.remember(name, rule.expression, handledMs, missed === undefined ? undefined : null);
    if (rule.runMissed && cutOff !== undefined) this.#enqueue(name, { kind: "cut-off", dueMs: cutOff.dueMs }, nowMs);
    return { rule, memory: { handledMs }, nextMs: undefined };
  }

  /** Looks at every schedule, begins what is due, and sets the timer. */
  #look(): void {
    if (this.#stopped) return;
    const nowMs = this.#options.clock.wall();
    for (const [name, known] of this.#known) this.#lookAt(name, known, nowMs);
    this.#startWaiting();
    this.#timer?.cancel();
    const nextMs = Math.min(...[...this.#known.values()].map((known) => known.nextMs ?? Number.POSITIVE_INFINITY));
    const delayMs = Math.min(LOOK_MS_MAX, Math.max(1, nextMs - this.#options.clock.wall()));
    this.#timer = this.#options.clock.after(delayMs, () => this.#look());
  }

  #lookAt(name: string, known: Known, nowMs: number): void {
    const memory = this.#plausible(name, known.memory, nowMs);
    if (memory === known.memory && known.nextMs !== undefined && known.nextMs > nowMs) return;
    const look = lookAt(known.rule, memory, nowMs);
    if (look.verdict === "wait") {
      known.memory = memory;
      known.nextMs = look.startMs ?? Number.POSITIVE_INFINITY;
      return;
    }
    const { dueMs } = look;
    known.memory = memoryAfter(memory, look);
    known.nextMs = undefined;
    // A run that waits for others is lost with this process unless it is remembered as one to be made up for; so is one that is
    // skipped because of a wish that waits, which nobody remembers.
    const queued = look.verdict === "run" && (this.activity(name) === "idle" || this.#wished(name));
    this.#options.remember(name, known.rule.expression, dueMs, queued ? dueMs : undefined);
    if (look.verdict === "missed") this.#tellMissed(name, dueMs, look.lateMs);
    else this.#due(name, { kind: look.missed ? "missed" : "schedule", dueMs }, startOf(known.rule, dueMs));
    this.#lookAt(name, known, nowMs);
  }

  /** The server asked for a run of it that has not begun. */
  #wished(name: string): boolean {
    return this.#waiting.some((waiting) => waiting.name === name && waiting.trigger.kind === "remote");
  }

  #plausible(name: string, memory: ScheduleMemory, nowMs: number): ScheduleMemory {
    const now = memoryAt(memory, nowMs);
    if (now.wrongSinceMs !== undefined && memory.wrongSinceMs === undefined) {
      const handled = new Date(memory.handledMs).toISOString();
      this.#options.log.warn("the clock shows a time long before the last run: scheduling from now", {
        backup: name,
        handled,
      });
    }
    return now;
  }

  #due(name: string, trigger: Trigger, startMs: number): void {
    const activity = this.activity(name);
    if (activity === "idle") {
      this.#enqueue(name, trigger, startMs);
      return;
    }
    this.#options.events.emit({
      kind: "schedule.overlap",
      level: "warn",
      message: `a run of ${name} is skipped: the one before ${activity === "running" ? "still runs" : "still waits"}`,
      fields: { backup: name, due: new Date(trigger.dueMs).toISOString() },
    });
  }

  #tellMissed(name: string, dueMs: number, lateMs: number): void {
    this.#options.events.emit({
      kind: "schedule.missed",
      level: "warn",
      message: `a run of ${name} was missed: the machine slept, its clock was changed or the daemon did not run`,
      fields: { backup: name, due: new Date(dueMs).toISOString(), lateMs },
    });
  }

  #enqueue(name: string, trigger: Trigger, startMs: number): void {
    this.#waiting.push({ name, trigger, startMs });
    // Those due at the same moment keep the order of the file: sort is stable.
    this.#waiting.sort((a, b) => a.startMs - b.startMs);
  }

  #startWaiting(): void {
    while (this.#running.size < this.#maxConcurrent && !this.#stopped) {
      // A removed entry that came back may still run from before.
      const at = this.#waiting.findIndex(({ name }) => !this.#running.has(name));
      const next = this.#waiting[at];
      if (next === undefined) return;
      this.#waiting.splice(at, 1);
      const { name, trigger } = next;
      this.#running.set(name, trigger);
      void this.#options.run(name, trigger).finally(() => {
        this.#running.delete(name);
        this.#startWaiting();
      });
    }
  }
}
