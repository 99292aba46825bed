/** Times as people read them: UTC, as the names of archives are. */

/** Whole seconds that a Date can hold. */
const DATE_SECONDS_MAX = 8_640_000_000_000;

/** `2026-02-12 02:00:00Z`; `@` and the seconds since 1970 where no calendar has a name for it: agents tell what they like. */
export function timeText(wallMs: number): string {
  if (Math.abs(wallMs) > DATE_SECONDS_MAX * 1000) return `@${Math.floor(wallMs / 1000)}`;
  return new Date(wallMs)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, "Z");
}

const DAY_SECONDS = 86_400;

/** Of a file: `2026-02-12 02:00:00Z`; `@` and the seconds since 1970 where no calendar has a name for it. */
export function fileTimeText(seconds: number): string {
  return Math.abs(seconds) > DATE_SECONDS_MAX ? `@${seconds}` : `${dateText(seconds)} ${clockText(seconds)}Z`;
}

/** Of a file, all of it: `2026-02-12T02:00:00.123456789Z`, or `@8640000000001.000000000`. */
export function fileTimeJson(seconds: number, nanos: number): string {
  const fraction = nanos === 0 ? "000000000" : String(nanos).padStart(9, "0");
  if (Math.abs(seconds) > DATE_SECONDS_MAX) return `@${seconds}.${fraction}`;
  return `${dateText(seconds)}T${clockText(seconds)}.${fraction}Z`;
}

/** Files that are listed one after another have a few days between them, and a Date costs more than all the rest of a line. */
const DAYS_KEPT_MAX = 1000;
const days = new Map<number, string>();

function dateText(seconds: number): string {
  const day = Math.floor(seconds / DAY_SECONDS);
  const known = days.get(day);
  if (known !== undefined) return known;
  const [text = ""] = new Date(day * DAY_SECONDS * 1000).toISOString().split("T");
  if (days.size >= DAYS_KEPT_MAX) days.clear();
  days.set(day, text);
  return text;
}

const TWO_DIGITS = Array.from({ length: 60 }, (_, number) => String(number).padStart(2, "0"));

function clockText(seconds: number): string {
  const second = seconds - Math.floor(seconds / DAY_SECONDS) * DAY_SECONDS;
  const two = (number: number): string => TWO_DIGITS[number] ?? "";
  return `${two(Math.floor(second / 3600))}:${two(Math.floor(second / 60) % 60)}:${two(second % 60)}`;
}
