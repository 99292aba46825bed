/**
 * The JSON of every route of the page, typed once for the server that writes it and the page that reads it. Only types: nothing
 * runs here. Records and views that exist already are taken from #observe as they are. Of archives and storages they are in
 * api-archives.ts. docs/web-api.md tells the same in words.
 *
 * Rules that hold everywhere: times are wall milliseconds since 1970 (`…WallMs`), durations milliseconds (`…Ms`), sizes bytes, rates
 * bytes per second; what is not known is null, never 0 and never left out. Every text may come from an agent: it is text, not HTML.
 */
import type { EffectiveRow } from "#config/effective.ts";
import type { AgentBackupView, AgentView } from "#observe/agent-views.ts";
import type { LiveSlot } from "#observe/live-view.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { ActiveSnapshot, PhaseSpan, SeriesPoint } from "#observe/session-points.ts";
import type { TrafficPoint as TrafficSample } from "#observe/session-series.ts";
import type { ServerStatus, SessionView, WaitingView } from "#observe/views.ts";
import type { ArchiveSummary, BackupState, BackupSummary, Page, StorageRow } from "./api-archives.ts";
import type { Metric } from "#observe/metrics.ts";

/** Every answer that is no success: the status is that of HTTP. */
export interface ApiError {
  readonly error: {
    /** `not-found`, `bad-request`, `unauthorized`, `forbidden`, `too-many`, `unavailable`, or a code of the error catalogue. */
    readonly code: string;
    readonly message: string;
    readonly hint: string | null;
  };
}

/** As the page calls them. */
export type ApiEvent = EventRecord;
export type ApiEnd = SessionRecord;
export type ApiPoint = SeriesPoint;
export type ApiPhase = PhaseSpan;
export type ApiWaiting = WaitingView;

// ---- access -------------------------------------------------------------------------------------------------------------

/** `GET /api/v1/access`: needs no login. */
export interface AccessAnswer {
  /** There is a password, and everything but this and `health` needs a login. */
  readonly passwordNeeded: boolean;
  readonly loggedIn: boolean;
  /** Archives may be browsed and files downloaded: `allow_download` and a password. */
  readonly download: boolean;
  readonly software: string;
}

/** In the page itself, as the text of its `template#first`: what it would ask for before it can draw anything. */
export interface FirstView {
  readonly boot: string;
  /** As in StreamHello: when that has another one, something happened in between. -1 for who has not logged in. */
  readonly revision: number;
  readonly nowWallMs: number;
  readonly access: AccessAnswer;
  /** What somebody has chosen here before, of CHOICES in first-view.ts. */
  readonly chosen: { readonly language: string | null; readonly theme: string | null };
  /** Null for other views, and for who has not logged in. */
  readonly overview: OverviewAnswer | null;
}

/** `POST /api/v1/login`, answered with 204 and a cookie, 401, or 429 with Retry-After. `POST /api/v1/logout` has no body. */
export interface LoginRequest {
  readonly password: string;
}

// ---- server -------------------------------------------------------------------------------------------------------------

/** `GET /api/v1/health`: needs no login. 200 when ready or busy, 503 otherwise. */
export interface HealthAnswer {
  /** As `nbackup-agent health` says it. */
  readonly state: "READY" | "BUSY" | "LOW DISK" | "MAINTENANCE";
  /** Of who has not given the password empty. */
  readonly reasons: readonly string[];
  readonly software: string;
  readonly boot: string;
  readonly uptimeMs: number;
  /** The server's clock now: the page counts ages from it. */
  readonly nowWallMs: number;
}

/** `GET /api/v1/metrics`: what `/metrics` has, as JSON. */
export interface MetricsAnswer {
  readonly metrics: readonly Metric[];
}

/** What the server as a whole is at; also in every `tick` of the live stream. */
export interface ServerNumbers extends Pick<
  ServerStatus,
  | "uptimeMs"
  | "stopping"
  | "sessionCount"
  | "sessionsMax"
  | "waitingCount"
  | "connectionCount"
  | "memoryBytes"
  | "memoryBytesMax"
> {
  /** Received from agents over the last second or so. */
  readonly receivedRate: number;
  /** Written to the disks. */
  readonly writtenRate: number;
}

// ---- overview -----------------------------------------------------------------------------------------------------------

/** One point of the server's traffic. */
export type TrafficPoint = TrafficSample;

