/** `nbackup-server scrub`: reads archives again that were not read for long. */
import { parseDuration, parseSize } from "#base/units.ts";
import {
  type ArchivePlace,
  archivePlace,
  jsonOption,
  type ParsedCommand,
  placeOptions,
  PROGRESS_OPTION,
} from "./archive-arguments.ts";
import { usage } from "./parse.ts";
import type { CommandSpec } from "./program.ts";

export interface ScrubRequest {
  readonly place: ArchivePlace;
  /** Undefined: all storages. */
  readonly storage: string | undefined;
  /** What was not read for so many days; undefined: scrub_days of the storage, or DAYS_DEFAULT. */
  readonly days: number | undefined;
  /** No archive is begun after so much was read; undefined: no limit. */
  readonly bytesMax: number | undefined;
  readonly timeMaxMs: number | undefined;
  readonly progress: boolean;
  readonly json: boolean;
}

/** Where neither the command nor the configuration says anything. */
export const DAYS_DEFAULT = 30;
const DAYS_MAX = 3_650;

export const SCRUB_COMMAND: CommandSpec = {
  name: "scrub",
  what: "Read the archives again that were not read for long, the longest unread first, and mark those that are damaged.",
  options: [
    ...placeOptions("server"),
    {
      name: "days",
      value: "N",
      what: `What was not read for so many days; without it scrub_days of the storage, else ${DAYS_DEFAULT}.`,
    },
    { name: "all", what: "Everything, whenever it was read." },
    { name: "limit-bytes", value: "SIZE", what: "Begin with no further archive after so much, for instance 500gb." },
    { name: "limit-time", value: "TIME", what: "Begin with no further archive after so long, for instance 4h." },
    PROGRESS_OPTION,
    jsonOption(
      "Print one JSON object per archive: storage, archive, ok, recorded, chunks, entries, archiveBytes, sha256, sha256Expected, damaged[], damagedCount and durationMs.",
    ),
  ],
  positionals: [],
  details: [
    "For a timer: each run goes on where the last one was, however that ended. What is damaged gets a file .damaged beside it, no longer counts as good for rotation, and is an event of a running server. When it is found whole later, the mark is removed.",
    "A running server keeps the results; without one the command takes the storage's lock for a moment after each archive. Exits with 1 when anything is damaged or could not be read.",
  ],
};

/** Throws Failure E_USAGE. */
export function scrubRequest(parsed: ParsedCommand): ScrubRequest {
  const { flags, values } = parsed;
  const days = values.get("days");
  if (days !== undefined && flags.has("all")) throw usage("--days and --all exclude each other", "Give one of them.");
  return {
    ...{ place: archivePlace(parsed, "server"), storage: values.get("storage") },
    days: flags.has("all") ? 0 : days === undefined ? undefined : daysOf(days),
    bytesMax: limit("limit-bytes", values.get("limit-bytes"), parseSize, "a size such as 500gb"),
    timeMaxMs: limit("limit-time", values.get("limit-time"), parseDuration, "a time such as 4h"),
    ...{ progress: flags.has("progress"), json: flags.has("json") },
  };
}

function daysOf(text: string): number {
  const days = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (days >= 1 && days <= DAYS_MAX) return days;
  throw usage(`--days takes a number from 1 to ${DAYS_MAX}, not ${text}`, "Give a whole number, or --all.");
}

function limit(
  option: string,
  text: string | undefined,
  parse: (text: string) => number | undefined,
  what: string,
): number | undefined {
  const value = text === undefined ? undefined : parse(text);
  if (text === undefined || (value !== undefined && value > 0)) return value;
  throw usage(`--${option} is ${text}`, `Write ${what}.`);
}
