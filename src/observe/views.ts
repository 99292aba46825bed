/**
 * What runs now, as plain values: the answer of `nbackup-server status` and `sessions`, and what the page shows. Whoever
 * has the facts fills them in; nothing is kept here.
 */
import type { Metric } from "./metrics.ts";
import type { Outcome } from "./records.ts";

/** `low`: less free than its reserve, or it ran full; `unknown`: not looked at yet. */
export type StorageState = "unknown" | "ok" | "low" | "failed";

export interface StorageView {
  readonly name: string;
  readonly baseDir: string;
  readonly state: StorageState;
  /** Why it is not ok: a code of the error catalogue and its message. */
  readonly code: string | null;
  readonly message: string | null;
  /** When it came into this state; null while unknown. */
  readonly sinceWallMs: number | null;
  /** Of the last look, null before the first. */
  readonly totalBytes: number | null;
  readonly freeBytes: number | null;
  readonly reserveBytes: number | null;
  readonly maxBackups: number;
  readonly sessionCount: number;
  /** Archives that wait for their verification or are being read. */
  readonly verifyingCount: number;
}

/** When a configuration was read, and the last try that failed since; `wallMs` of each. */
export interface ConfigReading {
  readWallMs: number;
  failure: { readonly wallMs: number; readonly code: string; readonly reason: string } | null;
}

export interface ServerStatus {
  /** The configuration that counts. */
  readonly configuration: Readonly<ConfigReading>;
  /** `nbackup-server 0.1.0` */
  readonly software: string;
  /** UUID of this start. */
  readonly boot: string;
  readonly pid: number;
  readonly startedWallMs: number;
  readonly uptimeMs: number;
  /** It was told to stop and lets sessions finish. */
  readonly stopping: boolean;
  /** null: off. */
  readonly maintenance: MaintenanceView | null;
  readonly sessionCount: number;
  readonly sessionsMax: number;
  readonly waitingCount: number;
  readonly connectionCount: number;
  /** Counted by `memory_limit`. */
  readonly memoryBytes: number;
  readonly memoryBytesMax: number;
  readonly storages: readonly StorageView[];
  readonly verifying: VerifyingView | null;
  /** Records that the disk of the state directory did not take. */
  readonly lostRecords: { readonly events: number; readonly history: number; readonly failing: boolean };
  readonly metrics: readonly Metric[];
}

/** One slot of a running session. */
export interface SlotView {
  readonly slot: number;
  /** Of the printed table of slots; `parked`: an administrator has taken it out of use. */
  readonly state: "idle" | "receiving" | "disconnected" | "disabled";
  readonly parked: boolean;
  /** Of the newest connection; 0 before the first. */
  readonly generation: number;
  readonly bytes: number;
  readonly bytesPerSecond: number;
  readonly chunks: number;
  /** Chunks that came over it although they were here already. */
  readonly duplicateChunks: number;
  /** Connections that followed one that broke, and those that followed one that was closed on purpose. */
  readonly reconnects: number;
  readonly rotations: number;
  /** Includes what the agent sends before its answer; null when nothing is known. */
  readonly rttMs: number | null;
  /** Of the agent; null without a connection. */
  readonly remotePort: number | null;
  /** null before the first byte. */
  readonly lastByteAgeMs: number | null;
}

/** Answer to `rotate-stream`: the connection before and after. */
export interface RotateView {
  readonly session: string;
  readonly slot: number;
  readonly fromGeneration: number;
  readonly fromRemote: string;
  readonly toGeneration: number;
  readonly toRemote: string;
}

export interface SlotOrderView {
  readonly session: string;
  readonly slot: number;
  readonly order: "park" | "resume";
}

export interface MaintenanceView {
  readonly sinceWallMs: number;
  readonly reason: string | null;
}

export interface MaintenanceAnswer {
  readonly maintenance: MaintenanceView | null;
  /** Sessions that were ended for it. */
  readonly abortedCount: number;
  /** Sessions that go on. */
  readonly sessionCount: number;
}

export interface SessionView {
  readonly session: string;
  readonly agent: string;
  readonly backup: string;
  readonly storage: string;
  readonly run: string;
  /** Of the printed table of states: `receiving`, `parked`, `finishing` … */
  readonly state: string;
  readonly startWallMs: number;
  readonly durationMs: number;
  /** Number of streams; 0: data on the session connection. */
  readonly parallels: number;
  readonly connections: readonly string[];
  readonly chunks: number;
  readonly bytes: number;
  readonly duplicateBytes: number;
  readonly damagedChunks: number;
  readonly breaks: number;
  readonly entries: number;
  readonly rawBytes: number;
  /** What it will store as far as anyone knows; 0 when nobody does. */
  readonly expectedBytes: number;
  /** Waits for the disk. */
  readonly backlogBytes: number;
  /** Not reading, because the disk is behind. */
  readonly stalled: boolean;
  readonly slots: readonly SlotView[];
}

export interface WaitingView {
  readonly agent: string;
  readonly backup: string;
  readonly storage: string;
  readonly remote: string;
  /** In the line, from 1. */
  readonly position: number;
}

export interface SessionsView {
  readonly running: readonly SessionView[];
  readonly waiting: readonly WaitingView[];
}

/** What pruning did to one entry, or with a dry run would do. */
export interface PrunedView {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
  readonly removed: readonly { readonly archive: string; readonly bytes: number }[];
  /** The disk refused to remove these. */
  readonly stuck: readonly string[];
  readonly keptCount: number;
}

