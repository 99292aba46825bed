/**
 * `logging.session_log_dir`: a file for each session with every line that names it, debug lines too whatever the level is. It is kept
 * when the session failed. Nobody waits for the disk, and one that refuses costs these files and nothing else. What a line looks like
 * is log.ts's; when a session begins and ends is told from outside.
 */
import type { Clock } from "#base/clock.ts";
import { errnoName } from "#base/errors.ts";
import type { LogFields, Logger, LogLevel } from "#base/log.ts";
import { KiB, MiB } from "#base/units.ts";
import { createLogger, type LogOptions } from "./log.ts";

export interface SessionLogDisk {
  /** Only for the user that the program runs as; those above it too. Nothing happens when it is there. */
  makeDirectory(path: string): Promise<void>;
  list(directory: string): Promise<readonly string[]>;
  append(path: string, text: string): Promise<void>;
  /** Nothing happens when there is none. */
  remove(path: string): Promise<void>;
}

export interface SessionLogFacts {
  readonly session: string;
  readonly agent: string;
  readonly backup: string;
}

/** `paused`: it goes on after the next start of the program. */
export type SessionLogEnd = "good" | "failed" | "paused";

/** What is written as it comes; of what follows only the end is kept, in memory, and written with the last line. */
const HEAD_BYTES_MAX = 8 * MiB;
const TAIL_BYTES_MAX = 256 * KiB;
/** Files in the directory, those of sessions that run not counted. */
const FILES_MAX = 100;
/** `<agent>_<backup>_<time>_<session>.log` */
const OWN_NAME = /_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z)_([0-9a-f-]{36})\.log$/;

export interface SessionLogsOptions {
  readonly disk: SessionLogDisk;
  readonly clock: Pick<Clock, "wall">;
  readonly format: LogOptions["format"];
  /** Where every line goes, and what goes wrong here. */
  readonly log: Logger;
}

export class SessionLogs {
  /** Lines that name a session are in its file as well. */
  readonly log: Logger;
  readonly #options: SessionLogsOptions;
  readonly #files = new Map<string, SessionFile>();
  #directory: string | undefined;
  #work: Promise<void> = Promise.resolve();
  #failing = false;

  constructor(options: SessionLogsOptions, directory: string | undefined) {
    this.#options = options;
    this.#directory = directory;
    this.log = routed(options.log, {}, (session) => this.#files.get(session)?.log);
  }

  /** For sessions that begin from now on; undefined: none is kept any more. */
  use(directory: string | undefined): void {
    this.#directory = directory;
  }

  begin({ session, agent, backup }: SessionLogFacts): void {
    const directory = this.#directory;
    if (directory === undefined || this.#files.has(session)) return;
    const { clock, format } = this.#options;
    const time = new Date(clock.wall()).toISOString().replaceAll(/[:.]/g, "-");
    const file = new SessionFile(
      (write) => createLogger({ level: "debug", format, sink: { write }, clock }),
      () => this.#later(() => this.#flush(file)),
    );
    this.#files.set(session, file);
    this.#later(async () => {
      const { disk } = this.#options;
      await disk.makeDirectory(directory);
      const names = await disk.list(directory);
      // One that goes on after a start of the program has its file already.
      const name =
        names.find((one) => OWN_NAME.exec(one)?.[2] === session) ?? `${agent}_${backup}_${time}_${session}.log`;
      file.path = `${directory}/${name}`;
      await this.#flush(file);
      await this.#removeOld(directory, names);
    });
  }

  end(session: string, how: SessionLogEnd): void {
    const file = this.#files.get(session);
    if (file === undefined) return;
    this.#files.delete(session);
    file.close();
    this.#later(async () => {
      if (how !== "good") await this.#flush(file);
      else if (file.path !== undefined) await this.#options.disk.remove(file.path);
    });
  }

  /** Of all sessions that still run the files stay. Resolves when everything is written. */
  async close(): Promise<void> {
    for (const session of [...this.#files.keys()]) this.end(session, "paused");
    await this.#work;
  }

  async #flush(file: SessionFile): Promise<void> {
    const text = file.take();
    // The directory could not be made.
    if (file.path === undefined) return;
    if (text !== "") await this.#options.disk.append(file.path, text);
    this.#recovered();
  }

  /** The oldest go first, by the time in their names. */
  async #removeOld(directory: string, names: readonly string[]): Promise<void> {
    const timed = names.flatMap((name) => {
      const [, time, session] = OWN_NAME.exec(name) ?? [];
      return time === undefined || session === undefined || this.#files.has(session) ? [] : [{ name, time }];
    });
    timed.sort((a, b) => (a.time < b.time ? -1 : 1));
    for (const { name } of timed.slice(0, Math.max(0, timed.length - FILES_MAX))) {
      await this.#options.disk.remove(`${directory}/${name}`);
    }
  }

  /** One after another, so that lines keep their order. */
  #later(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error: unknown) => this.#refused(error));
  }

  /** Said once until the disk takes something again. */
  #refused(error: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    const reason = errnoName(error) ?? String(error);
    this.#options.log.warn("logs of sessions cannot be written", { directory: this.#directory, reason });
  }

  #recovered(): void {
    if (this.#failing) this.#options.log.info("logs of sessions are written again", { directory: this.#directory });
    this.#failing = false;
  }
}

/** The lines of one session that are yet to be written. */
class SessionFile {
  readonly log: Logger;
  path: string | undefined;
  readonly #flush: () => void;
  #waiting: string[] = [];
  #headBytes = 0;
  #tail: string[] = [];
  #tailBytes = 0;
  #leftOut = 0;
  #closed = false;
  #flushing = false;

  constructor(makeLog: (write: (line: string) => void) => Logger, flush: () => void) {
    this.log = makeLog((line) => this.#add(line));
    this.#flush = flush;
  }

  close(): void {
    this.#closed = true;
  }

  /** What is to be written now. */
  take(): string {
    this.#flushing = false;
    const lines = this.#waiting.splice(0);
    if (this.#closed) {
      if (this.#leftOut > 0) lines.push(`… ${this.#leftOut} lines are left out here: this file has its limit\n`);
      lines.push(...this.#tail.splice(0));
    }
    return lines.join("");
  }

  #add(line: string): void {
    const bytes = Buffer.byteLength(line);
    if (this.#headBytes + bytes > HEAD_BYTES_MAX || this.#tail.length > 0) {
      this.#addToTail(line, bytes);
      return;
    }
    this.#headBytes += bytes;
    this.#waiting.push(line);
    if (this.#flushing) return;
    this.#flushing = true;
    this.#flush();
  }

  #addToTail(line: string, bytes: number): void {
    this.#tail.push(line);
    this.#tailBytes += bytes;
    while (this.#tailBytes > TAIL_BYTES_MAX) {
      const first = this.#tail.shift();
      if (first === undefined) break;
      this.#tailBytes -= Buffer.byteLength(first);
      this.#leftOut += 1;
    }
  }
}

/** A logger whose lines also go to that of the session they name, in their own fields or in those of a child. */
function routed(main: Logger, own: LogFields, of: (session: string) => Logger | undefined): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      main[level](message, fields);
      const all = { ...own, ...fields };
      const session = all["session"];
      if (typeof session === "string") of(session)?.[level](message, all);
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => routed(main.child(fields), { ...own, ...fields }, of),
  };
}
