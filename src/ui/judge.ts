/**
 * What a state means to who reads it: the sentence at the top, why an entry is late, when a disk is full, how bad each is. Pure. Whether
 * an entry is late or failing is the server's judgement; here it is put into words and order.
 */
import type { BackupRow, BackupState, StorageRow } from "#web/api-archives.ts";
import type { ApiEnd } from "#web/api-types.ts";
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

export interface Headline {
  readonly tone: Tone;
  /** `all`: everything is backed up; `none`: there is nothing yet; else the states that want a look. */
  readonly kind: "all" | "none" | "some";
  readonly parts: readonly { readonly state: BackupState; readonly count: number }[];
  readonly total: number;
}

/** The answer to the question with which people come. */
export function headline(counts: Readonly<Record<BackupState, number>>): Headline {
  const parts = STATE_ORDER.filter((state) => state !== "ok" && counts[state] > 0).map((state) => ({
    ...{ state, count: counts[state] },
  }));
  const total = STATE_ORDER.reduce((sum, state) => sum + counts[state], 0);
  if (total === 0) return { tone: "none", kind: "none", parts: [], total };
  const worst = parts[0];
  if (worst === undefined) return { tone: "ok", kind: "all", parts: [], total };
  return { tone: stateTone(worst.state), kind: "some", parts, total };
}

/** How old the last success is, in runs: 1 is as old as it should get. Null where nobody knows how often it runs. */
export function scheduleRatio(row: BackupRow, nowWallMs: number): number | null {
  if (row.lastSuccessWallMs === null || row.everyMs === null || row.everyMs <= 0) return null;
  return Math.max(0, nowWallMs - row.lastSuccessWallMs) / row.everyMs;
}

/** The sentence under a state, as a text of the page: the server's own is English. Undefined when there is nothing to say. */
export function reasonText(row: BackupRow): TextKey | undefined {
  if (row.state === "failing") return "reason.failing";
  if (row.state === "never") return row.lastEndWallMs === null ? "reason.neverRan" : "reason.never";
  if (row.state === "late") return "reason.late";
  if (row.state === "unknown") return "reason.unknown";
  return row.damagedCount > 0 ? "reason.damaged" : undefined;
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

const SOON_MS = 7 * 86_400_000;
const SEEN_MS = 30 * 86_400_000;

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
