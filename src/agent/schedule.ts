/**
 * What a schedule asks for at a moment: to wait, to run, or to note that a time was missed. Functions of the rule, of what was
 * dealt with before, and of the wall clock, which may jump either way and stand still for days. Runs nothing, keeps nothing.
 */
import { createHash } from "node:crypto";
import { nextDueMs } from "#base/cron.ts";

export interface ScheduleRule {
  /** Checked: five fields of cron. */
  readonly expression: string;
  /** Of the IANA database. */
  readonly zone: string;
  readonly jitterMs: number;
  readonly runMissed: boolean;
  /** Agent and entry: two of them do not begin at the same moment of the jitter. */
  readonly seed: string;
}

/** What a schedule has to remember. Wall-clock milliseconds since 1970 UTC. */
export interface ScheduleMemory {
  /** Every due time up to here was run, skipped or told as missed. */
  readonly handledMs: number;
  /** The times after this and up to `handledMs` were missed, not run: a clock that goes back may come by them once more. */
  readonly ranMs?: number;
  /** Since when the clock has shown a time long before that: it was wrong then, or is wrong now. */
  readonly wrongSinceMs?: number;
}

export type ScheduleLook =
  /** `startMs` is undefined when the expression is never due again. */
  | { readonly verdict: "wait"; readonly startMs: number | undefined }
  | { readonly verdict: "run"; readonly dueMs: number; readonly lateMs: number; readonly missed: boolean }
  | { readonly verdict: "missed"; readonly dueMs: number; readonly lateMs: number };

/**
 * A run that begins so late is on time: a timer that looks every minute, a daemon that is restarted, a busy machine. What is
 * later was missed.
 */
export const ON_TIME_MS = 120_000;

/**
 * A clock that was put back by less than this comes by its times again, and they have been run. Put back by more it was wrong
 * before, and to wait for that time could mean to wait for years. Three hours, as in Debian's cron.
 */
const CLOCK_BACK_MS = 3 * 3_600_000;

/** The memory as it counts at this moment, given what the clock shows. The same object when nothing changes. */
export function memoryAt(memory: ScheduleMemory, nowMs: number): ScheduleMemory {
  const { handledMs, ranMs, wrongSinceMs } = memory;
  if (ranMs !== undefined && nowMs < handledMs) return memoryAt({ handledMs: Math.max(ranMs, nowMs) }, nowMs);
  if (handledMs <= nowMs + CLOCK_BACK_MS) return wrongSinceMs === undefined ? memory : { handledMs };
  const usable = wrongSinceMs !== undefined && wrongSinceMs <= nowMs + CLOCK_BACK_MS;
  return usable ? memory : { handledMs, wrongSinceMs: nowMs };
}

/** After a look that said "run" or "missed". */
export function memoryAfter(
  memory: ScheduleMemory,
  look: { readonly verdict: "run" | "missed"; readonly dueMs: number },
): ScheduleMemory {
  const { dueMs } = look;
  if (look.verdict === "run") return { handledMs: dueMs };
  return { handledMs: dueMs, ranMs: memory.ranMs ?? memory.wrongSinceMs ?? memory.handledMs };
}

/** `memory` must be as `memoryAt` gives it for `nowMs`. What "wait" says only depends on rule and memory. */
export function lookAt(rule: ScheduleRule, memory: ScheduleMemory, nowMs: number): ScheduleLook {
  const first = nextDueMs(rule.expression, rule.zone, memory.wrongSinceMs ?? memory.handledMs);
  if (first === undefined) return { verdict: "wait", startMs: undefined };
  const firstStartMs = startOf(rule, first);
  if (firstStartMs > nowMs) return { verdict: "wait", startMs: firstStartMs };
  const dueMs = lastBegun(rule, first, nowMs);
  const lateMs = nowMs - startOf(rule, dueMs);
  if (lateMs <= ON_TIME_MS) return { verdict: "run", dueMs, lateMs, missed: false };
  return rule.runMissed ? { verdict: "run", dueMs, lateMs, missed: true } : { verdict: "missed", dueMs, lateMs };
}

/**
 * When the run of a due time begins: later by a part of the jitter that only depends on who it is and which time it is, so that a
 * restart does not draw again. Never later than half way to the next one, so that runs keep their order.
 */
export function startOf({ expression, zone, jitterMs, seed }: ScheduleRule, dueMs: number): number {
  if (jitterMs === 0) return dueMs;
  const nextMs = nextDueMs(expression, zone, dueMs) ?? Number.POSITIVE_INFINITY;
  return dueMs + Math.floor(unitOf(`${seed} ${dueMs}`) * Math.min(jitterMs, (nextMs - dueMs) / 2));
}

/** A number in [0, 1) that the text decides. */
function unitOf(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32BE(0) / 2 ** 32;
}

const SPAN_MIN_MS = 60_000;
const SPAN_FACTOR = 4;

/** The last due time from `firstMs` on whose run would have begun by now; looked for backwards, because there may be thousands. */
function lastBegun(rule: ScheduleRule, firstMs: number, nowMs: number): number {
  for (let spanMs = SPAN_MIN_MS; nowMs - spanMs > firstMs; spanMs *= SPAN_FACTOR) {
    const found = lastBegunAfter(rule, nowMs - spanMs, nowMs);
    if (found !== undefined) return found;
  }
  return lastBegunAfter(rule, firstMs - 1, nowMs) ?? firstMs;
}

function lastBegunAfter(rule: ScheduleRule, afterMs: number, nowMs: number): number | undefined {
  let found: number | undefined;
  for (let at = afterMs; ;) {
    const dueMs = nextDueMs(rule.expression, rule.zone, at);
    if (dueMs === undefined || startOf(rule, dueMs) > nowMs) return found;
    found = dueMs;
    at = dueMs;
  }
}
