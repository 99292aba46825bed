/**
 * Cron by looking at every minute: the oracle for the expressions that the daemon runs by. It knows numbers, lists, ranges,
 * steps and stars, and how Debian's cron treats a change of the clocks. Slow, and shares nothing with the library.
 */

const MINUTE_MS = 60_000;
const RANGES = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12],
  [0, 7],
] as const;

interface Wall {
  readonly minute: number;
  readonly hour: number;
  readonly day: number;
  readonly month: number;
  readonly weekday: number;
  /** Minutes since some day, as the clock on the wall counts them. */
  readonly stamp: number;
}

function wallOf(zone: string): (wallMs: number) => Wall {
  const format = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    hourCycle: "h23",
    ...{ year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" },
  });
  return (wallMs) => {
    const parts = Object.fromEntries(format.formatToParts(wallMs).map(({ type, value }) => [type, Number(value)]));
    const { year = 0, month = 0, day = 0, hour = 0, minute = 0 } = parts;
    const utc = Date.UTC(year, month - 1, day, hour, minute);
    return { minute, hour, day, month, weekday: new Date(utc).getUTCDay(), stamp: utc / MINUTE_MS };
  };
}

function valuesOf(text: string, [min, max]: readonly [number, number]): Set<number> {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const [range = "", step] = part.split("/");
    const [first, last] = range === "*" ? [min, max] : range.split("-").map(Number);
    const to = last ?? (step === undefined ? first : max);
    for (let value = first ?? min; value <= (to ?? max); value += Number(step ?? 1)) values.add(value);
  }
  return values;
}

/** The whole minutes in (`fromMs`, `toMs`] at which the expression is due. */
export function naiveDueTimes(expression: string, zone: string, fromMs: number, toMs: number): number[] {
  const fields = expression.split(" ");
  const sets = RANGES.map((range, index) => valuesOf(fields[index] ?? "", range));
  const [minutes, hours, days, months, weekdays] = sets;
  const named = !/[*/]/.test(`${fields[0]}${fields[1]}`);
  const anyDay = fields[2] === "*";
  const anyWeekday = fields[4] === "*";
  const has = (set: Set<number> | undefined, value: number): boolean => set?.has(value) === true;
  const matches = (wall: Wall): boolean => {
    const day = has(days, wall.day);
    const weekday = has(weekdays, wall.weekday) || (wall.weekday === 0 && has(weekdays, 7));
    const date = anyDay ? weekday : anyWeekday ? day : day || weekday;
    return has(minutes, wall.minute) && has(hours, wall.hour) && has(months, wall.month) && date;
  };
  const wall = wallOf(zone);
  const due: number[] = [];
  // Where the clock on the wall stands furthest: what lies before it has been, however often it comes again.
  let furthest = wall(fromMs).stamp;
  for (let ms = Math.floor(fromMs / MINUTE_MS) * MINUTE_MS + MINUTE_MS; ms <= toMs; ms += MINUTE_MS) {
    const now = wall(ms);
    const again = now.stamp <= furthest;
    const skipped = named && now.stamp > furthest + 1 ? stampsBetween(furthest, now.stamp) : [];
    if ((matches(now) && !(named && again)) || skipped.some(matches)) due.push(ms);
    furthest = Math.max(furthest, now.stamp);
  }
  return due;
}

function stampsBetween(after: number, before: number): Wall[] {
  return Array.from({ length: before - after - 1 }, (_, index) => {
    const stamp = after + 1 + index;
    const date = new Date(stamp * MINUTE_MS);
    return {
      ...{ minute: date.getUTCMinutes(), hour: date.getUTCHours(), day: date.getUTCDate(), stamp },
      ...{ month: date.getUTCMonth() + 1, weekday: date.getUTCDay() },
    };
  });
}
