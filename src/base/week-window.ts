/**
 * A span of the clock on the wall that comes back every week, on some days or all: `mon-fri 08:00 to 18:00`, `22:00 to 06:00`. In
 * minutes of a week that begins on Sunday. Knows no time zones.
 */

export const DAY_MINUTES = 1440;
export const WEEK_MINUTES = 7 * DAY_MINUTES;

export interface WeekWindow {
  /** Days on which it begins, 0 is Sunday; at least one. */
  readonly days: readonly number[];
  /** Of the day, 0 to 1439. */
  readonly fromMinute: number;
  /** The first minute that is not in it, 1 to 1440; up to `fromMinute` it is one of the next day. */
  readonly toMinute: number;
}

export interface MinuteSpan {
  readonly from: number;
  /** The first minute that is not in it, at most WEEK_MINUTES. */
  readonly to: number;
}

/** One span per day, two for one that goes on in the next week. */
export function spansOf({ days, fromMinute, toMinute }: WeekWindow): MinuteSpan[] {
  return days.flatMap((day) => {
    const from = day * DAY_MINUTES + fromMinute;
    const to = day * DAY_MINUTES + toMinute + (toMinute <= fromMinute ? DAY_MINUTES : 0);
    return to <= WEEK_MINUTES
      ? [{ from, to }]
      : [
          { from, to: WEEK_MINUTES },
          { from: 0, to: to - WEEK_MINUTES },
        ];
  });
}

export function overlap(one: WeekWindow, other: WeekWindow): boolean {
  const others = spansOf(other);
  return spansOf(one).some(({ from, to }) => others.some((span) => span.from < to && from < span.to));
}
