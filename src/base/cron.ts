/**
 * Cron expressions of five fields: what is wrong with one, and when it is due next. A library knows the calendar; this file says
 * which of its dialects is ours, that of crontab(5), for the check of a configuration and the daemon alike, and what becomes of
 * the times on the wall that it names (zone-time.ts): the library's own zones miss a run where clocks are put forward at midnight.
 *
 * Where the clocks change, as Debian's cron does it: an expression that names its times (neither a star nor a step among
 * minutes and hours) is due once for each of them, a time that is skipped right after the change, one that comes twice the
 * first time. One with a star or a step there follows the time that passes: nothing in the hour that is skipped, both
 * times in the hour that comes twice.
 */
import { Cron, type CronOptions } from "croner";
import { momentsOf, zoneChangeNear, zoneLocalMs, zoneOffsetMs } from "./zone-time.ts";

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
}

const FIELDS: readonly Field[] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of the month", min: 1, max: 31 },
  { name: "month", min: 1, max: 12 },
  // 0 and 7 are both Sunday.
  { name: "day of the week", min: 0, max: 7 },
];
const EXPRESSION_CHARACTERS_MAX = 256;
/** A star, `5`, `1-5`, `mon-fri`, each with an optional step: `8-18/2`. A number with a step runs to the field's end. */
const PART = /^(?:\*|(?:\d{1,2}|[a-z]{3})(?:-(?:\d{1,2}|[a-z]{3}))?)(?:\/\d{1,4})?$/i;

const DIALECT: CronOptions = {
  mode: "5-part",
  paused: true,
  sloppyRanges: true,
  // Times on the wall, taken for UTC: a calendar in which no clock is changed.
  timezone: "UTC",
};

/** Where the search for a first time begins; any would do, the calendar repeats. */
const SOME_DAY_MS = Date.UTC(2026, 0, 1);

/** A clause that says what is wrong with the expression; undefined when nothing is. */
export function cronProblem(expression: string): string | undefined {
  if (expression.length > EXPRESSION_CHARACTERS_MAX) return "it is longer than any schedule";
  const parts = expression.trim().split(/\s+/);
  if (parts.length !== FIELDS.length) {
    return expression.startsWith("@")
      ? "write the five fields out, for instance 0 2 * * * for every night at two"
      : `it has ${parts.length} fields, not 5: minute, hour, day of the month, month, day of the week`;
  }
  for (const [index, field] of FIELDS.entries()) {
    const wrong = (parts[index] ?? "").split(",").find((part) => !isPart(part, index));
    if (wrong !== undefined) return `"${wrong}" is no ${field.name} from ${field.min} to ${field.max}`;
  }
  return nextDueMs(expression, "UTC", SOME_DAY_MS) === undefined
    ? "no such month has such a day, so it would never run"
    : undefined;
}

/** Making one costs as much as asking it some times. */
const made = new Map<string, Made>();
const MADE_MAX = 1_000;

interface Made {
  readonly cron: Cron;
  /** It has neither star nor step among minutes and hours. */
  readonly named: boolean;
}

/**
 * The first time after `afterWallMs` at which an expression without problems is due, in wall-clock milliseconds since 1970 UTC;
 * undefined when there is none for as long as the library looks. `zone` is a name of the IANA database.
 */
export function nextDueMs(expression: string, zone: string, afterWallMs: number): number | undefined {
  const { cron, named } = madeOf(expression);
  const next = (localMs: number): number | undefined => cron.nextRun(new Date(localMs))?.getTime();
  return named ? nextNamed(next, zone, afterWallMs) : nextPassing(next, zone, afterWallMs);
}

/** The first time on the wall after the given one that the expression names, as if clocks were never changed. */
type NextLocal = (localMs: number) => number | undefined;

/** Each of the times once: what the clock on the wall has shown, or was put forward over, has been. */
function nextNamed(next: NextLocal, zone: string, afterWallMs: number): number | undefined {
  let localMs = next(furthestLocalMs(zone, afterWallMs));
  while (localMs !== undefined) {
    const { atMs, skippedAtMs } = momentsOf(zone, localMs);
    const dueMs = skippedAtMs ?? atMs[0];
    if (dueMs !== undefined && dueMs > afterWallMs) return dueMs;
    localMs = next(localMs);
  }
  return undefined;
}

/** The latest time that the clock on the wall has come to; where it was put back, more than it shows. */
function furthestLocalMs(zone: string, wallMs: number): number {
  const localMs = zoneLocalMs(zone, wallMs);
  const change = zoneChangeNear(zone, wallMs);
  if (change === undefined || change.atMs > wallMs) return localMs;
  return Math.max(localMs, change.atMs + change.beforeMs - 1);
}

/** As time passes: nothing where the clock is put forward, twice where it is put back. */
function nextPassing(next: NextLocal, zone: string, afterWallMs: number): number | undefined {
  const change = zoneChangeNear(zone, afterWallMs);
  // Where the clock may be put back what comes next can show an earlier time.
  const fromMs =
    afterWallMs +
    Math.min(change?.beforeMs ?? Number.POSITIVE_INFINITY, change?.afterMs ?? zoneOffsetMs(zone, afterWallMs));
  let found: number | undefined;
  for (let localMs = next(fromMs); localMs !== undefined; localMs = next(localMs)) {
    const later = momentsOf(zone, localMs).atMs.filter((atMs) => atMs > afterWallMs);
    found = Math.min(found ?? Number.POSITIVE_INFINITY, ...later);
    const aheadMs = change === undefined ? zoneOffsetMs(zone, localMs) : Math.max(change.beforeMs, change.afterMs);
    if (found <= localMs - aheadMs || (change === undefined && Number.isFinite(found))) return found;
  }
  return found === undefined || !Number.isFinite(found) ? undefined : found;
}

function madeOf(expression: string): Made {
  let one = made.get(expression);
  if (one === undefined) {
    if (made.size >= MADE_MAX) made.clear();
    const [minutes = "", hours = ""] = expression.trim().split(/\s+/);
    one = { cron: new Cron(expression.trim(), DIALECT), named: !/[*/]/.test(`${minutes}${hours}`) };
    made.set(expression, one);
  }
  return one;
}

/** Whether the part may stand in that field, by asking for it alone. */
function isPart(part: string, index: number): boolean {
  if (!PART.test(part)) return false;
  try {
    return new Cron(FIELDS.map((_, at) => (at === index ? part : "*")).join(" "), DIALECT).getPattern() !== undefined;
  } catch {
    return false; // The library's words are not ours: the caller says what the field takes.
  }
}
