/**
 * How each backup entry of each agent stands: from the archives that are there, the ends of sessions, and what agents tell. Policy only: values
 * in, rows out. What is late is told by habit, because a schedule is the agent's and not the server's.
 */
import type { SessionRecord } from "#observe/records.ts";
import type { ScannedArchive } from "#observe/storage-scans.ts";
import { agentFailure, failedAt } from "./agent-failure.ts";
import type { BackupRow, BackupState, SizePoint } from "./api-archives.ts";
import type { AgentChannel, AgentChannelBackup } from "./api-types.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Runs whose distances make the habit. */
const HABIT_RUNS = 10;
const HABIT_RUNS_MIN = 3;
/** So much more than usual is late: a run takes its time, and waits for others. */
const TOLERANCE_PART = 0.5;
const TOLERANCE_MS_MIN = HOUR_MS;
/** What has no habit yet and ran within a day is well. */
const NEW_MS = 25 * HOUR_MS;
const SIZES_MAX = 60;
/**
 * An entry that nobody names any more and that has no archives: a name that was misspelt, or an agent that is no more, is not failing for ever.
 * Since its last end; where it had succeeded, since its archives were found gone.
 */
const FORGET_MS = 14 * DAY_MS;

export interface BackupFacts {
  readonly nowWallMs: number;
  readonly archives: readonly ScannedArchive[];
  /** Newest first. */
  readonly history: readonly SessionRecord[];
  readonly agents: readonly AgentChannel[];
  readonly running: readonly {
    readonly session: string;
    readonly agent: string;
    readonly backup: string;
    readonly storage: string;
  }[];
  /** Whether what is not among the archives is not in the storage. */
  readonly isWhole: (storage: string) => boolean;
  /** Those that had a success when they were last looked at, whatever history and storages know of it now. */
  readonly succeeded: readonly Pick<BackupRow, "agent" | "backup" | "storage" | "lastSuccessWallMs">[];
  /** For how long it is known that the archives are gone of a backup that succeeded; 0: since now; Infinity: that was told, and nothing ended since. */
  readonly goneForMs: (place: Pick<BackupRow, "agent" | "backup" | "storage" | "lastEndWallMs">) => number;
}

interface Gathered {
  readonly agent: string;
  readonly backup: string;
  readonly storage: string;
  readonly archives: ScannedArchive[];
  /** Newest first; those that say something of the backup. */
  readonly ends: SessionRecord[];
  /** What was known of it at the last look, where it had a success then. */
  before: Pick<BackupRow, "lastSuccessWallMs"> | undefined;
  /** What its agent told of it last. */
  told: AgentChannelBackup | undefined;
  running: string | null;
  /** What its agent says, which is connected and names all it has; undefined: no agent says anything. */
  isConfigured: boolean | undefined;
}

const WORST: Readonly<Record<BackupState, number>> = { failing: 0, late: 1, never: 2, unknown: 3, ok: 4 };

/** The worst first, then by agent, backup, storage. */
export function backupRows(facts: BackupFacts): BackupRow[] {
  const gathered = new Map<string, Gathered>();
  const of = (agent: string, backup: string, storage: string): Gathered => {
    const key = `${agent}\0${backup}\0${storage}`;
    let entry = gathered.get(key);
    if (entry === undefined) {
      entry = {
        agent,
        backup,
        storage,
        archives: [],
        ends: [],
        before: undefined,
        told: undefined,
        running: null,
        isConfigured: undefined,
      };
      gathered.set(key, entry);
    }
    return entry;
  };
  for (const archive of facts.archives) of(archive.agent, archive.backup, archive.storage).archives.push(archive);
  for (const end of facts.history) if (tells(end)) of(end.agent, end.backup, end.storage).ends.push(end);
  for (const before of facts.succeeded) of(before.agent, before.backup, before.storage).before = before;
  for (const { session, agent, backup, storage } of facts.running) of(agent, backup, storage).running = session;
  const telling = new Set<string>();
  for (const { agent, backups, backupCount, connected } of facts.agents) {
    // Before its first word it has none.
    if (connected && backupCount > 0 && backups.length >= backupCount) telling.add(agent);
    for (const told of backups) {
      const entry = of(agent, told.backup, told.storage);
      entry.told = told;
      entry.isConfigured = true;
    }
  }
  for (const entry of gathered.values()) if (telling.has(entry.agent)) entry.isConfigured ??= false;
  const present = [...gathered.values()].filter((entry) => !isForgotten(entry, facts));
  const rows = present.map((entry) => rowOf(entry, facts));
  return rows.sort(
    (a, b) =>
      WORST[a.state] - WORST[b.state] ||
      compare(a.agent, b.agent) ||
      compare(a.backup, b.backup) ||
      compare(a.storage, b.storage),
  );
}

export function worstOf(rows: readonly BackupRow[]): BackupState {
  return rows.reduce<BackupState>((worst, { state }) => (WORST[state] < WORST[worst] ? state : worst), "ok");
}

