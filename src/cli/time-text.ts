/** Times as people read them: UTC, as the names of archives are. */

/** `2026-02-12 02:00:00Z` */
export function timeText(wallMs: number): string {
  return new Date(wallMs)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, "Z");
}

/** Whole seconds that a Date can hold. */
const DATE_SECONDS_MAX = 8_640_000_000_000;

/** Of a file: `2026-02-12 02:00:00Z`; `@` and the seconds since 1970 where no calendar has a name for it. */
export function fileTimeText(seconds: number): string {
  return Math.abs(seconds) > DATE_SECONDS_MAX ? `@${seconds}` : timeText(seconds * 1000);
}

/** Of a file, all of it: `2026-02-12T02:00:00.123456789Z`, or `@8640000000001.000000000`. */
export function fileTimeJson(seconds: number, nanos: number): string {
  const fraction = String(nanos).padStart(9, "0");
  if (Math.abs(seconds) > DATE_SECONDS_MAX) return `@${seconds}.${fraction}`;
  return new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, `.${fraction}Z`);
}
