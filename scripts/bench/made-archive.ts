/**
 * An archive and its index of any size, from files that are on no disk: the product's reader, cutter and index, without threads and
 * network. Their content cannot be compressed, so that the archive is as long as they are.
 */
import * as fs from "node:fs";
import { ChunkReader, type RawChunk, rawBufferBytes } from "#archive/chunk-reader.ts";
import { Excludes } from "#archive/exclude.ts";
import { type FileSource, type OnName, type OpenFile, SourceError, type Stat, type Xattrs } from "#archive/source.ts";
import { sourceRoots } from "#archive/source-roots.ts";
import { WALK_EVERYTHING } from "#archive/walk-rules.ts";
import { ProducedFiles } from "#agent/produced-files.ts";
import type { ProducerSink } from "#agent/producer.ts";
import type { Compression, SealedChunk } from "#base/chunk.ts";
import { MiB } from "#base/units.ts";
import { storedBytesMax } from "#compress/codec.ts";
import { sealChunk } from "#compress/seal.ts";

export interface MadeTree {
  readonly files: number;
  readonly fileBytes: number;
  /** chunk_size; as the product's when absent. */
  readonly chunkBytes?: number;
}

const ROOT = "/made";
const FILES_PER_DIRECTORY = 1000;
const COMPRESSION: Compression = { mode: "gzip", level: 1 };
const MADE_AT_S = 1_700_000_000;

/** Path in the archive of the file with that number. */
export function madePath(number: number): string {
  return `${directoryPath(Math.floor(number / FILES_PER_DIRECTORY))}/${fileName(number % FILES_PER_DIRECTORY)}`.slice(
    1,
  );
}

function directoryPath(number: number): string {
  return `${ROOT}/directory-${String(number).padStart(5, "0")}`;
}

function fileName(number: number): string {
  return `file-${String(number).padStart(4, "0")}`;
}

const NO_XATTRS: Xattrs = { names: () => new Uint8Array(0), value: () => undefined };

class MadeSource implements FileSource {
  readonly #tree: MadeTree;
  readonly #content = randomBytes(16 * MiB);

  constructor(tree: MadeTree) {
    this.#tree = tree;
  }

  lstat(path: Uint8Array): Stat {
    const [, , directory, file] = Buffer.from(path).toString("latin1").split("/");
    const number = Number(directory?.slice(-5) ?? 0) * FILES_PER_DIRECTORY + Number(file?.slice(-4) ?? 0);
    return {
      ...{ type: file === undefined ? "directory" : "file", mode: file === undefined ? 0o755 : 0o644 },
      ...{ uid: 0, gid: 0, size: file === undefined ? 0 : this.#tree.fileBytes, allocatedBytes: this.#tree.fileBytes },
      ...{ mtimeSeconds: MADE_AT_S + number, mtimeNanos: 0, ctimeSeconds: MADE_AT_S + number, ctimeNanos: 0 },
      ...{ dev: "1", ino: String(2 * number + (file === undefined ? 1 : 2)), nlink: 1, rdevMajor: 0, rdevMinor: 0 },
    };
  }

  names(path: Uint8Array, onName: OnName): void {
    const [, , directory] = Buffer.from(path).toString("latin1").split("/");
    const { files } = this.#tree;
    const count =
      directory === undefined
        ? Math.ceil(files / FILES_PER_DIRECTORY)
        : Math.min(FILES_PER_DIRECTORY, files - Number(directory.slice(-5)) * FILES_PER_DIRECTORY);
    for (let i = 0; i < count; i += 1) {
      const name = Buffer.from(directory === undefined ? directoryPath(i).slice(ROOT.length + 1) : fileName(i));
      onName(name, 0, name.length);
    }
  }

  open(path: Uint8Array): OpenFile {
    const stat = this.lstat(path);
    const begin = (Number(stat.ino) * 4099) % this.#content.length;
    return {
      ...{ stat, xattrs: NO_XATTRS, dataRanges: () => false, close: () => undefined },
      read: (into, offset) => {
        const length = Math.min(into.length, stat.size - offset);
        for (let at = 0; at < length;) {
          const from = (begin + offset + at) % this.#content.length;
          const part = this.#content.subarray(from, from + length - at);
          into.set(part, at);
          at += part.length;
        }
        return length;
      },
    };
  }

  readlink(): Uint8Array {
    throw new SourceError("EINVAL", "readlink");
  }

  xattrs(): Xattrs {
    return NO_XATTRS;
  }

  isPseudo(): boolean {
    return false;
  }

  userName(): string | undefined {
    return undefined;
  }

  groupName(): string | undefined {
    return undefined;
  }

  close(): void {
    // Nothing is open.
  }
}

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

/** Writes both files, each chunk where its file ends. */
class FileSink implements ProducerSink {
  readonly #fds: readonly number[];

  constructor(fds: readonly number[]) {
    this.#fds = fds;
  }

  reserve(): boolean {
    return true;
  }

  chunk({ file, stored }: SealedChunk): void {
    fs.writeSync(this.#fds[file] ?? -1, stored);
  }

  problems(): void {
    // A made tree has none.
  }

  end(): void {
    // Who makes it knows when it ends.
  }

  failed(): void {
    // Errors are thrown here.
  }
}

/** Writes `file` and `file` with `.idx` behind. */
export function makeArchive(file: string, tree: MadeTree): void {
  const chunkBytes = tree.chunkBytes ?? MiB;
  const fds = [fs.openSync(file, "w"), fs.openSync(`${file}.idx`, "w")];
  const sink = new FileSink(fds);
  const files = new ProducedFiles(
    {
      ...{ rebuilt: false, session: undefined, agent: undefined, backup: undefined, archive: undefined },
      ...{ startedMs: undefined, compression: COMPRESSION, chunkBytes, sources: [ROOT], exclude: [] },
      ...{ oneFileSystem: false, excludeCaches: false, excludeIfPresent: [] },
    },
    COMPRESSION,
  );
  const reader = new ChunkReader({
    ...{ source: new MadeSource(tree), roots: sourceRoots([{ path: ROOT, optional: false }]) },
    ...{ excludes: new Excludes([]), rules: WALK_EVERYTHING, chunkBytes, report: () => undefined },
    wall: () => 1000 * MADE_AT_S + 10 ** 12,
  });
  const parts = (all: ReturnType<ProducedFiles["end"]>): void => {
    for (const part of all) files.part(sink, part);
  };
  parts([files.begin()]);
  const slab = new Uint8Array(storedBytesMax(COMPRESSION.mode, rawBufferBytes(chunkBytes)));
  const next = (): RawChunk | undefined => reader.next(slab.subarray(0, rawBufferBytes(chunkBytes)));
  for (let chunk = next(); chunk !== undefined; chunk = next()) {
    const after = files.after(chunk);
    const seal = sealChunk(slab, chunk.rawLength, COMPRESSION);
    files.chunk(sink, chunk, slab.subarray(0, seal.storedLength), seal);
    parts(after);
  }
  parts(files.end());
  reader.close();
  for (const fd of fds) fs.closeSync(fd);
}