/** Refused until later, which is no failure: the agent comes again by itself. */
const LATER: ReadonlySet<string | null> = new Set(["E_BUSY", "E_SHUTDOWN", "E_MAINTENANCE"]);

/** Of an agent that was told to wait or was stopped, and of a session that goes on or made room for maintenance, nothing is known yet. */
function tells({ outcome, code, backup }: SessionRecord): boolean {
  if (backup === "" || outcome === "suspended" || outcome === "left" || outcome === "superseded") return false;
  if (outcome === "maintenance" || code === "E_INTERRUPTED") return false;
  return !(outcome === "refused" && LATER.has(code));
}

/** Nothing of it is there, as where somebody retired its agent and removed its archives, and nobody means it any more. */
function isForgotten(
  { agent, backup, storage, archives, ends, before, running, isConfigured }: Gathered,
  { nowWallMs, isWhole, goneForMs }: Pick<BackupFacts, "nowWallMs" | "isWhole" | "goneForMs">,
): boolean {
  if (archives.length > 0 || running !== null || isConfigured === true) return false;
  const lastEndWallMs = ends[0]?.endWallMs ?? null;
  const succeeded = before !== undefined || ends.some(isCommitted);
  if (succeeded && !isWhole(storage)) return false;
  if (isConfigured === false) return true;
  const endedForMs = nowWallMs - (lastEndWallMs ?? (succeeded ? 0 : nowWallMs));
  if (!succeeded) return endedForMs > FORGET_MS;
  const goneMs = goneForMs({ agent, backup, storage, lastEndWallMs });
  // What still runs, and fails, is not retired.
  return goneMs === Number.POSITIVE_INFINITY || (goneMs > FORGET_MS && endedForMs > FORGET_MS);
}

function rowOf(
  { agent, backup, storage, archives, ends, before, told, running, isConfigured }: Gathered,
  { nowWallMs, isWhole }: Pick<BackupFacts, "nowWallMs" | "isWhole">,
): BackupRow {
  const sorted = archives.toSorted((a, b) => a.timeMs - b.timeMs);
  const newest = sorted.at(-1);
  const [lastEnd] = ends;
  const committed = ends.find(isCommitted);
  // Rotation leaves the newest ones: who removed them has taken the success with them.
  const success = isWhole(storage) ? standing(sorted, ends) : committed;
  const forgotten = forgottenOf(sorted, ends, nowWallMs);
  // An archive that is there is a success, also when nobody remembers its session.
  const shown = forgotten ?? (success === undefined ? newest : undefined);
  const fromArchive = shown === undefined ? null : shown.timeMs + (shown.durationMs ?? 0);
  // What a look that did not see all has not seen may be there.
  const unseen = isWhole(storage) ? null : (before?.lastSuccessWallMs ?? null);
  const lastSuccessWallMs = later(success?.endWallMs ?? null, fromArchive) ?? unseen;
  const nextWallMs = told?.nextWallMs ?? null;
  const { everyMs, everyFrom } = habitOf(sorted, ends, told);
  const known = later(lastEnd?.endWallMs ?? null, lastSuccessWallMs);
  const failure = reasonOf(failureOf(lastEnd, forgotten)) ?? agentFailure(told, known, nowWallMs);
  const hasNone = success === undefined && newest === undefined;
  const isGone = hasNone && (committed !== undefined || (before !== undefined && isWhole(storage)));
  const judged =
    isConfigured === false && running === null
      ? ({ state: "unknown", reason: "its agent does not have this entry any more" } as const)
      : judge({ failure, isGone, isCut: success !== committed, lastSuccessWallMs, everyMs, nowWallMs });
  return {
    ...{ agent, backup, storage, ...judged, lastSuccessWallMs },
    lastArchive: newest?.name ?? null,
    lastBytes: newest?.archiveBytes ?? (isGone ? null : (success?.archiveBytes ?? null)),
    lastRawBytes: success?.rawBytes ?? newest?.rawBytes ?? null,
    lastEntries: success?.entries ?? newest?.entries ?? null,
    lastDurationMs: success?.durationMs ?? newest?.durationMs ?? null,
    lastWarnings: success?.problems ?? newest?.problems ?? null,
    ...{ lastOutcome: lastEnd?.outcome ?? (isGone ? "committed" : null), lastEndWallMs: lastEnd?.endWallMs ?? null },
    ...{ lastSession: lastEnd?.session ?? null, everyMs, everyFrom, nextWallMs, running },
    archiveCount: sorted.length,
    archiveBytes: sorted.reduce((sum, { archiveBytes }) => sum + archiveBytes, 0),
    damagedCount: sorted.filter(({ damage }) => damage !== undefined).length,
    sizes: sorted.slice(-SIZES_MAX).map(({ timeMs: wallMs, archiveBytes: bytes }): SizePoint => ({ wallMs, bytes })),
  };
}

