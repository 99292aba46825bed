/**
 * Numbers, sizes, durations and times as people read them, in the page's language and the viewer's zone. Pure: who calls says what time
 * it is. Sizes are powers of 1024 with the names of the configuration file, like everything that the programs print.
 */

export type Language = "en" | "pt";

/** Stands where a value is not known. */
export const UNKNOWN = "–";

export interface Format {
  readonly language: Language;
  bytes(value: number | null): string;
  /** A round size for an axis: `50 MB`. */
  roundBytes(value: number): string;
  /** Of bytes per second. */
  rate(value: number | null): string;
  duration(ms: number | null): string;
  /** `3 min ago`, `in 2 h`; `ms` is how long ago, negative for what comes. */
  age(ms: number): string;
  count(value: number | null): string;
  /** With so many digits behind the point, up to two. */
  decimal(value: number | null, digits: number): string;
  /** `4.0 ms`, `41 ms`: of what one measures in milliseconds. */
  millis(value: number | null): string;
  /** Of less than 10 % and more than 99 % a tenth: 100 % is all. */
  percent(ratio: number | null): string;
  /** As short as it is clear: without the day today, without the year this year. */
  time(wallMs: number, nowWallMs: number): string;
  /** As `time`, to the second. */
  moment(wallMs: number, nowWallMs: number): string;
  /** With everything, and the zone. */
  fullTime(wallMs: number): string;
  /** For the axis of a chart that shows `spanMs`. */
  tick(wallMs: number, spanMs: number): string;
}

const SIZE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Three significant digits; `1.42 GB`. */
function sizeParts(bytes: number): readonly [value: number, digits: number, unit: string] {
  let value = Math.abs(bytes);
  let unit = 0;
  while (value >= 999.5 && unit < SIZE_UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return [bytes < 0 ? -value : value, digits, SIZE_UNITS[unit] ?? ""];
}

const two = (value: number): string => String(value).padStart(2, "0");

/** `850 ms`, `12 s`, `3 min 07 s`, `1 h 02 min`, `3 d 04 h`: the same in both languages. */
function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`;
  if (ms < SECOND_MS) return `${Math.floor(ms)} ms`;
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min ${two(Math.floor((ms % MINUTE_MS) / SECOND_MS))} s`;
  if (ms < 2 * DAY_MS) return `${Math.floor(ms / HOUR_MS)} h ${two(Math.floor((ms % HOUR_MS) / MINUTE_MS))} min`;
  return `${Math.floor(ms / DAY_MS)} d ${two(Math.floor((ms % DAY_MS) / HOUR_MS))} h`;
}

/** The largest unit alone, rounded down: an age is not exact. */
export function roughDuration(ms: number, language: Language): string {
  const years = ms / (365.25 * DAY_MS);
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  if (ms < 2 * DAY_MS) return `${Math.floor(ms / HOUR_MS)} h`;
  if (years < 2) return `${Math.floor(ms / DAY_MS)} d`;
  return language === "pt" ? `${Math.floor(years)} anos` : `${Math.floor(years)} years`;
}

function ageText(ms: number, language: Language): string {
  const text = roughDuration(Math.abs(ms), language);
  if (Math.abs(ms) < SECOND_MS) return language === "pt" ? "agora" : "now";
  if (language === "pt") return ms < 0 ? `em ${text}` : `há ${text}`;
  return ms < 0 ? `in ${text}` : `${text} ago`;
}

/** `27 nov` where a language would write `27 de nov.`: in columns the day is read, not spoken. */
function shortDay(day: Intl.DateTimeFormat): (wallMs: number) => string {
  return (wallMs) =>
    day
      .format(wallMs)
      .replaceAll(" de ", " ")
      .replace(/(\p{L})\./u, "$1");
}

/** `zone` is the browser's own unless a test says another. */
export function makeFormat(language: Language, locale: string, zone?: string): Format {
  const inZone = zone === undefined ? {} : { timeZone: zone };
  const numbers = [0, 1, 2].map(
    (digits) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }),
  );
  const times = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat =>
    new Intl.DateTimeFormat(locale, { ...options, ...inZone, hourCycle: "h23" });
  const clock = times({ hour: "2-digit", minute: "2-digit" });
  const clockSeconds = times({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const dayOf = shortDay(times({ day: "2-digit", month: "short" }));
  const dayYearOf = shortDay(times({ day: "2-digit", month: "short", year: "numeric" }));
  const full = times({ dateStyle: "full", timeStyle: "long" });
  const dayKey = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit", ...inZone });
  const number = (value: number, digits: number): string => numbers[Math.min(digits, 2)]?.format(value) ?? "";

  function bytes(value: number | null): string {
    if (value === null) return UNKNOWN;
    const [shown, digits, unit] = sizeParts(value);
    return `${number(shown, digits)} ${unit}`;
  }

  function roundBytes(value: number): string {
    const [shown, digits, unit] = sizeParts(value);
    return `${number(shown, shown % 1 === 0 ? 0 : digits)} ${unit}`;
  }

  function percent(ratio: number | null): string {
    if (ratio === null) return UNKNOWN;
    if (ratio > 0.99 && ratio < 1) return `${number(Math.floor(ratio * 1000) / 10, 1)} %`;
    return `${number(ratio * 100, ratio < 0.0995 && ratio > 0 ? 1 : 0)} %`;
  }

  function when(wallMs: number, nowWallMs: number, clockOf: Intl.DateTimeFormat): string {
    const key = dayKey.format(wallMs);
    const today = dayKey.format(nowWallMs);
    if (key === today) return clockOf.format(wallMs);
    return key.slice(0, 4) === today.slice(0, 4) ? `${dayOf(wallMs)}, ${clockOf.format(wallMs)}` : dayYearOf(wallMs);
  }

  return {
    language,
    bytes,
    roundBytes,
    rate: (value) => (value === null ? UNKNOWN : `${bytes(value)}/s`),
    duration: (ms) => (ms === null ? UNKNOWN : formatDuration(ms)),
    age: (ms) => ageText(ms, language),
    count: (value) => (value === null ? UNKNOWN : number(value, 0)),
    decimal: (value, digits) => (value === null ? UNKNOWN : number(value, digits)),
    millis: (value) => (value === null ? UNKNOWN : `${number(value, value < 9.95 ? 1 : 0)} ms`),
    percent,
    time: (wallMs, nowWallMs) => when(wallMs, nowWallMs, clock),
    moment: (wallMs, nowWallMs) => when(wallMs, nowWallMs, clockSeconds),
    fullTime: (wallMs) => full.format(wallMs),
    tick(wallMs, spanMs): string {
      if (spanMs <= 15 * MINUTE_MS) return clockSeconds.format(wallMs);
      if (spanMs <= 2 * DAY_MS) return clock.format(wallMs);
      return spanMs <= 400 * DAY_MS ? dayOf(wallMs) : dayYearOf(wallMs);
    },
  };
}
