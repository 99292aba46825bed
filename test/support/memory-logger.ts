/** A logger that keeps its lines, for tests that look at what was logged. */
import type { LogFields, Logger, LogLevel } from "#base/log.ts";

export interface MemoryLine {
  readonly level: LogLevel;
  readonly message: string;
  /** With those of the child loggers above. */
  readonly fields: LogFields;
}

export interface MemoryLogger extends Logger {
  readonly lines: readonly MemoryLine[];
}

export function memoryLogger(): MemoryLogger {
  const lines: MemoryLine[] = [];
  return { ...loggerInto(lines, {}), lines };
}

function loggerInto(lines: MemoryLine[], own: LogFields): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push({ level, message, fields: { ...own, ...fields } });
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => loggerInto(lines, { ...own, ...fields }),
  };
}