interface Judged {
  readonly state: BackupState;
  readonly reason: string;
}

/**
 * The last end if it is a failure that no success came after. Ends are in the order in which they came, whatever the clock said then: only of an
 * archive whose end nobody remembers its time has to tell.
 */
function failureOf(
  lastEnd: SessionRecord | undefined,
  forgotten: ScannedArchive | undefined,
): SessionRecord | undefined {
  if (lastEnd === undefined || lastEnd.outcome === "committed") return undefined;
  return forgotten !== undefined && forgotten.timeMs >= lastEnd.endWallMs ? undefined : lastEnd;
}

function reasonOf(failure: SessionRecord | undefined): string | undefined {
  if (failure === undefined) return undefined;
  return `the last run failed: ${failure.code === null ? "" : `${failure.code}: `}${failure.message}`;
}

/**
 * The newest archive whose end nobody remembers. One from the future tells no time: the clock went ahead when it was made, or since then, because
 * an archive is named after all before it.
 */
function forgottenOf(
  archives: readonly ScannedArchive[],
  ends: readonly SessionRecord[],
  nowWallMs: number,
): ScannedArchive | undefined {
  const remembered = new Set(ends.map(nameOf));
  return archives.findLast(({ name, timeMs }) => timeMs <= nowWallMs && !remembered.has(name));
}

/** The last success whose archive is there. */
function standing(archives: readonly ScannedArchive[], ends: readonly SessionRecord[]): SessionRecord | undefined {
  const names = new Set<string | undefined>(archives.map(({ name }) => name));
  return ends.find((end) => isCommitted(end) && names.has(nameOf(end)));
}

function isCommitted({ outcome }: SessionRecord): boolean {
  return outcome === "committed";
}

function nameOf({ archive }: SessionRecord): string | undefined {
  return archive?.slice(archive.lastIndexOf("/") + 1);
}

function judge(facts: {
  /** Why its last run failed; undefined: it did not. */
  readonly failure: string | undefined;
  /** It succeeded, and none of its archives is there. */
  readonly isGone: boolean;
  /** Its last success does not count, because its archive is not there. */
  readonly isCut: boolean;
  readonly lastSuccessWallMs: number | null;
  readonly everyMs: number | null;
  readonly nowWallMs: number;
}): Judged {
  const { failure, isGone, isCut, lastSuccessWallMs, everyMs, nowWallMs } = facts;
  if (failure !== undefined) return { state: "failing", reason: failure };
  if (isGone) return { state: "failing", reason: "none of its archives is in the storage any more" };
  if (lastSuccessWallMs === null) return { state: "never", reason: "no run has succeeded yet" };
  const ageMs = nowWallMs - lastSuccessWallMs;
  if (ageMs < -TOLERANCE_MS_MIN) return { state: "unknown", reason: "by the clock its last success is still to come" };
  if (everyMs === null) {
    if (ageMs <= NEW_MS) return { state: "ok", reason: "" };
    return { state: "unknown", reason: "it ran too few times to tell when the next run is due" };
  }
  if (ageMs <= everyMs + Math.max(TOLERANCE_MS_MIN, everyMs * TOLERANCE_PART)) return { state: "ok", reason: "" };
  const why = isCut
    ? "its newest archives are not in the storage any more, and the last success that is left"
    : "the last success";
  return { state: "late", reason: `${why} is older than the time between its runs lets expect` };
}

/** The middle of the times between the last successes; what agents tell only where there are too few. */
function habitOf(
  archives: readonly ScannedArchive[],
  ends: readonly SessionRecord[],
  told: AgentChannelBackup | undefined,
): Pick<BackupRow, "everyMs" | "everyFrom"> {
  const remembered = ends.flatMap(({ outcome, startWallMs }) => (outcome === "committed" ? [startWallMs] : []));
  const present = archives.map(({ timeMs }) => timeMs).reverse();
  const times = (remembered.length >= present.length ? remembered : present).slice(0, HABIT_RUNS);
  if (times.length >= HABIT_RUNS_MIN) {
    const gaps = times.slice(1).map((time, index) => (times[index] ?? time) - time);
    const middle = gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0;
    // Runs by hand, one after another, are no habit.
    return middle >= HOUR_MS / 60 ? { everyMs: middle, everyFrom: "habit" } : { everyMs: null, everyFrom: null };
  }
  const nextWallMs = told?.nextWallMs ?? null;
  // A run that came to nothing is one too: else the next one were ever further ahead of the last success.
  const last = times[0] === undefined ? undefined : Math.max(times[0], failedAt(told));
  const ahead = last === undefined || nextWallMs === null ? 0 : nextWallMs - last;
  return ahead > 0 && ahead <= 8 * DAY_MS ? { everyMs: ahead, everyFrom: "agent" } : { everyMs: null, everyFrom: null };
}

function later(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.max(a, b);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
