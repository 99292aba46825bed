/** `logging.file`: appends lines to a file, synchronously, so that the last words of a program are in it. */
import fs from "node:fs";
import { errnoName, Failure } from "#base/errors.ts";
import type { LogSink } from "./log.ts";

export interface LogFile extends LogSink {
  /** Lines that could not be written since the file was opened, for instance because the disk is full. */
  readonly lostLines: number;
  /** After a rotation by others: opens the path anew. The old file stays in use when that fails; throws Failure E_CONFIG. */
  reopen(): void;
  close(): void;
}

/** Readable by the group, as log collectors expect it. */
const MODE = 0o640;
/** Not to wait: for the reader of a named pipe, who may not be there, or not read. */
const FLAGS = fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_CREAT | fs.constants.O_NONBLOCK;

/** Throws Failure E_CONFIG. `onLost` hears the first failed write of each row of them; it must not log to this file. */
export function openLogFile(path: string, onLost: (failure: Failure) => void): LogFile {
  let fd = open(path);
  let lostLines = 0;
  let failing = false;
  return {
    get lostLines(): number {
      return lostLines;
    },
    write(line: string): void {
      try {
        writeWhole(fd, Buffer.from(line));
        failing = false;
      } catch (error) {
        // A log that cannot be written must not stop a backup.
        lostLines += 1;
        if (!failing) onLost(failed(path, "written", error));
        failing = true;
      }
    },
    reopen(): void {
      const fresh = open(path);
      fs.closeSync(fd);
      fd = fresh;
    },
    close(): void {
      fs.closeSync(fd);
    },
  };
}

function open(path: string): number {
  try {
    return fs.openSync(path, FLAGS, MODE);
  } catch (error) {
    throw failed(path, "opened", error);
  }
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += fs.writeSync(fd, bytes, done);
}

function failed(path: string, what: string, error: unknown): Failure {
  const reason = errnoName(error) ?? String(error);
  const hint = "Check logging.file: its directory must exist, and the user that nbackup runs as may write there.";
  return new Failure("E_CONFIG", `the log file ${path} cannot be ${what}: ${reason}`, { hint, cause: error });
}
