/**
 * An agent's machine: its files, and one process after another that backs them up, again and again as a schedule would,
 * until one backup of each entry was begun after the faults had ended and committed. The code that runs in it is the real one.
 */
import { sourceRoots } from "#archive/source-roots.ts";
import { sleep } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { LogFields, Logger } from "#base/log.ts";
import { uuid } from "#base/random.ts";
import {
  type BackupDeps,
  type BackupPlan,
  type BackupStage,
  type ProducerOptions,
  runBackup,
} from "#agent/backup-run.ts";
import type { AgentFacts } from "#agent/control-link.ts";
import type { BackupResult } from "#agent/result.ts";
import { InlineProducer } from "#test/support/inline-producer.ts";
import { testHeader } from "#test/support/pipeline-kit.ts";
import type { MemorySource } from "#test/support/memory-source.ts";
import type { SimClock } from "#test/support/sim-clock.ts";
import type { Chance } from "./chance.ts";
import { ControlHost } from "./control-host.ts";
import { EntryRuns } from "./entry-runs.ts";
import type { SimNetwork } from "./network.ts";
import type { SimOptions } from "./options.ts";
import { SimProcess } from "./process.ts";
import { Production } from "./production.ts";
import { entryRoot, WatchedSource } from "./tree.ts";

export interface AgentHostOptions {
  readonly host: string;
  readonly commonName: string;
  readonly backups: readonly string[];
  readonly source: MemorySource;
  readonly clock: SimClock;
  readonly network: SimNetwork;
  readonly chance: Chance;
  readonly options: SimOptions;
  /** Resolves when the faults end. */
  readonly healed: Promise<void>;
  readonly isHealed: () => boolean;
  readonly log: (line: string) => void;
  /** An agent said something in its log. */
  readonly said: (message: string) => void;
  readonly produces: (process: SimProcess, entry: string, production: Production) => void;
  /** A file was opened twice by one producer. */
  readonly readAgain: (process: SimProcess, path: string) => void;
  /** All its work has ended by itself. */
  readonly exited: (host: AgentHost, run: AgentRun) => void;
  readonly result: (process: SimProcess, entry: string, result: BackupResult) => void;
  /** What its control channel says and is asked for. */
  readonly control: ControlWatch;
}

/** Who looks at what the control channels of all agents say. `entry` is `agent/backup`. */
export interface ControlWatch {
  told(agent: string, backups: AgentFacts["backups"]): void;
  /** A run that the server has asked for begins. */
  begins(entry: string): void;
  /** A run of the entry has begun, or is over. */
  busy(entry: string, busy: boolean): void;
}

/** One process that backs up. */
export interface AgentRun {
  readonly process: SimProcess;
  readonly run: string;
  readonly stop: AbortController;
  /** It begins no backup any more when the one that runs has ended. */
  retired: boolean;
  /** What its producers read. */
  readonly sources: WatchedSource[];
  /** By backup: how far the one that runs is. */
  readonly progress: Map<string, Extract<BackupStage, { stage: "running" }>["progress"]>;
  /** By backup that runs: its session, when it has one. */
  readonly activity: Map<string, string | undefined>;
  control: ControlHost | undefined;
}

/** For the last word of a control channel. */
const GOODBYE_MS = 1_000;

export class AgentHost {
  readonly host: string;
  readonly commonName: string;
  /** Alive, standing still or not; the last one is the one that counts. */
  readonly runs: AgentRun[] = [];
  readonly #options: AgentHostOptions;
  /** Backups with a commit that began after the faults had ended. */
  readonly #done = new Set<string>();
  #starts = 0;
  /** Backups of the current process that wait for the faults to end. */
  #waiting = 0;

  constructor(options: AgentHostOptions) {
    this.#options = options;
    this.host = options.host;
    this.commonName = options.commonName;
  }

  /** Nothing is left to do. */
  get isDone(): boolean {
    return this.#done.size === this.#options.backups.length;
  }

  /** It does nothing before the faults end. */
  get isWaiting(): boolean {
    return this.runs.length === 1 && this.#waiting === this.#options.backups.length;
  }

  get backups(): readonly string[] {
    return this.#options.backups;
  }

  get current(): AgentRun | undefined {
    return this.runs.at(-1);
  }

