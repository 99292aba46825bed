/** What loading a configuration needs of the disk, and the real one. */
import fs from "node:fs";
import path from "node:path/posix";
import { errnoName, Failure } from "#base/errors.ts";
import { CONFIG_BYTES_MAX } from "./yaml-text.ts";
import { ConfigFailure } from "./problem.ts";

export interface ConfigDisk {
  /** All bytes of a regular file. Throws a ConfigFailure (E_CONFIG_READ) that says why it cannot. */
  read(file: string): Uint8Array;
  /** An absolute path without symbolic links, as far as it exists. */
  realPath(file: string): string;
}

const MISSING =
  "Give its path with --config. nbackup-server setup makes one for a server, nbackup-agent enroll one for an agent.";

const READ_ERRORS: Readonly<Record<string, readonly [message: string, hint: string]>> = {
  ENOENT: ["the configuration file does not exist", MISSING],
  ENOTDIR: ["the configuration file does not exist", MISSING],
  EACCES: ["the configuration file may not be read", "Let the user that nbackup runs as read it."],
  ELOOP: ["the configuration file is a symbolic link that leads in a circle", "Give the path of the file itself."],
};

export const linuxConfigDisk: ConfigDisk = {
  read(file) {
    let fd: number | undefined;
    try {
      // O_NONBLOCK: a fifo without a writer must not hang the start.
      fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
      const stat = fs.fstatSync(fd);
      if (stat.isDirectory()) throw unreadable(file, "is a directory, not a file", "Give the path of the file in it.");
      if (!stat.isFile()) throw unreadable(file, "is not a regular file", "Give the path of a regular file.");
      if (stat.size > CONFIG_BYTES_MAX) throw tooLarge(file, stat.size);
      const bytes = fs.readFileSync(fd);
      if (bytes.length > CONFIG_BYTES_MAX) throw tooLarge(file, bytes.length);
      return bytes;
    } catch (error) {
      if (error instanceof Failure) throw error;
      const errno = errnoName(error);
      if (errno === undefined) throw error;
      const [message, hint] = READ_ERRORS[errno] ?? [`the configuration file cannot be read: ${errno}`, undefined];
      throw unreadable(file, message, hint);
    } finally {
      if (fd !== undefined) fs.closeSync(fd);
    }
  },

  realPath(file) {
    const missing: string[] = [];
    for (let head = path.resolve(file); head !== "/"; head = path.dirname(head)) {
      try {
        return path.join(fs.realpathSync(head), ...missing);
      } catch (error) {
        if (errnoName(error) === undefined) throw error;
        // What is not there yet, or may not be looked at, is taken by its name.
        missing.unshift(path.basename(head));
      }
    }
    return path.join("/", ...missing);
  },
};

function unreadable(file: string, message: string, hint: string | undefined): ConfigFailure {
  return new ConfigFailure([{ file, line: undefined, key: "", message, hint }], "E_CONFIG_READ");
}

function tooLarge(file: string, bytes: number): ConfigFailure {
  return unreadable(
    file,
    `the configuration file has ${bytes} bytes, allowed: at most ${CONFIG_BYTES_MAX}`,
    "Check that it is the right file.",
  );
}
