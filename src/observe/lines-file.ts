/**
 * A file of whole lines that never has more than `linesMax` of them: batches are appended and synced, and when one more
 * would be too many the newest go into a new file that takes the old one's place. What is in a line, when to write and
 * what to do when the disk refuses is the caller's (record-store.ts).
 */
import { must } from "#base/assert.ts";
import { errnoName } from "#base/errors.ts";
import { KiB } from "#base/units.ts";

/** The few calls needed of a file; as in the store's disk, errors have the errno name in `code`. */
export interface LinesDiskFile {
  write(bytes: Uint8Array, offset: number): Promise<void>;
  read(into: Uint8Array, offset: number): Promise<number>;
  fdatasync(): Promise<void>;
  size(): Promise<number>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

export interface LinesDisk {
  create(path: string, mode: number): Promise<LinesDiskFile>;
  open(path: string, access: "read-write"): Promise<LinesDiskFile>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** `identity`: the same for two names of one file only. */
  lstat(path: string): Promise<{ readonly identity: string }>;
  syncDirectory(path: string): Promise<void>;
}

/** Bytes of a line with its end: longer ones are not written, and skipped when somebody else wrote them. */
export const LINE_BYTES_MAX = 64 * KiB;
/** Part of the lines that go when there are too many, so that the file is not written anew for each line. */
const TRIMMED_PART = 10;
const BLOCK_BYTES = 64 * KiB;
/** Records name hosts and paths: nobody else's business. */
const MODE = 0o600;
const NEWLINE = 10;

export interface LinesFileOptions {
  readonly disk: LinesDisk;
  /** Absolute. */
  readonly path: string;
  /** At least 1. */
  readonly linesMax: number;
  /** Somebody else made the file shorter by so many bytes: what is left of it goes on. */
  readonly onCut?: (bytes: number) => void;
}

export class LinesFile {
  readonly #options: LinesFileOptions;
  #file: LinesDiskFile;
  /** Of what has the name. */
  #identity: string | undefined;
  /** Bytes of whole lines. */
  #length = 0;
  #lines = 0;
  /** Something may stand behind `#length`: a torn line, or a batch whose append failed. */
  #tail = false;
  /**
   * The file has its name, but the directory may not be synced: after a crash another one has it, or none. At the start nobody
   * knows: who put it there may have been killed before.
   */
  #nameUnsynced = true;
  #tornBytes = 0;

  private constructor(options: LinesFileOptions, file: LinesDiskFile) {
    this.#options = options;
    this.#file = file;
  }

