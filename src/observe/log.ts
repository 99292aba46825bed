/**
 * The program's log: pino's JSON lines, or the same as one line of text each. Where lines go and what time it is are passed in; what may
 * stand in a line is decided in log-fields.ts. Formatting runs in this thread: pino's worker threads cannot be found in a
 * compiled executable.
 */
import pino from "pino";
import { prettyFactory } from "pino-pretty";
import type { Clock } from "#base/clock.ts";
import type { LogFields, Logger, LogLevel } from "#base/log.ts";
import { safeText } from "#base/safe-text.ts";
import { plainFields } from "./log-fields.ts";

export interface LogSink {
  /** One whole line with its line end. Must not throw. */
  write(line: string): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: "json" | "text";
  readonly sink: LogSink;
  readonly clock: Pick<Clock, "wall">;
}

export interface RootLogger extends Logger {
  /** Also changes the loggers that `child` made. */
  setLevel(level: LogLevel): void;
}

const SEVERITY: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLogger(options: LogOptions): RootLogger {
  const sink = options.format === "json" ? options.sink : textSink(options.sink);
  const writer = pino(
    {
      // The least severe is filtered here, so that a reload changes it for children too.
      level: "debug",
      base: null,
      timestamp: () => `,"time":"${new Date(options.clock.wall()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    sink,
  );
  let least = SEVERITY[options.level];
  const write = (level: LogLevel, message: string, fields: LogFields): void => {
    if (SEVERITY[level] >= least) writer[level](plainFields(fields), message);
  };
  return {
    ...loggerOf(write, {}),
    setLevel(level: LogLevel): void {
      least = SEVERITY[level];
    },
  };
}

type Write = (level: LogLevel, message: string, fields: LogFields) => void;

function loggerOf(write: Write, own: LogFields): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void =>
      write(level, message, { ...own, ...fields });
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => loggerOf(write, { ...own, ...fields }),
  };
}

/** `[2026-02-12T02:00:00.123Z] INFO: message {"field":1}` */
function textSink(sink: LogSink): LogSink {
  const format = prettyFactory({
    colorize: false,
    singleLine: true,
    translateTime: false,
    // Errors are plain fields like others; spread over several lines they would look like more than one event.
    errorLikeObjectKeys: [],
  });
  return { write: (line) => sink.write(`${safeText(format(line).trimEnd())}\n`) };
}
