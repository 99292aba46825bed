/**
 * The agent as a service: entries run by their schedules, each run as entry-run.ts has it, configurations exchanged while
 * it runs, and what it is at for whoever asks. Signals, files, sockets and the reading of configurations are the caller's.
 */
import type { Clock } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { pathText } from "#base/path-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import type { AgentConfig, BackupEntryConfig } from "#config/types.ts";
import { formatAddress } from "#net/address.ts";
import type { EventSink } from "#observe/events.ts";
import type { AgentEntryView, AgentStatus, ControlView } from "#observe/views.ts";
import type { EntryNow } from "./agent-facts.ts";
import { bandwidthRule, limitInForce } from "./bandwidth-timetable.ts";
import type { BackupPlan, BackupStage } from "./backup-run.ts";
import { type EntryRunDeps, runEntry } from "./entry-run.ts";
import { recalled, withHandled } from "./entry-state.ts";
import type { RunVerdict } from "./control-link.ts";
import type { BackupResult } from "./result.ts";
import { runVerdict } from "./run-verdict.ts";
import { runningView } from "./running-view.ts";
import { type Recalled, type ScheduledEntry, Scheduler, type Trigger } from "./scheduler.ts";
import { StatsLines } from "./stats-line.ts";
import type { StateStore } from "./state-store.ts";

/** What a reading of the configuration gave. */
export interface DaemonSetup {
  readonly config: AgentConfig;
  /** Time zone of the schedules. */
  readonly zone: string;
  /** When the agent's certificate ends. */
  readonly certificateNotAfterMs: number;
}

export interface DaemonOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventSink;
  readonly states: StateStore;
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  readonly pid: number;
  /** Made for each run, with what is configured then. */
  readonly runDeps: (config: AgentConfig) => EntryRunDeps;
  readonly planOf: (config: AgentConfig, entry: BackupEntryConfig) => BackupPlan;
  /** Something began or ended: for who shows it. */
  readonly changed: () => void;
  /** How the control channel is. */
  readonly control: () => ControlView;
}

interface Running {
  readonly trigger: Trigger;
  readonly startedWallMs: number;
  readonly done: Promise<void>;
  stage: BackupStage | undefined;
  retries: number;
}

/** Names of source files with problems that a run has in the log. */
const PROBLEMS_LOGGED_MAX = 100;
/** A server that is rebooted or upgraded is away for minutes, and must not cost the backup of a night. */
const PATIENCE_MS = 3_600_000;
const NOTHING: Recalled = { handledMs: undefined, cutOff: undefined };

export class AgentDaemon {
  readonly #options: DaemonOptions;
  readonly #scheduler: Scheduler;
  readonly #stop = new AbortController();
  readonly #running = new Map<string, Running>();
  /** Of what runs, as it was begun. */
  readonly #plans = new Map<string, BackupPlan>();
  readonly #startedWallMs: number;
  readonly #startedAtMs: number;
  readonly #stats: StatsLines;
  #setup: DaemonSetup;
  #configWallMs: number;
  #reloadFailure: AgentStatus["reloadFailure"] = null;