/** `GET /api/v1/overview` */
export interface OverviewAnswer {
  readonly nowWallMs: number;
  readonly software: string;
  readonly boot: string;
  readonly server: ServerNumbers;
  readonly counts: Readonly<Record<BackupState, number>>;
  /** The worst first, then by agent, backup, storage. */
  readonly backups: readonly BackupSummary[];
  /** Storages have not been looked at since the start: rows know only the history. */
  readonly scanning: boolean;
  /** The last hour, a point every 10 s, oldest first. */
  readonly traffic: readonly TrafficPoint[];
  readonly storages: readonly StorageRow[];
  /** Of level warn and error first, then others; newest first, at most 20. */
  readonly events: readonly EventRecord[];
  readonly certificates: readonly CertificateRow[];
}

export interface CertificateRow {
  /** `server`, `ca`, `page` */
  readonly name: string;
  readonly notAfterWallMs: number;
  readonly daysLeft: number;
}

// ---- sessions -----------------------------------------------------------------------------------------------------------

/** A session that runs, as a card shows it. */
export interface LiveSession extends Omit<SessionView, "slots"> {
  /** What it is doing: of the same words as `PhaseSpan.phase`. */
  readonly phase: string;
  /** Of the phase, bytes; null where a phase has no measure. */
  readonly phaseDone: number | null;
  readonly phaseTotal: number | null;
  /** 0 to 1 of the whole run, by what the last archive was; null when nobody can say. */
  readonly progress: number | null;
  readonly etaMs: number | null;
  readonly receivedRate: number;
  readonly writtenRate: number;
  readonly streamsUp: number;
  readonly slotCount: number;
}

/** `GET /api/v1/sessions?agent=&backup=&storage=&limit=&after=`: what runs, then who waits; all of them unless `limit` is told. */
export interface SessionsAnswer extends Omit<Page<never>, "rows"> {
  readonly nowWallMs: number;
  readonly running: readonly (LiveSession & {
    /** Received rate, oldest first, one a second for the last minute. */
    readonly sparkline: readonly number[];
  })[];
  readonly waiting: readonly WaitingView[];
}

/** A slot of a running session. Null: this server does not know it of a slot. */
export type SlotRow = LiveSlot;

export interface AutoscalerRow {
  /** `efficiency` or `adaptive`. */
  readonly mode: string;
  readonly active: number;
  readonly max: number;
  /** `steady`, `growing`, `shrinking`, `cooling`, `frozen` */
  readonly state: string | null;
  /** Produced per drained; null where nothing was drained. */
  readonly rate: number | null;
}

/** `GET /api/v1/sessions/:id`: of one that runs (`live`) and of one that is over (`record`) as far as it is remembered. */
export interface SessionDetail {
  readonly nowWallMs: number;
  readonly session: string;
  readonly agent: string;
  readonly backup: string;
  readonly storage: string;
  /** Null: it does not run. */
  readonly live: LiveSession | null;
  /** Null: it is not over, or was forgotten. */
  readonly record: SessionRecord | null;
  readonly slots: readonly SlotRow[];
  readonly autoscaler: AutoscalerRow | null;
  readonly windowBytes: number | null;
  /** Oldest first; the last one of a session that runs has no end. */
  readonly phases: readonly PhaseSpan[];
  /** Oldest first, at most 600: the finer the shorter it runs. */
  readonly series: readonly SeriesPoint[];
  /** Milliseconds between points now. */
  readonly seriesStepMs: number;
  /** What was told of it, oldest first, at most 500. */
  readonly events: readonly EventRecord[];
  /** Whether its archive is still there. */
  readonly archive: ArchiveSummary | null;
}

/** Query of `GET /api/v1/sessions/history`: texts of a URL. `outcome` may be several, with commas. */
export interface HistoryQuery {
  readonly agent?: string;
  readonly backup?: string;
  readonly storage?: string;
  readonly outcome?: string;
  /** Ended at or after, before; wall milliseconds. */
  readonly from?: string;
  readonly to?: string;
  /** 1 to 500; 50 unless told. */
  readonly limit?: string;
  readonly after?: string;
}

/** Records by time, the newest first. */
export interface RecordPage<T> extends Page<T> {
  /** The filters by name whose text is the whole name of one that is there, and which therefore mean only that one. */
  readonly exact: readonly string[];
}

/** `GET /api/v1/sessions/history` */
export type HistoryAnswer = RecordPage<SessionRecord>;

/** `GET /api/v1/sessions/active-history?session=&agent=&from=&to=&limit=&after=` */
export type ActiveHistoryAnswer = Page<ActiveSnapshot>;

// ---- agents -------------------------------------------------------------------------------------------------------------

