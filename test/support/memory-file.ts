/** An open file of memory-disk.ts, and what the hook of that disk sees. */
import { assert } from "#base/assert.ts";
import type { Disk, DiskFile } from "#store/disk.ts";
import { clean, type FileNode, grown, keepRange } from "./memory-nodes.ts";

export type DiskCall = keyof Disk | keyof DiskFile | "readFile" | "syncFilesystem" | "copy";

/** One call, as the hook sees it. `path` of a call on an open file is the one it was opened by. */
export interface DiskEvent {
  readonly call: DiskCall;
  readonly path: string;
  /** Counts all calls from 0. */
  readonly index: number;
  /** Of read and write. */
  readonly offset?: number;
  readonly length?: number;
}

/** Runs before the call: throw diskError(…) to fail it, await to delay it, call `disk.crash()` to end it all. */
export type DiskHook = (event: DiskEvent) => void | Promise<void>;

/** An error as the real disk throws it. */
export function diskError(code: string, detail = ""): Error {
  return Object.assign(new Error(`${code} ${detail}`), { code });
}

export interface MemoryFileHost {
  /** Does `act` when the disk's hook lets it. */
  call<T>(name: keyof DiskFile, act: () => T, at?: { offset?: number; length?: number }): Promise<T>;
  /** The file grows by so many bytes (negative: shrinks); throws ENOSPC. */
  grow(bytes: number): void;
  /** A sync of the file failed, and what it was to make safe is lost. */
  lost(): void;
  closed(): void;
}

export class MemoryFile implements DiskFile {
  readonly #node: FileNode;
  readonly #path: string;
  readonly #host: MemoryFileHost;
  #open = true;
  /** Losses of the file that this descriptor was told of, or that came before it. */
  #lossesTold: number;
  /** Calls that have not returned. */
  #busy = 0;

  constructor(node: FileNode, path: string, host: MemoryFileHost) {
    this.#node = node;
    this.#path = path;
    this.#host = host;
    this.#lossesTold = node.losses;
  }

  write(bytes: Uint8Array, offset: number): Promise<void> {
    const before = Bun.hash(bytes);
    return this.#call("write", { offset, length: bytes.length }, () => {
      assert(Bun.hash(bytes) === before, `bytes for ${this.#path} changed while they were written`);
      const node = this.#node;
      const end = offset + bytes.length;
      this.#host.grow(Math.max(0, end - node.length));
      node.bytes = grown(node.bytes, end);
      if (offset > node.length) node.bytes.fill(0, node.length, offset);
      node.bytes.set(bytes, offset);
      node.length = Math.max(node.length, end);
      node.dirty.push({ offset, length: bytes.length });
    });
  }

  read(into: Uint8Array, offset: number): Promise<number> {
    return this.#call("read", { offset, length: into.length }, () => {
      const { bytes, length } = this.#node;
      const part = bytes.subarray(Math.min(offset, length), Math.min(offset + into.length, length));
      into.set(part);
      return part.length;
    });
  }

  async fdatasync(): Promise<void> {
    const node = this.#node;
    const ranges = new Set(node.dirty);
    try {
      await this.#call("fdatasync", {}, () => {
        for (const range of ranges) keepRange(node, range.offset, range.length);
      });
    } catch (error) {
      // What a failed sync dropped stays lost, and is told to everybody who has the file open, once.
      if (clean(node, ranges, true)) this.#host.lost();
      this.#lossesTold = node.losses;
      throw error;
    }
    clean(node, ranges, false);
    if (this.#lossesTold === node.losses) return;
    this.#lossesTold = node.losses;
    throw diskError("EIO", this.#path);
  }

  size(): Promise<number> {
    return this.#call("size", {}, () => this.#node.length);
  }

  truncate(length: number): Promise<void> {
    return this.#call("truncate", {}, () => {
      this.#host.grow(length - this.#node.length);
      this.#node.length = length;
      this.#node.syncedLength = Math.min(this.#node.syncedLength, length);
    });
  }

  chmod(mode: number): Promise<void> {
    return this.#call("chmod", {}, () => {
      this.#node.mode = mode;
    });
  }

  chown(uid: number, gid: number): Promise<void> {
    return this.#call("chown", {}, () => {
      Object.assign(this.#node, { uid, gid });
    });
  }

  close(): Promise<void> {
    assert(this.#busy === 0, `close of ${this.#path} with ${this.#busy} calls under way`);
    return this.#call("close", {}, () => {
      this.#open = false;
      this.#host.closed();
    });
  }

  async #call<T>(name: keyof DiskFile, at: { offset?: number; length?: number }, act: () => T): Promise<T> {
    assert(this.#open, `${name} of ${this.#path}, which was closed`);
    this.#busy += 1;
    try {
      return await this.#host.call(name, act, at);
    } finally {
      this.#busy -= 1;
    }
  }
}