  constructor(options: DaemonOptions, setup: DaemonSetup) {
    const { clock, log, events, states } = options;
    this.#options = options;
    this.#setup = setup;
    this.#startedAtMs = clock.now();
    this.#startedWallMs = clock.wall();
    this.#configWallMs = this.#startedWallMs;
    this.#stats = new StatsLines({
      ...{ clock, log },
      streamStats: () => this.config.logging.streamStats,
      running: () => new Map([...this.#running].map(([name, one]) => [name, { ...one, trigger: one.trigger.kind }])),
    });
    this.#scheduler = new Scheduler({
      ...{ clock, log, events },
      run: (name, trigger) => this.#run(name, trigger),
      remember: (name, expression, handledMs, waitingMs) =>
        void states.update(name, (state) => withHandled(state, expression, handledMs, waitingMs)),
    });
  }

  get config(): AgentConfig {
    return this.#setup.config;
  }

  /** Begins to run what is due. One call of `start` or `reload` at a time. */
  async start(): Promise<void> {
    await this.#schedule();
  }

  /** From now on this counts; what runs goes on as it was begun, but for its bandwidth limit. */
  async reload(setup: DaemonSetup): Promise<void> {
    this.#setup = setup;
    for (const entry of setup.config.backups) {
      this.#plans.get(entry.name)?.bandwidth?.use(bandwidthRule(entry, setup.zone));
    }
    this.#configWallMs = this.#options.clock.wall();
    this.#reloadFailure = null;
    await this.#schedule();
  }

  /** The certificate was renewed: for `status`. */
  renewed(certificateNotAfterMs: number): void {
    this.#setup = { ...this.#setup, certificateNotAfterMs };
  }

  /** The configuration could not be read again: for `status`. */
  reloadFailed(code: string, message: string): void {
    this.#reloadFailure = { wallMs: this.#options.clock.wall(), code, message };
  }

  /** Nothing runs. */
  get idle(): boolean {
    return this.#running.size === 0;
  }

  /** A few words on what it is at. */
  summary(): string {
    const running = [...this.#running.keys()];
    if (running.length > 0) return `running ${running.join(", ")}`;
    const nexts = this.config.backups.flatMap(({ name }) => {
      const nextMs = this.#scheduler.nextMs(name);
      return nextMs === undefined ? [] : [{ name, nextMs }];
    });
    const next = nexts.sort((a, b) => a.nextMs - b.nextMs)[0];
    return next === undefined
      ? "no entry has a schedule"
      : `next: ${next.name} at ${new Date(next.nextMs).toISOString()}`;
  }

  /** The server asks for a run now. */
  request(name: string): RunVerdict {
    return runVerdict(name, this.#scheduler.request(name), this.#running.size);
  }

  /** Of those entries that run or wait, then of those that are next; not more than so many. */
  entriesNow(countMax: number): Promise<EntryNow[]> {
    const rank = ({ name }: BackupEntryConfig): number => {
      const activity = this.#scheduler.activity(name);
      if (activity === "running") return 0;
      return activity === "waiting" ? 1 : (this.#scheduler.nextMs(name) ?? Number.POSITIVE_INFINITY);
    };
    const ranked = this.config.backups.map((entry) => ({ entry, rank: rank(entry) }));
    // Infinite ranks have no difference; those entries keep the order of the file.
    ranked.sort((a, b) => (a.rank === b.rank ? 0 : a.rank - b.rank));
    return Promise.all(ranked.slice(0, countMax).map(({ entry }) => this.#entryNow(entry)));
  }

  async status(): Promise<AgentStatus> {
    const { clock, software, pid, states } = this.#options;
    const { config, zone, certificateNotAfterMs } = this.#setup;
    return {
      ...{ software, pid, zone, certificateNotAfterMs },
      agent: config.agent.name,
      server: formatAddress(config.server),
      configFile: config.configFile,
      startedWallMs: this.#startedWallMs,
      uptimeMs: Math.round(clock.now() - this.#startedAtMs),
      stopping: this.#stop.signal.aborted,
      configWallMs: this.#configWallMs,
      reloadFailure: this.#reloadFailure,
      maxConcurrent: config.daemon.maxConcurrent,
      stateFailing: states.failing,
      control: this.#options.control(),
      entries: await Promise.all(config.backups.map((entry) => this.#entryView(entry))),
    };
  }

  /** Begins nothing any more and interrupts what runs; resolves when it is over. Never rejects. */
  async stop(): Promise<void> {
    this.#scheduler.stop();
    this.#stop.abort();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
    await this.#options.states.settled();
  }

  async #schedule(): Promise<void> {
    const { config, zone } = this.#setup;
    const entries = config.backups.map((entry): ScheduledEntry => ({
      name: entry.name,
      rule: ruleOf(config, entry, zone),
    }));
    const recalls = new Map<string, Recalled>();
    await Promise.all(
      entries.map(async ({ name, rule }) => {
        if (rule === undefined) return;
        recalls.set(name, recalled(await this.#options.states.read(name), rule.expression));
      }),
    );
    this.#scheduler.update(entries, config.daemon.maxConcurrent, (name) => recalls.get(name) ?? NOTHING);
    this.#options.changed();
  }

  #run(name: string, trigger: Trigger): Promise<void> {
    const done = this.#runEntry(name, trigger).finally(() => {
      this.#running.delete(name);
      this.#plans.delete(name);
      this.#stats.changed();
      this.#options.changed();
    });
    const startedWallMs = this.#options.clock.wall();
    this.#running.set(name, { trigger, startedWallMs, done, stage: undefined, retries: 0 });
    this.#stats.changed();
    this.#options.changed();
    return done;
  }

  async #runEntry(name: string, trigger: Trigger): Promise<void> {
    const { config } = this.#setup;
    const entry = config.backups.find((one) => one.name === name);
    if (entry === undefined || this.#stop.signal.aborted) return;
    const { log, events, runDeps, planOf } = this.#options;
    const due = new Date(trigger.dueMs).toISOString();
    events.emit({
      kind: "run.started",
      level: "info",
      message: `a run of ${name} begins`,
      fields: { backup: name, storage: entry.storage, trigger: trigger.kind, due },
    });
    try {
      const plan = { ...planOf(config, entry), patienceMs: this.#patienceMs(name) };
      this.#plans.set(name, plan);
      const result = await runEntry(runDeps(config), {
        plan,
        trigger,
        signal: this.#stop.signal,
        onStage: (stage) => this.#staged(name, stage),
      });
      this.#ended(result);
    } catch (error) {
      log.error("a run ended in a way that it must not", { backup: name, error });
    }
  }

  /** Until the next run could begin, which would find this one still trying. */
  #patienceMs(name: string): number {
    const nextMs = this.#scheduler.nextMs(name) ?? Number.POSITIVE_INFINITY;
    return Math.max(0, Math.min(PATIENCE_MS, nextMs - this.#options.clock.wall()));
  }

  #staged(name: string, stage: BackupStage): void {
    const running = this.#running.get(name);
    if (running === undefined) return;
    running.stage = stage;
    if (stage.stage === "retrying") running.retries += 1;
  }

  #ended(result: BackupResult): void {
    const { log, events } = this.#options;
    const { backup, storage, session, problems, problemCount, sockets, failure } = result;
    for (const { path, reason, errno } of problems.slice(0, PROBLEMS_LOGGED_MAX)) {
      log.warn("a source file is not in the archive as it is", { backup, path: pathText(path), reason, errno });
    }
    if (sockets.count > 0) {
      const named = sockets.paths.map(pathText);
      log.info("sockets are not in the archive: no tar holds one", { backup, count: sockets.count, sockets: named });
    }
    const duration = formatDuration(result.durationMs);
    const fields = { backup, storage, session, durationMs: Math.round(result.durationMs), problemCount };
    if (failure !== undefined) {
      const { code, message, hint } = failure;
      const level = code === "E_INTERRUPTED" ? "warn" : "error";
      events.emit({
        kind: "run.failed",
        level,
        message: `a run of ${backup} failed after ${duration}: ${message}`,
        fields: { ...fields, code, hint },
      });
      return;
    }
    const { archive, sha256, entries, rawBytes, archiveBytes, resentBytes, removed } = result;
    events.emit({
      kind: "run.committed",
      level: "info",
      message: `a run of ${backup} is committed: ${formatSize(archiveBytes)} in ${duration}`,
      fields: { ...fields, archive, sha256, entries, rawBytes, archiveBytes, resentBytes, removed },
    });
  }

  async #entryView(entry: BackupEntryConfig): Promise<AgentEntryView> {
    const limit = limitInForce(bandwidthRule(entry, this.#setup.zone), this.#options.clock.wall());
    return {
      ...(await this.#entryNow(entry)),
      limitBytesPerSecond: limit.bytesPerSecond ?? null,
      limitUntilWallMs: limit.untilMs ?? null,
    };
  }

  async #entryNow({ name, storage, schedule }: BackupEntryConfig): Promise<EntryNow> {
    const { last, lastCommitted } = await this.#options.states.read(name);
    const running = this.#running.get(name);
    return {
      backup: name,
      storage,
      schedule: schedule ?? null,
      activity: this.#scheduler.activity(name),
      nextWallMs: this.#scheduler.nextMs(name) ?? null,
      running: running === undefined ? null : runningView({ ...running, trigger: running.trigger.kind }),
      last,
      lastCommitted,
    };
  }
}

function ruleOf(config: AgentConfig, entry: BackupEntryConfig, zone: string): ScheduledEntry["rule"] {
  if (entry.schedule === undefined) return undefined;
  return {
    expression: entry.schedule,
    zone,
    jitterMs: entry.scheduleJitterMs,
    runMissed: entry.runMissed,
    seed: `${config.agent.name}/${entry.name}`,
  };
}
