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

const MONTHS = {
  en: ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
  pt: ["jan", "fev", "mar", "abr", "mai", "jun", "jul", "ago", "set", "out", "nov", "dez"],
} as const;

/** Of groups of three digits, and of the fraction. */
const MARKS = { en: [",", "."], pt: [".", ","] } as const;

/** With so many digits behind the point. */
function formatNumber(value: number, digits: number, language: Language): string {
  const [group, point] = MARKS[language];
  const [whole = "", fraction] = value.toFixed(digits).split(".");
  const grouped = whole.length <= 3 ? whole : whole.replaceAll(/\B(?=(?:\d{3})+$)/g, group);
  return fraction === undefined ? grouped : `${grouped}${point}${fraction}`;
}

/** `09 Feb 2026`, without the year where it is clear. */
function formatDay(date: Date, language: Language, withYear: boolean): string {
  const day = `${two(date.getDate())} ${MONTHS[language][date.getMonth()] ?? ""}`;
  return withYear ? `${day} ${date.getFullYear()}` : day;
}

function formatClock(date: Date, withSeconds: boolean): string {
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return withSeconds ? `${clock}:${two(date.getSeconds())}` : clock;
}

/**
 * By hand and not by Intl, which takes a browser 15 to 20 ms before its first number: a tenth of the time until the first view. `locale` is for what
 * is shown when somebody asks for it.
 */
export function makeFormat(language: Language, locale: string): Format {
  const number = (value: number, digits: number): string => formatNumber(value, Math.min(digits, 2), language);
  let full: Intl.DateTimeFormat | undefined;

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

  function when(wallMs: number, nowWallMs: number, withSeconds: boolean): string {
    const [date, today] = [new Date(wallMs), new Date(nowWallMs)];
    const clock = formatClock(date, withSeconds);
    if (date.getFullYear() !== today.getFullYear()) return formatDay(date, language, true);
    if (date.getMonth() === today.getMonth() && date.getDate() === today.getDate()) return clock;
    return `${formatDay(date, language, false)}, ${clock}`;
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
    time: (wallMs, nowWallMs) => when(wallMs, nowWallMs, false),
    moment: (wallMs, nowWallMs) => when(wallMs, nowWallMs, true),
    fullTime(wallMs): string {
      full ??= new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long", hourCycle: "h23" });
      return full.format(wallMs);
    },
    tick(wallMs, spanMs): string {
      const date = new Date(wallMs);
      if (spanMs <= 2 * DAY_MS) return formatClock(date, spanMs <= 15 * MINUTE_MS);
      return formatDay(date, language, spanMs > 400 * DAY_MS);
    },
  };
}
