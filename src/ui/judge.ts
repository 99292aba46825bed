/**
 * What a state means to who reads it: the sentence at the top, why an entry is late, when a disk is full, how bad each is. Pure. Whether
 * an entry is late or failing is the server's judgement; here it is put into words and order.
 */
import type { BackupStanding, BackupState, StorageRow } from "#web/api-archives.ts";
import type { ApiEnd, CertificateRow } from "#web/api-types.ts";
import type { TextKey } from "./texts-en.ts";

/** How bad: decides colour and mark, never alone. */
export type Tone = "ok" | "busy" | "warn" | "bad" | "none";

export const STATE_ORDER: readonly BackupState[] = ["failing", "never", "late", "unknown", "ok"];

const STATE_TONES: Readonly<Record<BackupState, Tone>> = {
  failing: "bad",
  never: "bad",
  late: "warn",
  unknown: "none",
  ok: "ok",
};

export function stateTone(state: BackupState): Tone {
  return STATE_TONES[state];
}

/** The worst first; of those that succeed the damaged. */
export function stateRank(row: Pick<BackupStanding, "state" | "damagedCount">): number {
  return STATE_ORDER.indexOf(row.state) - (isDamaged(row) ? 0.5 : 0);
}

/** A backup whose runs succeed and that has an archive which was found damaged is not fine either. */
export function isDamaged(row: Pick<BackupStanding, "state" | "damagedCount">): boolean {
  return row.state === "ok" && row.damagedCount > 0;
}

type FirstRun = Pick<BackupStanding, "state" | "lastEndWallMs" | "nextWallMs" | "running">;

/** Nothing of it ever ran to an end, and its first run goes on or is still to come: it did nothing wrong, and is no backup yet. */
function isAwaited(row: FirstRun, nowWallMs: number): boolean {
  if (row.state !== "never" || row.lastEndWallMs !== null) return false;
  return row.running !== null || nextInMs(row, nowWallMs) !== null;
}

export function rowTone(row: FirstRun, nowWallMs: number): Tone {
  return isAwaited(row, nowWallMs) ? "warn" : stateTone(row.state);
}

/** What the headline names: the states that want a look, and damage and first runs between them. */
const HEAD_ORDER = ["failing", "never", "late", "damaged", "awaited", "unknown"] as const;

type HeadState = (typeof HEAD_ORDER)[number];

function headTone(state: HeadState): Tone {
  return state === "damaged" || state === "awaited" ? "warn" : stateTone(state);
}

export interface Headline {
  readonly tone: Tone;
  /** `all`: everything is backed up; `none`: there is nothing yet; else the states that want a look. */
  readonly kind: "all" | "none" | "some";
  readonly parts: readonly { readonly state: HeadState; readonly count: number }[];
  readonly fine: number;
  readonly total: number;
}

/** The answer to the question with which people come. Who is in no part is fine. */
export function headline(
  counts: Readonly<Record<BackupState, number>>,
  rows: readonly (FirstRun & Pick<BackupStanding, "damagedCount">)[],
  nowWallMs: number,
): Headline {
  const damaged = rows.filter(isDamaged).length;
  const awaited = rows.filter((row) => isAwaited(row, nowWallMs)).length;
  const heads: Readonly<Record<HeadState, number>> = { ...counts, never: counts.never - awaited, damaged, awaited };
  const parts = HEAD_ORDER.map((state) => ({ state, count: heads[state] })).filter(({ count }) => count > 0);
  const total = STATE_ORDER.reduce((sum, state) => sum + counts[state], 0);
  const fine = counts.ok - damaged;
  if (total === 0) return { tone: "none", kind: "none", parts: [], fine, total };
  const worst = parts[0];
  if (worst === undefined) return { tone: "ok", kind: "all", parts: [], fine, total };
  return { tone: headTone(worst.state), kind: "some", parts, fine, total };
}

/** Beside the backups themselves: what will keep the next ones from succeeding, or the last ones from being whole. */
export interface Concern {
  readonly kind: "storageFailed" | "storageLow" | "storageFull" | "storageSoon" | "certificate" | "warned";
  readonly tone: Tone;
  /** Of the storage or certificate. */
  readonly name: string;
  /** Days left, or how many. */
  readonly count: number;
  readonly until: number | null;
}

/** Certificates that live longer than this are nobody's concern yet. */
const CERTIFICATE_DAYS_QUIET = 30;
const CERTIFICATE_DAYS_BAD = 7;

