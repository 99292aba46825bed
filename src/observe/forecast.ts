/** When a disk is full if it goes on as it did: a straight line through what was free. Values in, a value out. */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Looked at over a shorter time, one backup would be a trend. */
const BASIS_MS_MIN = 6 * HOUR_MS;
/** What was a year ago says little of next week. */
const BASIS_MS_MAX = 30 * DAY_MS;
const SAMPLES_MIN = 3;
/** Further away nobody acts on it. */
const HORIZON_MS = 5 * 365 * DAY_MS;

export interface FreeSample {
  readonly wallMs: number;
  readonly freeBytes: number;
}

export interface DiskForecast {
  /** Null: it does not fill, or later than in five years. */
  readonly fullWallMs: number | null;
  readonly bytesPerDay: number;
  readonly basisMs: number;
}

/** `usableBytes`: free now, above the reserve. Null: looked at too few times, or not long enough. */
export function forecastOf(
  samples: readonly FreeSample[],
  usableBytes: number,
  nowWallMs: number,
): DiskForecast | null {
  const used = samples.filter(({ wallMs }) => wallMs <= nowWallMs && nowWallMs - wallMs <= BASIS_MS_MAX);
  const times = used.map(({ wallMs }) => wallMs);
  const basisMs = times.length === 0 ? 0 : Math.max(...times) - Math.min(...times);
  if (used.length < SAMPLES_MIN || basisMs < BASIS_MS_MIN) return null;
  const slope = slopeOf(used);
  const bytesPerDay = Math.round(-slope * DAY_MS);
  const fillsInMs = slope < 0 ? Math.max(0, usableBytes) / -slope : Number.POSITIVE_INFINITY;
  const fullWallMs = fillsInMs <= HORIZON_MS ? Math.round(nowWallMs + fillsInMs) : null;
  return { fullWallMs, bytesPerDay, basisMs };
}

/** Bytes per millisecond, by least squares; times counted from their middle, or squares of dates would eat the digits. */
function slopeOf(samples: readonly FreeSample[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const middle = mean(samples.map(({ wallMs }) => wallMs));
  const level = mean(samples.map(({ freeBytes }) => freeBytes));
  let [over, under] = [0, 0];
  for (const { wallMs, freeBytes } of samples) {
    over += (wallMs - middle) * (freeBytes - level);
    under += (wallMs - middle) ** 2;
  }
  return under === 0 ? 0 : over / under;
}
