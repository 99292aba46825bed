/**
 * Which bandwidth limit is in force at a moment, and until when, by a limit that always counts or by a timetable. Pure functions of
 * the configuration, the zone and the clock on the wall.
 */
import { DAY_MINUTES, spansOf, WEEK_MINUTES } from "#base/week-window.ts";
import { momentsOf, zoneChangeNear, zoneLocalMs } from "#base/zone-time.ts";
import type { BackupEntryConfig, BandwidthWindow } from "#config/types.ts";

export interface BandwidthRule {
  /** Always; undefined: the windows say. */
  readonly bytesPerSecond: number | undefined;
  /** None overlaps another. Outside of all there is no limit. */
  readonly windows: readonly BandwidthWindow[];
  /** Of the IANA database. */
  readonly zone: string;
}

export interface LimitInForce {
  /** undefined: none. */
  readonly bytesPerSecond: number | undefined;
  /** Wall-clock time of the next change, undefined when there is none. */
  readonly untilMs: number | undefined;
}

const MINUTE_MS = 60_000;
const DAY_MS = DAY_MINUTES * MINUTE_MS;
const WEEK_MS = WEEK_MINUTES * MINUTE_MS;
/** What is 0 in minutes of a week: 1970 began on a Thursday. */
const SUNDAY_MS = 3 * DAY_MS;

export function bandwidthRule(entry: BackupEntryConfig, zone: string): BandwidthRule {
  return { bytesPerSecond: entry.bandwidthLimitBytesPerSecond, windows: entry.bandwidthWindows, zone };
}

export function limitAt(rule: BandwidthRule, wallMs: number): number | undefined {
  if (rule.windows.length === 0) return rule.bytesPerSecond;
  const minute = Math.floor((zoneLocalMs(rule.zone, wallMs) - weekStartMs(rule.zone, wallMs)) / MINUTE_MS);
  const window = rule.windows.find((one) => spansOf(one).some(({ from, to }) => from <= minute && minute < to));
  return window?.bytesPerSecond;
}

export function limitInForce(rule: BandwidthRule, wallMs: number): LimitInForce {
  const bytesPerSecond = limitAt(rule, wallMs);
  const untilMs = turningPoints(rule, wallMs).find((atMs) => limitAt(rule, atMs) !== bytesPerSecond);
  return { bytesPerSecond, untilMs };
}

/** The lowest limit that will ever count, undefined when there is none: as many streams as are made must be fed by it. */
export function lowestLimit({ bytesPerSecond, windows }: Omit<BandwidthRule, "zone">): number | undefined {
  const limits =
    windows.length === 0
      ? [bytesPerSecond ?? Number.POSITIVE_INFINITY]
      : windows.map((window) => window.bytesPerSecond);
  const lowest = Math.min(...limits);
  return lowest === Number.POSITIVE_INFINITY ? undefined : lowest;
}

/** Sunday midnight before, as the clock on the wall has it. */
function weekStartMs(zone: string, wallMs: number): number {
  const localMs = zoneLocalMs(zone, wallMs) - SUNDAY_MS;
  return Math.floor(localMs / WEEK_MS) * WEEK_MS + SUNDAY_MS;
}

/** When the limit may change in the next week, in order: at the ends of windows, and where the clock is changed. */
function turningPoints({ windows, zone }: BandwidthRule, wallMs: number): number[] {
  const ends = new Set(windows.flatMap(spansOf).flatMap(({ from, to }) => [from, to]));
  const startMs = weekStartMs(zone, wallMs);
  const points: number[] = [];
  for (const weekMs of [startMs, startMs + WEEK_MS]) {
    for (const minute of ends) {
      const { atMs, skippedAtMs } = momentsOf(zone, weekMs + minute * MINUTE_MS);
      points.push(...atMs, ...(skippedAtMs === undefined ? [] : [skippedAtMs]));
    }
  }
  // Each look sees a day before and a day after.
  for (let days = 0; days <= 8 && windows.length > 0; days += 2) {
    const change = zoneChangeNear(zone, wallMs + days * DAY_MS);
    if (change !== undefined) points.push(change.atMs);
  }
  return points.filter((atMs) => atMs > wallMs).sort((a, b) => a - b);
}