  /**
   * Opens the file, or makes it, and gives every line to `onLine` without its end, oldest first. Rejects with what the
   * disk throws.
   */
  static async open(options: LinesFileOptions, onLine: (line: string) => void): Promise<LinesFile> {
    const { disk, path } = options;
    const file = await openOrMake(disk, path);
    try {
      await unlinkIfThere(disk, newPath(path));
      const lines = new LinesFile(options, file);
      await lines.#load(onLine);
      lines.#identity = await identityOf(disk, path);
      return lines;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Lines in the file. */
  get lineCount(): number {
    return this.#lines;
  }

  /** Bytes of a torn last line that were there when the file was opened: a crash came while it was written. */
  get tornBytes(): number {
    return this.#tornBytes;
  }

  /**
   * Adds lines, each with its end; they are on the disk when this resolves. When it rejects with what the disk throws none
   * of them counts, and they may be given again. One call at a time.
   */
  async append(lines: readonly Uint8Array[]): Promise<void> {
    await this.#checkName();
    if (this.#nameUnsynced) await this.#syncName();
    await this.#checkLength();
    if (this.#lines + lines.length > this.#options.linesMax) await this.#replace(lines);
    else await this.#extend(lines);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Somebody took the file away, or put another one in its place: what is written into the old one nobody reads again. */
  async #checkName(): Promise<void> {
    const { disk, path } = this.#options;
    if ((await identityOf(disk, path)) === this.#identity) return;
    const file = await openOrMake(disk, path);
    const [old, length] = [this.#file, this.#length];
    this.#file = file;
    this.#nameUnsynced = true;
    await old.close();
    await this.#load(() => undefined);
    this.#identity = await identityOf(disk, path);
    if (this.#length < length) this.#options.onCut?.(length - this.#length);
  }

  /** Written where it was, a batch would stand behind a hole; and lines that are gone can be copied nowhere. */
  async #checkLength(): Promise<void> {
    const missing = this.#length - (await this.#file.size());
    if (missing <= 0) return;
    await this.#load(() => undefined);
    this.#options.onCut?.(missing);
  }

  async #extend(lines: readonly Uint8Array[]): Promise<void> {
    const bytes = Buffer.concat(lines);
    // Behind a batch shorter than what stands there, its rest would look like lines of its own.
    if (this.#tail) await this.#file.truncate(this.#length);
    this.#tail = true;
    await this.#file.write(bytes, this.#length);
    // A crash here leaves any part of the batch: whole lines are read again, a torn one is dropped by the next start.
    await this.#file.fdatasync();
    this.#tail = false;
    this.#length += bytes.length;
    this.#lines += lines.length;
  }

  /** Writes the newest lines and the batch to a new file, and puts that in the place of the old one. */
  async #replace(batch: readonly Uint8Array[]): Promise<void> {
    const { disk, path, linesMax } = this.#options;
    const added = batch.slice(-linesMax);
    const roomLines = Math.max(0, linesMax - Math.floor(linesMax / TRIMMED_PART) - added.length);
    const keptLines = Math.min(this.#lines, roomLines);
    const from = await this.#offsetOfLine(this.#lines - keptLines);
    const bytes = Buffer.concat(added);
    const keptBytes = this.#length - from;
    await unlinkIfThere(disk, newPath(path));
    const file = await disk.create(newPath(path), MODE);
    try {
      await copy(this.#file, from, file, keptBytes);
      await file.write(bytes, keptBytes);
      // A crash before the rename leaves the old file whole, and a new one that the next start removes.
      await file.fdatasync();
      await disk.rename(newPath(path), path);
    } catch (error) {
      await file.close();
      // On a disk that is full it would take the room of what comes next. Who cannot remove it does so before the next try.
      await unlinkIfThere(disk, newPath(path)).catch(() => undefined);
      throw error;
    }
    // The name is the new file's now, whatever happens below: appending to the old one would write into nothing.
    const old = this.#file;
    this.#file = file;
    this.#length = keptBytes + bytes.length;
    this.#lines = keptLines + added.length;
    this.#tail = false;
    this.#nameUnsynced = true;
    await old.close();
    // Who cannot tell opens it again before the next batch: these lines count.
    this.#identity = await identityOf(disk, path).catch(() => undefined);
    // A crash here leaves one file or the other. The old one lacks the batch only, because nothing follows before this.
    await this.#syncName();
  }

  async #syncName(): Promise<void> {
    const { disk, path } = this.#options;
    try {
      await disk.syncDirectory(path.slice(0, Math.max(1, path.lastIndexOf("/"))));
      this.#nameUnsynced = false;
    } catch {
      // The lines are in their place and counted: given again they would stand there twice. The next append tries again.
      this.#nameUnsynced = true;
    }
  }

  /** Where the line of that number begins, counted from 0. */
  async #offsetOfLine(number: number): Promise<number> {
    if (number === 0) return 0;
    let left = number;
    let found = this.#length;
    await eachBlock(this.#file, 0, this.#length, (block, at) => {
      for (let i = block.indexOf(NEWLINE); i >= 0; i = block.indexOf(NEWLINE, i + 1)) {
        left -= 1;
        if (left > 0) continue;
        found = at + i + 1;
        return "enough";
      }
      return "more";
    });
    return found;
  }

  async #load(onLine: (line: string) => void): Promise<void> {
    const size = await this.#file.size();
    let [length, lines] = [0, 0];
    /** The beginning of a line whose end is in a later block; cut at LINE_BYTES_MAX, which no line of ours reaches. */
    let begun: Buffer[] = [];
    let begunBytes = 0;
    await eachBlock(this.#file, 0, size, (block, at) => {
      let start = 0;
      for (let i = block.indexOf(NEWLINE); i >= 0; i = block.indexOf(NEWLINE, start)) {
        begun.push(block.subarray(start, i));
        // Its beginning is not all here any more: it goes on as what nobody can read.
        onLine(begunBytes + i - start < LINE_BYTES_MAX ? Buffer.concat(begun).toString("utf8") : "");
        lines += 1;
        begun = [];
        begunBytes = 0;
        start = i + 1;
        length = at + start;
      }
      begunBytes += block.length - start;
      if (begunBytes < LINE_BYTES_MAX) begun.push(Buffer.from(block.subarray(start)));
      return "more";
    });
    this.#length = length;
    this.#lines = lines;
    this.#tornBytes = size - length;
    this.#tail = this.#tornBytes > 0;
  }
}

function newPath(path: string): string {
  return `${path}.new`;
}

async function openOrMake(disk: LinesDisk, path: string): Promise<LinesDiskFile> {
  try {
    return await disk.open(path, "read-write");
  } catch (error) {
    if (errnoName(error) !== "ENOENT") throw error;
    return await disk.create(path, MODE);
  }
}

/** Undefined: nothing has the name. */
async function identityOf(disk: LinesDisk, path: string): Promise<string | undefined> {
  try {
    return (await disk.lstat(path)).identity;
  } catch (error) {
    if (errnoName(error) !== "ENOENT") throw error;
    return undefined;
  }
}

async function unlinkIfThere(disk: LinesDisk, path: string): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (errnoName(error) !== "ENOENT") throw error;
  }
}

/** Reads `[from, to)` block by block until told that it is enough. The block is only valid during the call. */
async function eachBlock(
  file: LinesDiskFile,
  from: number,
  to: number,
  onBlock: (block: Buffer, at: number) => "more" | "enough",
): Promise<void> {
  const buffer = Buffer.alloc(BLOCK_BYTES);
  for (let at = from; at < to;) {
    const length = await file.read(buffer.subarray(0, Math.min(BLOCK_BYTES, to - at)), at);
    if (length === 0 || onBlock(buffer.subarray(0, length), at) === "enough") return;
    at += length;
  }
}

async function copy(from: LinesDiskFile, fromOffset: number, to: LinesDiskFile, length: number): Promise<void> {
  const buffer = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < length;) {
    const read = await from.read(buffer.subarray(0, Math.min(BLOCK_BYTES, length - at)), fromOffset + at);
    must(read > 0 ? read : undefined, "bytes of a line that was written");
    await to.write(buffer.subarray(0, read), at);
    at += read;
  }
}