  /** A new process with a new run begins all that is not done. */
  start(): AgentRun {
    const { clock, chance, backups } = this.#options;
    this.#starts += 1;
    const process = new SimProcess(`${this.host} ${this.#starts}`, clock);
    const random = chance.fork(process.name);
    const run: AgentRun = {
      process,
      run: uuid(random),
      stop: new AbortController(),
      retired: false,
      sources: [],
      progress: new Map(),
      activity: new Map(),
      control: undefined,
    };
    this.runs.push(run);
    this.#waiting = 0;
    const runs = this.#scheduled(run, random);
    const begin = (backup: string): Promise<void> => runs?.own(backup) ?? this.#round(run, backup, random);
    const left = backups.filter((backup) => !this.#done.has(backup));
    const works = left.map((backup) => this.#work(run, backup, random, begin));
    const end = this.#channel(run, runs, chance.fork(`${process.name} control`));
    void Promise.all(works)
      .then(() => end?.())
      .then(() => runs?.settled())
      .then(() => this.#exit(run));
    return run;
  }

  /** Where the server may ask for runs, all of them go through one place. */
  #scheduled(run: AgentRun, random: Chance): EntryRuns | undefined {
    const { options, backups, log, control } = this.#options;
    if (options.controlChannel !== true || options.wishEveryMs === undefined) return undefined;
    const runs = new EntryRuns({
      ...{ clock: run.process.clock, log: logger(run.process, log, () => undefined), backups },
      run: (backup) => this.#round(run, backup, random),
      wished: (backup) => control.begins(`${this.commonName}/${backup}`),
    });
    run.stop.signal.addEventListener("abort", () => runs.stop(), { once: true });
    return runs;
  }

  /** Its control channel; what is returned lets the process end when the channel is up, or need not be any more. */
  #channel(run: AgentRun, runs: EntryRuns | undefined, chance: Chance): (() => Promise<void>) | undefined {
    const { host, commonName, network, options, backups, log, isHealed, control } = this.#options;
    if (options.controlChannel !== true) return undefined;
    const { process } = run;
    const channel = new ControlHost({
      ...{ process, run: run.run, host, commonName, network, chance },
      log: logger(process, log, () => undefined),
      backups: () =>
        backups.map((backup) => {
          const session = run.activity.get(backup);
          const activity = run.activity.has(backup) ? ("running" as const) : ("idle" as const);
          return { backup, storage: "main", activity, ...(session === undefined ? {} : { session }) };
        }),
      told: (told) => control.told(commonName, told),
      wish: (backup) =>
        runs?.wish(backup) ?? { accepted: false, failure: new Failure("E_BUSY", `${backup} runs already`) },
    });
    run.control = channel;
    return async () => {
      // Of several runs of one agent only one can have it, and before the end of the faults nobody need.
      if (isHealed() && run === this.current && !run.retired) await channel.up(run.stop.signal);
      runs?.stop();
      channel.stop();
      await sleep(process.clock, GOODBYE_MS);
    };
  }

  /** Ends a process at once. `silent`: with its machine, so that its peers hear nothing. */
  kill(run: AgentRun, silent: boolean): void {
    run.process.kill(silent);
    for (const backup of run.activity.keys()) this.#options.control.busy(`${this.commonName}/${backup}`, false);
    run.activity.clear();
    if (silent) this.#options.network.vanish(run.process);
    this.#forget(run);
  }

  /** SIGTERM. */
  interrupt(run: AgentRun): void {
    run.process.enter(() => run.stop.abort());
  }

  #forget(run: AgentRun): void {
    const at = this.runs.indexOf(run);
    if (at !== -1) this.runs.splice(at, 1);
  }

