/** `bandwidth_limit`: one size, or a timetable of them. That windows do not overlap is a rule of bandwidth-rules.ts. */
import { KiB, TiB } from "#base/units.ts";
import { DAY_MINUTES } from "#base/week-window.ts";
import { list, Refusal, required, type Schema, section, type SectionOf, setting, value, valueOrList } from "./parts.ts";
import type { BackupEntryConfig, BandwidthWindow } from "./types.ts";
import { size } from "./values.ts";

const WINDOWS_MAX = 100;
const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const limit = (): Schema<number> => size({ min: 64 * KiB, max: TiB });

const shape = {
  from: required(clockTime(DAY_MINUTES - 1), "When the window begins, in the time zone of the schedules."),
  to: required(
    clockTime(DAY_MINUTES),
    "When it ends; a time before from, or the same, is one of the next day. For a whole day: 00:00 to 24:00.",
  ),
  limit: required(limit(), "Bytes per second within it."),
  days: setting(weekDays(), "sun-sat", "Days on which it begins."),
};

export const windowSchema = section(shape);

/** Sizes in the list are those of the windows. */
export function bandwidthLimit(): Schema<number | readonly SectionOf<typeof shape>[]> {
  return valueOrList(limit(), list(windowSchema, { min: 1, max: WINDOWS_MAX, things: "windows" }));
}

export function toBandwidth(
  raw: number | readonly SectionOf<typeof shape>[] | undefined,
): Pick<BackupEntryConfig, "bandwidthLimitBytesPerSecond" | "bandwidthWindows"> {
  if (typeof raw !== "object") return { bandwidthLimitBytesPerSecond: raw, bandwidthWindows: [] };
  return { bandwidthLimitBytesPerSecond: undefined, bandwidthWindows: raw.map(toWindow) };
}

export function toWindow({ from, to, limit: bytesPerSecond, days }: SectionOf<typeof shape>): BandwidthWindow {
  return { fromMinute: from, toMinute: to, days, bytesPerSecond };
}

/** Minutes of the day. */
function clockTime(minuteMax: number): Schema<number> {
  return value(`a time from 00:00 to ${timeText(minuteMax)}`, (input) => {
    if (typeof input === "number") return new Refusal({ hint: "Put it in quotes." });
    const match = typeof input === "string" ? /^(\d\d):([0-5]\d)$/.exec(input) : null;
    if (match === null)
      return new Refusal({ hint: "Write hours and minutes with two digits each, for instance 08:00." });
    const minute = Number(match[1]) * 60 + Number(match[2]);
    return minute <= minuteMax ? minute : new Refusal();
  });
}

export function timeText(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
}

/** Numbers of days, 0 is Sunday. */
function weekDays(): Schema<readonly number[]> {
  return value("days and ranges of days with commas between, for instance mon-fri or sat,sun", (input) => {
    if (typeof input !== "string") return new Refusal();
    const days = new Set<number>();
    for (const part of input.toLowerCase().split(",")) {
      const [from = -1, to = from, ...more] = part.split("-").map((name) => DAYS.indexOf(name.trim()));
      if (from < 0 || to < 0 || more.length > 0) return new Refusal({ hint: `Days are ${DAYS.join(", ")}.` });
      for (let day = from; ; day = (day + 1) % 7) {
        days.add(day);
        if (day === to) break;
      }
    }
    return [...days].sort((a, b) => a - b);
  });
}
