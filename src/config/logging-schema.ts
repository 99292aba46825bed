/** The `logging` section, the same in both files. */
import { flag, filePath, word } from "./values.ts";
import { described, optional, section, type SectionOf, setting } from "./parts.ts";
import type { LoggingConfig } from "./types.ts";
import type { Places } from "./places.ts";

const shape = {
  level: setting(
    word(["debug", "info", "warn", "error"]),
    "info",
    "The least serious lines that are written.",
    "Starts, ends and refusals of sessions, a few lines a day.",
  ),
  format: setting(
    word(["json", "text"]),
    "json",
    "One JSON object per line, or one readable line.",
    "Log collectors read it, and the journal keeps it as it is.",
  ),
  file: optional(
    filePath(),
    "Where lines are appended to, instead of standard error.",
    "none",
    "Under systemd standard error is the journal.",
  ),
  stream_stats: setting(
    flag(),
    false,
    "Periodic lines with the figures of every stream.",
    "Only of use while looking into a slow link.",
  ),
  session_log_dir: optional(
    filePath(),
    "Directory for a log of each session with all of its lines, debug too, kept only if the session failed: 8mb of its beginning and 256kb of its end, the last 100 files. Made if missing.",
  ),
};

export const loggingSchema = described(section(shape), "What is logged, and where.");

export function toLogging(raw: SectionOf<typeof shape>, places: Places): LoggingConfig {
  return {
    level: raw.level,
    format: raw.format,
    file: places.optional(raw.file),
    streamStats: raw.stream_stats,
    sessionLogDir: places.optional(raw.session_log_dir),
  };
}
