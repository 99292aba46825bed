/**
 * Cron expressions of five fields: what is wrong with one, and when it is due next. A library knows calendars and time zones;
 * this file says which of its dialects is ours, that of crontab(5), for the check of a configuration and the daemon alike.
 *
 * Where the clocks change, as Debian's cron does it: an expression that names its times (neither a star nor a step among
 * minutes and hours) is due once for each of them, a time that is skipped right after the change, one that comes twice the
 * first time. One with a star or a step there follows the time that passes: nothing in the hour that is skipped, both
 * times in the hour that comes twice.
 */
import { Cron, type CronOptions } from "croner";

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
  fixedTimeRule: "no-wildcard",
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

/** The same expression and zone are asked for again and again: making one costs as much as asking it. */
const made = new Map<string, Cron>();
const MADE_MAX = 1_000;

/**
 * The first time after `afterWallMs` at which an expression without problems is due, in wall-clock milliseconds since 1970 UTC;
 * undefined when there is none for as long as the library looks. `zone` is a name of the IANA database.
 */
export function nextDueMs(expression: string, zone: string, afterWallMs: number): number | undefined {
  const key = `${zone} ${expression}`;
  let cron = made.get(key);
  if (cron === undefined) {
    if (made.size >= MADE_MAX) made.clear();
    cron = new Cron(expression.trim(), { ...DIALECT, timezone: zone });
    made.set(key, cron);
  }
  return cron.nextRun(new Date(afterWallMs))?.getTime();
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
