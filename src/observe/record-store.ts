/**
 * Records as JSON lines: kept in memory for whoever asks, and in a file for the next start. Writing is batched, a sync at
 * most every second, and never anybody's problem but its own: when the disk refuses, records wait in memory, the oldest
 * give way to newer ones and are counted, and it is said once. Nothing here rejects.
 */
import { type Clock, sleep, type Timer } from "#base/clock.ts";
import { errnoName } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { MiB } from "#base/units.ts";
import type { ObservedEvent } from "./events.ts";
import { LINE_BYTES_MAX, type LinesDisk, LinesFile } from "./lines-file.ts";
import { RecentRecords } from "./recent-records.ts";

/** Between the beginnings of two writes: what a crash may cost. */
const WRITE_PERIOD_MS = 1_000;
/** Until a disk that refused is asked again. */
const RETRY_MS = 10_000;
/** Lines of one write. */
const BATCH_LINES_MAX = 1_000;
/** Records that wait for a disk that refuses: some hours of an ordinary day. */
const WAITING_LINES_MAX = 2_000;
/** Records in memory for queries; the file may hold more. About 500 bytes each, but a peer may make them long. */
const MEMORY_RECORDS_MAX = 20_000;
const MEMORY_BYTES_MAX = 32 * MiB;
/** For the last write when the program ends: a disk that hangs must not hold it up. */
const CLOSE_LIMIT_MS = 5_000;

export interface RecordStoreOptions<T> {
  readonly disk: LinesDisk;
  /** Absolute. */
  readonly path: string;
  readonly linesMax: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** A line's value as a record; undefined when it is none. */
  readonly parse: (value: unknown) => T | undefined;
  /** Hears that the disk refuses, and that it takes records again, instead of the log. Must not throw. */
  readonly tell?: (event: ObservedEvent) => void;
}

export class RecordStore<T> {
  readonly #options: RecordStoreOptions<T>;
  #recent: RecentRecords<T>;
  #file: LinesFile | undefined;
  /** Not yet in the file. */
  #waiting: Uint8Array[] = [];
  #writing: Promise<void> | undefined;
  #timer: Timer | undefined;
  #nextAtMs = 0;
  #failing = false;
  #droppedLines = 0;
  /** Of those, before the disk began to refuse this time. */
  #toldDroppedLines = 0;
  #closed = false;

  private constructor(options: RecordStoreOptions<T>) {
    this.#options = options;
    this.#recent = this.#noRecent();
  }

  /** Reads what is there. Without a file that can be read it begins empty, and says so. */
  static async open<T>(options: RecordStoreOptions<T>): Promise<RecordStore<T>> {
    const store = new RecordStore(options);
    try {
      await store.#openFile();
    } catch (error) {
      store.#refused(error);
    }
    return store;
  }

  /** Records that never reached the file. */
  get droppedLines(): number {
    return this.#droppedLines;
  }

  /** The disk refused the last write. */
  get failing(): boolean {
    return this.#failing;
  }

  add(record: T): void {
    if (this.#closed) return;
    const line = Buffer.from(`${JSON.stringify(record)}\n`);
    this.#recent.add(record, line.length);
    if (line.length > LINE_BYTES_MAX) {
      this.#droppedLines += 1;
      this.#options.log.warn("a record is too long to be kept", { file: this.#options.path, bytes: line.length });
      return;
    }
    this.#waiting.push(line);
    this.#dropOldest();
    this.#schedule();
  }

  /** The newest first, at most `limit` of those that `wanted` takes. */
  newest(limit: number, wanted: (record: T) => boolean = () => true): T[] {
    return this.#recent.newest(limit, wanted);
  }

  /** Writes what waits and lets go of the file; what the disk does not take now is dropped and counted. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    const hurry = new AbortController();
    const done = this.#finish().finally(() => hurry.abort());
    await Promise.race([done, sleep(this.#options.clock, CLOSE_LIMIT_MS, hurry.signal)]);
    this.#droppedLines += this.#waiting.length;
    this.#waiting = [];
    const dropped = this.#droppedLines - this.#toldDroppedLines;
    if (dropped > 0) this.#options.log.warn("records were lost", { file: this.#options.path, droppedLines: dropped });
  }

  #noRecent(): RecentRecords<T> {
    return new RecentRecords(Math.min(this.#options.linesMax, MEMORY_RECORDS_MAX), MEMORY_BYTES_MAX);
  }

  async #finish(): Promise<void> {
    await this.#writing;
    while (this.#waiting.length > 0) {
      const before = this.#waiting.length;
      await this.#write();
      if (this.#waiting.length === before) break;
    }
    try {
      await this.#file?.close();
    } catch (error) {
      this.#refused(error);
    }
  }

  #dropOldest(): void {
    const excess = this.#waiting.length - WAITING_LINES_MAX;
    if (excess <= 0) return;
    this.#waiting.splice(0, excess);
    this.#droppedLines += excess;
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined || this.#writing !== undefined || this.#waiting.length === 0) return;
    const { clock } = this.#options;
    this.#timer = clock.after(Math.max(0, this.#nextAtMs - clock.now()), () => {
      this.#timer = undefined;
      this.#writing = this.#write().finally(() => {
        this.#writing = undefined;
        this.#schedule();
      });
    });
  }

  /** One batch. Never rejects. */
  async #write(): Promise<void> {
    const { clock } = this.#options;
    this.#nextAtMs = clock.now() + WRITE_PERIOD_MS;
    const batch = this.#waiting.splice(0, BATCH_LINES_MAX);
    try {
      const file = this.#file ?? (await this.#openFile());
      await file.append(batch);
      this.#taken();
    } catch (error) {
      this.#waiting.unshift(...batch);
      this.#dropOldest();
      this.#nextAtMs = clock.now() + RETRY_MS;
      this.#refused(error);
    }
  }

  async #openFile(): Promise<LinesFile> {
    const { disk, path, linesMax, parse, log } = this.#options;
    const loaded = this.#noRecent();
    let unreadable = 0;
    const onCut = (missingBytes: number): void =>
      log.warn("somebody cut the file of records, which goes on from what is left", { file: path, missingBytes });
    const file = await LinesFile.open({ disk, path, linesMax, onCut }, (line) => {
      const record = parse(parseJson(line));
      if (record === undefined) unreadable += 1;
      else loaded.add(record, line.length);
    });
    this.#file = file;
    // What came while the file could not be read is newer.
    this.#recent.moveTo(loaded);
    this.#recent = loaded;
    if (file.tornBytes > 0 || unreadable > 0) {
      const fields = { file: path, tornBytes: file.tornBytes, unreadableLines: unreadable };
      log.warn("records cannot be read and were dropped: a crash or somebody else left them", fields);
    }
    return file;
  }

  #taken(): void {
    if (!this.#failing) return;
    this.#failing = false;
    const droppedLines = this.#droppedLines - this.#toldDroppedLines;
    this.#toldDroppedLines = this.#droppedLines;
    this.#tell("records.recovered", "info", "records are written again", { droppedLines });
  }

  /** Said once until the disk takes something again. */
  #refused(error: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    const reason = errnoName(error) ?? String(error);
    this.#tell("records.failed", "error", "records cannot be written and wait in memory", { reason });
  }

  #tell(kind: string, level: "info" | "error", message: string, more: Readonly<Record<string, unknown>>): void {
    const { log, path, tell } = this.#options;
    const fields = { file: path, ...more };
    if (tell === undefined) log[level](message, fields);
    else tell({ kind, level, message, fields, repeatKey: path });
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined; // Told with the others that are no records.
  }
}