/** What an agent tells on its control channel. Null values: this agent or this version does not say. */
export interface AgentChannel extends Omit<AgentView, "backups"> {
  /** Those that are too many to be told are missing: `backupCount` counts them too. */
  readonly backups: readonly AgentChannelBackup[];
}

export interface AgentChannelBackup extends Pick<AgentBackupView, "backup" | "storage" | "activity"> {
  readonly session: string | null;
  readonly phase: string | null;
  readonly nextWallMs: number | null;
  /** What its last run came to, also one that never reached the server: `committed`, or a code of the error catalogue. */
  readonly lastResult: string | null;
  /** When that ended, and when the last one that was committed did, by the agent's clock. */
  readonly lastWallMs: number | null;
  readonly lastSuccessWallMs: number | null;
  readonly autoscaler: AutoscalerRow | null;
}

export interface AgentRow {
  readonly agent: string;
  /** The worst of its backup entries. */
  readonly state: BackupState;
  /** Null: no control channel since the start of the server. */
  readonly channel: AgentChannel | null;
  /** A sign of life of any kind; null: none that is remembered. */
  readonly lastSeenWallMs: number | null;
  readonly addresses: readonly string[];
  readonly running: readonly string[];
  readonly waitingCount: number;
  readonly archiveCount: number;
  readonly archiveBytes: number;
  readonly backups: readonly BackupSummary[];
}

/** `GET /api/v1/agents?agent=&state=&limit=&after=`: by name; all of them unless `limit` is told. */
export interface AgentsAnswer extends Page<AgentRow> {
  readonly nowWallMs: number;
}

// ---- events -------------------------------------------------------------------------------------------------------------

/** Query of `GET /api/v1/events`. `level`: this or worse; `kind` may be several with commas, `session.` is all of its kind. */
export interface EventsQuery {
  readonly level?: string;
  readonly kind?: string;
  readonly agent?: string;
  readonly session?: string;
  /** In message or fields, any case. */
  readonly text?: string;
  readonly from?: string;
  readonly to?: string;
  readonly limit?: string;
  readonly after?: string;
}

/** `GET /api/v1/events` */
export type EventsAnswer = RecordPage<EventRecord>;

// ---- configuration ------------------------------------------------------------------------------------------------------

/** A key: what it is, and whether that is the default. */
export type ConfigRow = EffectiveRow;

/** `GET /api/v1/config/effective`: in the order of the reference. */
export interface ConfigAnswer {
  readonly file: string;
  /** When it was read. */
  readonly readWallMs: number;
  readonly rows: readonly ConfigRow[];
  /** Keys (`server.listen`, `chunk_buffer`) that the file has otherwise than before and that count from the next start of the server. */
  readonly restartKeys: readonly string[];
}

// ---- live stream --------------------------------------------------------------------------------------------------------

/**
 * `GET /api/v1/stream?session=ID`: server-sent events, `event:` is the type, `data:` the JSON of the rest. The first is `hello`; after a
 * gap (a new `boot`, or a reconnection) the page asks its routes again. Without `session` no `session` messages come.
 */
export type StreamMessage =
  | { readonly type: "hello"; readonly data: StreamHello }
  /** Every second while a session runs, else every 5 s. */
  | { readonly type: "tick"; readonly data: StreamTick }
  /** An event, as it is recorded. */
  | { readonly type: "event"; readonly data: EventRecord }
  /** A session is over, or an agent was refused. */
  | { readonly type: "ended"; readonly data: SessionRecord }
  /** Of the session asked for, with every tick. */
  | { readonly type: "session"; readonly data: StreamSession }
  /** What these routes answer may be other than it was: ask them again. */
  | {
      readonly type: "changed";
      readonly data: { readonly routes: readonly ("storages" | "archives" | "agents" | "config")[] };
    };

export interface StreamHello {
  readonly boot: string;
  readonly software: string;
  /** Goes up with everything that the stream tells or would tell. */
  readonly revision: number;
  readonly nowWallMs: number;
}

export interface StreamTick {
  readonly nowWallMs: number;
  readonly server: ServerNumbers;
  /** All that run: who is missing is over. */
  readonly sessions: readonly LiveSession[];
  readonly waiting: readonly WaitingView[];
}

export interface StreamSession {
  readonly session: string;
  readonly slots: readonly SlotRow[];
  readonly autoscaler: AutoscalerRow | null;
  readonly phases: readonly PhaseSpan[];
  /** Newest point of the series; its `wallMs` says whether it is a new one. */
  readonly point: SeriesPoint | null;
}
