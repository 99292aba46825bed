/**
 * The clock on the wall of a time zone: what it shows at a moment, when it shows a given time, and where it is changed. Local times
 * are milliseconds as if the zone were UTC, so that Date's UTC functions read them. Pure but for a cache; knows no calendars.
 */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const SECOND_MS = 1_000;

/** Nowhere have clocks been changed twice within two days. */
const AROUND_MS = DAY_MS;

/** Of offsets that are remembered, over all zones. */
const KNOWN_MAX = 2_000;
const FORMATS_MAX = 600;

const formats = new Map<string, Intl.DateTimeFormat>();
const known = new Map<string, number>();

/** How far the zone's clock is ahead of UTC at that moment, in milliseconds. */
export function zoneOffsetMs(zone: string, wallMs: number): number {
  // Clocks are changed at a quarter of an hour, if not always in history; moments of history are not asked for.
  const quarter = Math.floor(wallMs / (HOUR_MS / 4));
  const key = `${zone} ${quarter}`;
  let offsetMs = known.get(key);
  if (offsetMs === undefined) {
    offsetMs = formattedOffset(zone, quarter * (HOUR_MS / 4));
    if (known.size >= KNOWN_MAX) known.clear();
    known.set(key, offsetMs);
  }
  return offsetMs;
}

/** What the zone's clock shows at that moment. */
export function zoneLocalMs(zone: string, wallMs: number): number {
  return wallMs + zoneOffsetMs(zone, wallMs);
}

/** A change of the clock: from `atMs` on it is `afterMs` ahead of UTC, until then `beforeMs`. */
export interface ZoneChange {
  readonly atMs: number;
  readonly beforeMs: number;
  readonly afterMs: number;
}

/** The change within a day before or after that moment, undefined when there is none. */
export function zoneChangeNear(zone: string, wallMs: number): ZoneChange | undefined {
  let [fromMs, toMs] = [wallMs - AROUND_MS, wallMs + AROUND_MS];
  const [beforeMs, afterMs] = [zoneOffsetMs(zone, fromMs), zoneOffsetMs(zone, toMs)];
  if (beforeMs === afterMs) return undefined;
  while (toMs - fromMs > SECOND_MS) {
    const middleMs = Math.floor((fromMs + toMs) / 2);
    if (zoneOffsetMs(zone, middleMs) === beforeMs) fromMs = middleMs;
    else toMs = middleMs;
  }
  return { atMs: Math.floor(toMs / SECOND_MS) * SECOND_MS, beforeMs, afterMs };
}

/** When a clock shows a time: at no moment, at one, or, when it is put back, at two. */
export interface LocalMoments {
  readonly atMs: readonly number[];
  /** It shows that time at no moment, because it was put forward over it right then. */
  readonly skippedAtMs: number | undefined;
}

export function momentsOf(zone: string, localMs: number): LocalMoments {
  const change = zoneChangeNear(zone, localMs - zoneOffsetMs(zone, localMs));
  if (change === undefined) return { atMs: [localMs - zoneOffsetMs(zone, localMs)], skippedAtMs: undefined };
  const { atMs: changeMs, beforeMs, afterMs } = change;
  const [first, second] = [localMs - beforeMs, localMs - afterMs];
  const atMs = [...(first < changeMs ? [first] : []), ...(second >= changeMs ? [second] : [])];
  return { atMs, skippedAtMs: atMs.length === 0 ? changeMs : undefined };
}

function formattedOffset(zone: string, wallMs: number): number {
  let format = formats.get(zone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: zone,
      hourCycle: "h23",
      ...{ year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" },
    });
    if (formats.size >= FORMATS_MAX) formats.clear();
    formats.set(zone, format);
  }
  // `M/D/YYYY, HH:MM:SS`
  const [month = 0, day = 0, year = 0, hour = 0, minute = 0, second = 0] = format
    .format(wallMs)
    .split(/\D+/)
    .map(Number);
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(wallMs / SECOND_MS) * SECOND_MS;
}
