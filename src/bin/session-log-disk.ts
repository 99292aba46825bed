/** The files of sessions' logs on a Linux disk, and who writes them. */
import { appendFile, mkdir, readdir, rm } from "node:fs/promises";
import type { Logger } from "#base/log.ts";
import type { LoggingConfig } from "#config/types.ts";
import { type SessionLogDisk, SessionLogs } from "#observe/session-log.ts";
import { systemClock } from "./system.ts";

/** What was backed up is nobody else's business. */
const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

export const linuxSessionLogDisk: SessionLogDisk = {
  async makeDirectory(path) {
    await mkdir(path, { recursive: true, mode: DIRECTORY_MODE });
  },
  list: (directory) => readdir(directory),
  append: (path, text) => appendFile(path, text, { mode: FILE_MODE }),
  remove: (path) => rm(path, { force: true }),
};

/** After a reload call its `use` with the new `sessionLogDir`. */
export function openSessionLogs({ format, sessionLogDir }: LoggingConfig, log: Logger): SessionLogs {
  return new SessionLogs({ disk: linuxSessionLogDisk, clock: systemClock, format, log }, sessionLogDir);
}