export interface PruneFailure {
  readonly storage: string;
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export interface PruneView {
  readonly dryRun: boolean;
  readonly entries: readonly PrunedView[];
  /** Storages that could not be pruned. */
  readonly failures: readonly PruneFailure[];
}

/** A verification that a command has made was kept, unless the archive was gone. */
export interface RecordedView {
  readonly recorded: boolean;
}

/** What is being read again. */
export interface VerifyingView {
  readonly storage: string;
  readonly archive: string;
  /** `verify_integrity` or `scrub`. */
  readonly by: string;
  /** Bytes. */
  readonly done: number;
  readonly total: number;
}

/** How a session ended that was to be aborted: a commit that had begun wins. */
export interface AbortView {
  readonly session: string;
  readonly outcome: Extract<Outcome, "aborted" | "committed">;
}

/** How a run of an agent's backup entry ended. */
export interface RunView {
  readonly trigger: "schedule" | "missed" | "cut-off" | "remote" | "once";
  readonly startedWallMs: number;
  readonly durationMs: number;
  readonly result: "committed" | "failed";
  readonly session: string | null;
  readonly archive: string | null;
  readonly sha256: string | null;
  readonly entries: number;
  readonly rawBytes: number;
  readonly archiveBytes: number;
  readonly resentBytes: number;
  /** Source files that could not be read as they are, and the first ones by name. */
  readonly problemCount: number;
  readonly problems: readonly { readonly path: string; readonly reason: string }[];
  /** Of the error catalogue; null when it was committed. */
  readonly code: string | null;
  readonly message: string | null;
  readonly hint: string | null;
}

/** One slot of a running session, and its connections so far. */
export interface StreamView {
  readonly slot: number;
  readonly state: "idle" | "up" | "draining" | "parked";
  readonly sentBytes: number;
  readonly chunks: number;
  readonly rttMs: number | null;
  /** Connections that broke. */
  readonly reconnects: number;
  /** Connections that were exchanged on purpose. */
  readonly rotations: number;
}

export interface AutoscalerView {
  readonly mode: "efficiency" | "adaptive";
  readonly enabled: boolean;
  readonly active: number;
  readonly max: number;
  readonly state: "steady" | "growing" | "shrinking" | "cooling" | "frozen";
  /** Bytes per second; null before the first window, and where there was nothing to be divided by. */
  readonly producedRate: number | null;
  readonly drainRate: number | null;
}

/** What a running entry is at. */
export interface RunningView {
  readonly trigger: RunView["trigger"];
  readonly startedWallMs: number;
  /** `hooks`, `connecting`, `queued`, `deferred`, `retrying`, or of the session `reading`, `sending`, `finishing`. */
  readonly stage: string;
  /** Once it is admitted. */
  readonly session: string | null;
  /** In the server's line, from 1. */
  readonly position: number | null;
  readonly retries: number;
  readonly entries: number;
  readonly rawBytes: number;
  readonly storedBytes: number;
  readonly durableBytes: number;
  readonly resentBytes: number;
  readonly reconnects: number;
  readonly streamsUp: number;
  readonly streams: readonly StreamView[];
  /** null while no session runs, and with `parallels: 0`. */
  readonly autoscaler: AutoscalerView | null;
  readonly rttMs: number | null;
  readonly currentPath: string | null;
  /** Of the entry's last committed session, 0 when there was none. */
  readonly lastEntries: number;
  readonly lastRawBytes: number;
}

export interface AgentEntryView {
  readonly backup: string;
  readonly storage: string;
  readonly schedule: string | null;
  /** `waiting`: it is due, and others run. */
  readonly activity: "idle" | "waiting" | "running";
  readonly nextWallMs: number | null;
  /** The bandwidth limit in force, null: none; and when its timetable changes it, null: never. */
  readonly limitBytesPerSecond: number | null;
  readonly limitUntilWallMs: number | null;
  readonly running: RunningView | null;
  readonly last: RunView | null;
  readonly lastCommitted: RunView | null;
}

/** Answer of the agent's daemon to `nbackup-agent status`. */
export interface AgentStatus {
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  readonly pid: number;
  readonly agent: string;
  /** `host:port` */
  readonly server: string;
  readonly configFile: string;
  /** The time zone of the schedules. */
  readonly zone: string;
  readonly startedWallMs: number;
  readonly uptimeMs: number;
  /** It was told to stop. */
  readonly stopping: boolean;
  /** When the configuration in use was read. */
  readonly configWallMs: number;
  /** The last attempt to read it again failed, and why. */
  readonly reloadFailure: { readonly wallMs: number; readonly code: string; readonly message: string } | null;
  readonly certificateNotAfterMs: number;
  readonly maxConcurrent: number;
  /** The disk does not take what is to be remembered. */
  readonly stateFailing: boolean;
  readonly control: ControlView;
  readonly entries: readonly AgentEntryView[];
}

/** The agent's control channel, as the agent sees it. */
export interface ControlView {
  readonly enabled: boolean;
  /** null: it is down. */
  readonly connectedSinceWallMs: number | null;
  readonly rttMs: number | null;
  readonly rttDeviationMs: number | null;
  /** Load average of a minute, of the server's machine. */
  readonly serverLoad: number | null;
  readonly serverCpus: number | null;
  readonly serverSessions: { readonly running: number; readonly max: number; readonly waiting: number } | null;
  /** Those that this agent may use. */
  readonly storages: readonly { readonly name: string; readonly freeBytes: number | null }[];
  readonly maintenance: boolean;
  /** Why it was not up the last time that it was not. */
  readonly lastFailure: { readonly wallMs: number; readonly code: string; readonly message: string } | null;
}

/** The agent's answer to a wish that it run an entry now. */
export interface StartedView {
  readonly agent: string;
  readonly backup: string;
  /** Whether it runs or waits for others. */
  readonly message: string;
}