  /** All its work ended: the process goes, and the system closes what it left open. */
  #exit(run: AgentRun): void {
    if (!run.process.isAlive) return;
    run.process.kill(false);
    this.#forget(run);
    this.#options.exited(this, run);
  }

  async #work(run: AgentRun, backup: string, random: Chance, begin: (backup: string) => Promise<void>): Promise<void> {
    const { options, isHealed, healed } = this.#options;
    for (let round = 1; ; round += 1) {
      await begin(backup);
      if (this.#done.has(backup) || run.retired || run.stop.signal.aborted) return;
      if (round >= options.rounds && !isHealed()) {
        if (run === this.current) this.#waiting += 1;
        await healed.then(() => run.process.running());
      } else await sleep(run.process.clock, random.int(10, 2_000), run.stop.signal);
      if (run.stop.signal.aborted || run.retired) return;
    }
  }

  /** One backup. */
  async #round(run: AgentRun, backup: string, random: Chance): Promise<void> {
    const { options, isHealed, result, control } = this.#options;
    const entry = `${this.commonName}/${backup}`;
    const counts = isHealed();
    const changed = (session: string | undefined): void => {
      if (run.activity.get(backup) === session && run.activity.has(backup)) return;
      run.activity.set(backup, session);
      run.control?.changed();
    };
    changed(undefined);
    control.busy(entry, true);
    const ended = await runBackup(
      this.#deps(run, backup, random),
      planOf(options, backup),
      run.stop.signal,
      (stage) => {
        changed(stage.stage === "running" ? stage.session : undefined);
        if (stage.stage === "running") run.progress.set(backup, stage.progress);
        else run.progress.delete(backup);
      },
    );
    run.progress.delete(backup);
    run.activity.delete(backup);
    run.control?.changed();
    control.busy(entry, false);
    result(run.process, entry, ended);
    if (counts && ended.result === "committed") this.#done.add(backup);
  }

  #deps(run: AgentRun, backup: string, random: Chance): BackupDeps {
    const { network, options, source, log, said, produces, readAgain } = this.#options;
    const { process } = run;
    const { paceMs } = options;
    const entry = `${this.commonName}/${backup}`;
    const slowly = {
      now: () => process.clock.now(),
      wall: () => process.clock.wall(),
      after: (delayMs: number, fn: () => void) => process.clock.after(delayMs + paceMs, fn),
    };
    return {
      clock: process.clock,
      random,
      dialer: network.dialer(process, this.host, this.commonName),
      log: logger(process, log, said),
      identity: { agent: this.commonName, software: "nbackup-agent 0.0.0", run: run.run },
      makeProducer: ({ compression, chunkBytes }: ProducerOptions) => {
        const watched = new WatchedSource(source, (path) => readAgain(process, path));
        run.sources.push(watched);
        const roots = sourceRoots([{ path: entryRoot(backup), optional: false }]);
        const inner = new InlineProducer({
          source: watched,
          roots,
          exclude: [],
          compression,
          chunkBytes,
          index: testHeader(compression.mode),
          clock: slowly,
        });
        const production = new Production(inner);
        produces(process, entry, production);
        return production;
      },
      checkSources: () => undefined,
      cores: 1,
    };
  }
}

function planOf(options: SimOptions, backup: string): BackupPlan {
  return {
    entry: {
      name: backup,
      storage: "main",
      schedule: undefined,
      sources: [{ path: entryRoot(backup), optional: false }],
      exclude: [],
      oneFileSystem: false,
      excludeCaches: false,
      excludeIfPresent: [],
      parallels: options.parallels,
      autoScaler: { enabled: options.autoScaler !== undefined, mode: options.autoScaler ?? "efficiency" },
      bandwidthLimitBytesPerSecond: options.limitBytesPerSecond,
      bandwidthWindows: [],
      dscp: undefined,
      portRotation:
        options.rotateChunks === undefined
          ? { mode: "off" }
          : { mode: "per-n-chunks", chunksPerCycle: options.rotateChunks },
      scheduleJitterMs: 0,
      runMissed: false,
      hooks: { before: undefined, after: undefined, onFailure: undefined, timeoutMs: 3_600_000 },
      notify: undefined,
    },
    retry: options.retry,
    resume: {
      bufferBytes: options.windowBytes,
      chunkBytes: options.chunkBytes,
      giveUpAfterMs: options.giveUpAfterMs,
    },
    workers: 1,
    waitVerify: options.verifyIntegrity ?? false,
  };
}

function logger(process: SimProcess, line: (text: string) => void, said: (message: string) => void): Logger {
  const write =
    (level: string) =>
    (message: string, fields?: LogFields): void => {
      if (!process.isAlive) return;
      line(`${process.name} ${level} ${message} ${JSON.stringify(fields ?? {})}`);
      said(message);
    };
  const log: Logger = {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: () => log,
  };
  return log;
}
