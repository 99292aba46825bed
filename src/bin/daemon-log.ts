/**
 * The log of a daemon: to `logging.file`, else to standard error, where systemd's journal takes it. Level and file may be exchanged
 * while it runs, and the file is opened anew after somebody rotated it.
 */
import { failureText } from "#cli/failure-text.ts";
import type { LoggingConfig } from "#config/types.ts";
import { createLogger, type LogSink, type RootLogger } from "#observe/log.ts";
import { type LogFile, openLogFile } from "#observe/log-file.ts";
import { systemClock } from "./system.ts";

export interface DaemonLog {
  readonly log: RootLogger;
  /** From now on this level and file; opens the file anew in any case. Throws Failure E_CONFIG, and then all stays as it was. */
  use(logging: LoggingConfig): void;
}

/** Throws Failure E_CONFIG when the file cannot be opened. */
export function openDaemonLog(logging: LoggingConfig): DaemonLog {
  const stderr: LogSink = { write: (line) => void process.stderr.write(line) };
  const open = (path: string): LogFile => openLogFile(path, (failure) => stderr.write(failureText(failure)));
  let { file: path } = logging;
  let file = path === undefined ? undefined : open(path);
  const sink: LogSink = { write: (line) => (file ?? stderr).write(line) };
  const log = createLogger({ level: logging.level, format: logging.format, sink, clock: systemClock });
  return {
    log,
    use(next: LoggingConfig): void {
      if (file !== undefined && next.file === path) file.reopen();
      else {
        const fresh = next.file === undefined ? undefined : open(next.file);
        file?.close();
        file = fresh;
        path = next.file;
      }
      log.setLevel(next.level);
    },
  };
}