export function concerns(
  answer: {
    readonly backups: readonly Pick<BackupStanding, "state" | "lastWarnings">[];
    readonly storages: readonly StorageRow[];
    readonly certificates: readonly CertificateRow[];
  },
  nowWallMs: number,
): readonly Concern[] {
  const found: Concern[] = [];
  for (const storage of answer.storages) {
    const { name } = storage;
    const { kind, tone, inMs } = forecastView(storage, nowWallMs);
    if (storage.state === "failed") found.push({ kind: "storageFailed", tone: "bad", name, count: 0, until: null });
    else if (kind === "full") found.push({ kind: "storageFull", tone: "bad", name, count: 0, until: null });
    else if (storage.state === "low") found.push({ kind: "storageLow", tone: "warn", name, count: 0, until: null });
    else if (kind === "fills" && tone === "bad")
      found.push({ kind: "storageSoon", tone, name, count: Math.floor((inMs ?? 0) / DAY_MS), until: null });
  }
  for (const row of answer.certificates) {
    if (row.daysLeft > CERTIFICATE_DAYS_QUIET) continue;
    const tone = row.daysLeft <= CERTIFICATE_DAYS_BAD ? "bad" : "warn";
    const { name, daysLeft, notAfterWallMs: until } = row;
    found.push({ kind: "certificate", tone, name, count: Math.floor(daysLeft), until });
  }
  const warned = answer.backups.filter((row) => row.state === "ok" && (row.lastWarnings ?? 0) > 0).length;
  if (warned > 0) found.push({ kind: "warned", tone: "warn", name: "", count: warned, until: null });
  return found.sort((a, b) => Number(b.tone === "bad") - Number(a.tone === "bad"));
}

/** How old the last success is, in runs: 1 is as old as it should get. Null where nobody knows how often it runs. */
export function scheduleRatio(row: BackupStanding, nowWallMs: number): number | null {
  if (row.lastSuccessWallMs === null || row.everyMs === null || row.everyMs <= 0) return null;
  return Math.max(0, nowWallMs - row.lastSuccessWallMs) / row.everyMs;
}

/** What its agent tells of its schedule: milliseconds until the next run. Null where nobody says, or the time went by. */
export function nextInMs({ nextWallMs }: Pick<BackupStanding, "nextWallMs">, nowWallMs: number): number | null {
  return nextWallMs === null || nextWallMs <= nowWallMs ? null : nextWallMs - nowWallMs;
}

type ReasonKey = Exclude<Extract<TextKey, `reason.${string}`>, `${string}.${"one" | "other"}`> | CountedReason;

type CountedReason = "reason.damaged" | "reason.warned";

/** Why a state is no better, as a text of the page: the server's own is English. Undefined when there is nothing to say. */
export function reasonText(row: BackupStanding): ReasonKey | undefined {
  if (row.state === "failing") return failingText(row);
  if (row.state === "never") return row.lastEndWallMs === null ? "reason.neverRan" : "reason.never";
  if (row.state === "late") return "reason.late";
  if (row.state === "unknown") return "reason.unknown";
  if (row.damagedCount > 0) return "reason.damaged";
  return (row.lastWarnings ?? 0) > 0 ? "reason.warned" : undefined;
}

/** The last end that the server knows was none to complain of where the archives are gone, or where the agent tells of a later run. */
function failingText({ lastOutcome, lastSuccessWallMs }: BackupStanding): ReasonKey {
  if (lastOutcome !== null && lastOutcome !== "committed") return "reason.failing";
  return lastOutcome === "committed" && lastSuccessWallMs === null ? "reason.gone" : "reason.onAgent";
}

const OUTCOME_TONES: Readonly<Record<ApiEnd["outcome"], Tone>> = {
  committed: "ok",
  aborted: "warn",
  maintenance: "warn",
  expired: "bad",
  refused: "warn",
  left: "warn",
  disowned: "bad",
  superseded: "warn",
  "disk-full": "bad",
  "disk-error": "bad",
  "storage-failed": "bad",
  mismatch: "bad",
  damaged: "bad",
  protocol: "bad",
  shutdown: "warn",
  suspended: "warn",
  failed: "bad",
};

export const OUTCOMES = Object.keys(OUTCOME_TONES) as readonly ApiEnd["outcome"][];

/** A committed session with files that could not be read, or found damaged afterwards, is no plain success. */
export function endTone(end: ApiEnd): Tone {
  if (end.outcome !== "committed") return OUTCOME_TONES[end.outcome];
  if (end.verify === "damaged") return "bad";
  return end.problems > 0 ? "warn" : "ok";
}

const DAY_MS = 86_400_000;
const SOON_MS = 7 * DAY_MS;
const SEEN_MS = 30 * DAY_MS;

export interface ForecastView {
  readonly kind: "full" | "fills" | "steady" | "unknown";
  readonly tone: Tone;
  /** Until it is full, of `fills`. */
  readonly inMs: number | null;
}

/** When a storage is full, and how soon that is. A storage is full when its reserve is all that is left. */
export function forecastView(storage: StorageRow, nowWallMs: number): ForecastView {
  const { freeBytes, reserveBytes, forecast } = storage;
  if (freeBytes !== null && freeBytes <= (reserveBytes ?? 0)) return { kind: "full", tone: "bad", inMs: null };
  if (forecast === null) return { kind: "unknown", tone: "none", inMs: null };
  if (forecast.fullWallMs === null) return { kind: "steady", tone: "ok", inMs: null };
  const inMs = Math.max(0, forecast.fullWallMs - nowWallMs);
  return { kind: "fills", tone: inMs < SOON_MS ? "bad" : inMs < SEEN_MS ? "warn" : "ok", inMs };
}

export function storageTone(storage: Pick<StorageRow, "state">): Tone {
  if (storage.state === "failed") return "bad";
  if (storage.state === "low") return "warn";
  return storage.state === "ok" ? "ok" : "none";
}

export function levelTone(level: "debug" | "info" | "warn" | "error"): Tone {
  return level === "error" ? "bad" : level === "warn" ? "warn" : "none";
}
