/** The filesystem of memory-disk.ts as somebody holds it: synced as a whole, and files appended to others. */
import type { DiskFile, DiskFilesystem } from "#store/disk.ts";
import { diskError } from "./memory-file.ts";
import { type DirectoryNode, type Node, Unsynced } from "./memory-nodes.ts";

export interface MemoryFilesystemHost {
  /** Does `act` when the disk's hook lets it. */
  call<T>(name: "syncFilesystem" | "copy" | "close", path: string, act: () => T): Promise<T>;
  root(): DirectoryNode;
  find(path: string): Node;
  open(path: string): Promise<DiskFile>;
  /** Syncs of any file that failed so far, and lost what they were to make safe. */
  losses(): number;
  /** That happened again. */
  lost(): void;
  closed(): void;
}

export class MemoryFilesystem implements DiskFilesystem {
  readonly #path: string;
  readonly #host: MemoryFilesystemHost;
  /** Losses that this holder was told of, or that came before it. */
  #lossesTold: number;

  constructor(path: string, host: MemoryFilesystemHost) {
    this.#path = path;
    this.#host = host;
    this.#lossesTold = host.losses();
  }

  async sync(): Promise<void> {
    const unsynced = new Unsynced(this.#host.root());
    const host = this.#host;
    try {
      await host.call("syncFilesystem", this.#path, () => unsynced.keep());
    } catch (error) {
      // As with fdatasync what was to be synced is lost, also that of others: each who holds the filesystem is told, once.
      if (unsynced.clean(true)) host.lost();
      this.#lossesTold = host.losses();
      throw error;
    }
    unsynced.clean(false);
    if (this.#lossesTold === host.losses()) return;
    this.#lossesTold = host.losses();
    throw diskError("EIO", this.#path);
  }

  async append(paths: readonly string[], into: string, offset: number, bytesMax: number): Promise<number[]> {
    const file = await this.#host.open(into);
    try {
      return await this.#append(paths, file, { offset, bytesMax });
    } finally {
      await file.close();
    }
  }

  async #append(
    paths: readonly string[],
    into: DiskFile,
    { offset, bytesMax }: { readonly offset: number; readonly bytesMax: number },
  ): Promise<number[]> {
    const lengths: number[] = [];
    let at = offset;
    for (const path of paths) {
      try {
        const bytes = await this.#host.call("copy", path, () => this.#bytesOf(path));
        if (lengths.length > 0 && at - offset + bytes.length > bytesMax) break;
        await into.write(bytes, at);
        lengths.push(bytes.length);
        at += bytes.length;
      } catch (error) {
        if (lengths.length === 0) throw error;
        break;
      }
    }
    return lengths;
  }

  close(): Promise<void> {
    return this.#host.call("close", this.#path, () => this.#host.closed());
  }

  #bytesOf(path: string): Buffer {
    const node = this.#host.find(path);
    if (node.kind !== "file") throw diskError("EINVAL", path);
    return Buffer.from(node.bytes.subarray(0, node.length));
  }
}
