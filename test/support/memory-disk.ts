/**
 * A disk in memory that behaves as badly as a real one may: it keeps only what was synced when it crashes, names of files
 * apart from their bytes; a hook sees every call before it happens and may fail it, delay it or crash there. `reboot`
 * gives the disk that the next process finds.
 */
import { assert, must } from "#base/assert.ts";
import type { Random } from "#base/random.ts";
import type { Disk, DiskEntryType, DiskFile, DiskFilesystem, DiskLock, DiskSpace, DiskStat } from "#store/disk.ts";
import {
  type DirectoryNode,
  type DiskView,
  type FileNode,
  findNode,
  type LinkNode,
  namesOf,
  newDirectory,
  newFile,
  type Node,
  survivingEntries,
  survivingFile,
  treeOf,
  unsyncedFiles,
} from "./memory-nodes.ts";
import { type DiskCall, diskError, type DiskHook, MemoryFile } from "./memory-file.ts";
import { MemoryFilesystem } from "./memory-filesystem.ts";

export interface MemoryDiskOptions {
  readonly privileged?: boolean;
  /** Bytes of file content, then ENOSPC. */
  readonly capacityBytes?: number;
}

export class MemoryDisk implements Disk {
  readonly privileged: boolean;
  /** Replaced at will. */
  hook: DiskHook = () => undefined;
  readonly #capacityBytes: number;
  readonly #locks = new Set<string>();
  #root: DirectoryNode;
  #nextId = 1;
  #calls = 0;
  #usedBytes = 0;
  foreignBytes = 0;
  #openFiles = 0;
  /** Syncs that failed and lost something. */
  #losses = 0;
  #crashed = false;

  constructor(options: MemoryDiskOptions = {}) {
    this.privileged = options.privileged ?? false;
    this.#capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
    this.#root = this.#directory(0o755);
  }

  get calls(): number {
    return this.#calls;
  }

  /** Files that were opened and not closed. */
  get openFiles(): number {
    return this.#openFiles;
  }

  /** Bytes of file content; `foreignBytes` are those of others on the same disk. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** From here on no call happens and none returns. */
  crash(): void {
    this.#crashed = true;
  }

  /**
   * The disk as the next process finds it when this one died and the machine did not: all it wrote is there, synced or not,
   * and its locks are gone. What the dead one still calls happens nowhere.
   */
  restart(): MemoryDisk {
    this.crash();
    return this.#successor(this.#root, this.#usedBytes);
  }

  /**
   * The disk after the crash: what was synced, and of the rest what `keep` says (nothing without it): each name and each
   * write that was not synced is kept or lost by its own chance, a write possibly in part.
   */
  reboot(keep?: Random): MemoryDisk {
    const copies = new Map<Node, Node>();
    const copy = (node: Node): Node => {
      const known = copies.get(node);
      if (known !== undefined) return known;
      let made: Node;
      if (node.kind === "symlink") made = { ...node };
      else if (node.kind === "file") made = survivingFile(node, keep);
      else made = { ...node, entries: new Map(), synced: new Map() };
      copies.set(node, made);
      if (node.kind === "directory" && made.kind === "directory") {
        for (const [name, child] of survivingEntries(node, keep)) {
          const childCopy = copy(child);
          made.entries.set(name, childCopy);
          made.synced.set(name, childCopy);
          if (childCopy.kind === "file") childCopy.links += 1;
        }
      }
      return made;
    };
    const root = copy(this.#root);
    assert(root.kind === "directory", "the root is a directory");
    let usedBytes = 0;
    for (const node of copies.values()) if (node.kind === "file") usedBytes += node.length;
    return this.#successor(root, usedBytes);
  }

  /** All files below a path with their bytes, for tests; directories end with `/`, links show their target. */
  tree(path: string): Map<string, string | Buffer> {
    return treeOf(this.#find(path));
  }

  /** The bytes of a file as they are now, or as a crash would leave them; undefined when there is no such file. */
  content(path: string, view: DiskView): { readonly id: number; readonly bytes: Buffer } | undefined {
    const node = findNode(this.#root, path, view);
    if (node?.kind !== "file") return undefined;
    const [bytes, length] = view === "now" ? [node.bytes, node.length] : [node.synced, node.syncedLength];
    return { id: node.id, bytes: bytes.subarray(0, length) };
  }

  /** Names in a directory, or those of them that a crash would leave. */
  names(path: string, view: DiskView): string[] {
    const node = findNode(this.#root, path, view);
    return node?.kind === "directory" ? [...namesOf(node, view).keys()].sort() : [];
  }

  /** Files below a directory with bytes that no sync has reached: what a bad disk may spoil unnoticed. */
  unsynced(path: string): ReturnType<typeof unsyncedFiles> {
    const node = findNode(this.#root, path, "now");
    return node?.kind === "directory" ? unsyncedFiles(node) : [];
  }

  /** Plants a symbolic link, which nbackup itself never makes. */
  symlink(target: string, path: string): void {
    const [parent, name] = this.#parent(path);
    const node: LinkNode = { kind: "symlink", id: this.#id(), target };
    parent.entries.set(name, node);
    parent.synced.set(name, node);
  }

  /** Plants a file with its bytes, synced. */
  plant(path: string, bytes: Uint8Array): void {
    const [parent, name] = this.#parent(path);
    const node = this.#file(0o644);
    node.bytes = Buffer.from(bytes);
    node.synced = Buffer.from(bytes);
    node.length = bytes.length;
    node.syncedLength = bytes.length;
    node.links = 1;
    this.#usedBytes += bytes.length;
    parent.entries.set(name, node);
    parent.synced.set(name, node);
  }

  create(path: string, mode: number): Promise<DiskFile> {
    return this.#call("create", path, () => {
      const [parent, name] = this.#parent(path);
      if (parent.entries.has(name)) throw diskError("EEXIST", path);
      const node = this.#file(mode);
      node.links = 1;
      parent.entries.set(name, node);
      return this.#open(node, path);
    });
  }

  open(path: string, _access: "read" | "read-write"): Promise<DiskFile> {
    return this.#call("open", path, () => {
      const node = this.#find(path);
      if (node.kind === "symlink") throw diskError("ELOOP", path);
      if (node.kind !== "file") throw diskError("EINVAL", path);
      return this.#open(node, path);
    });
  }

  mkdir(path: string, mode: number): Promise<void> {
    return this.#call("mkdir", path, () => {
      const [parent, name] = this.#parent(path);
      if (parent.entries.has(name)) throw diskError("EEXIST", path);
      parent.entries.set(name, this.#directory(mode));
    });
  }

  rmdir(path: string): Promise<void> {
    return this.#call("rmdir", path, () => {
      const [parent, name] = this.#parent(path);
      const node = this.#find(path);
      if (node.kind !== "directory") throw diskError("ENOTDIR", path);
      if (node.entries.size > 0) throw diskError("ENOTEMPTY", path);
      parent.entries.delete(name);
    });
  }

  link(from: string, to: string): Promise<void> {
    return this.#call("link", to, () => {
      const node = this.#find(from);
      const [parent, name] = this.#parent(to);
      if (parent.entries.has(name)) throw diskError("EEXIST", to);
      if (node.kind !== "file") throw diskError("EPERM", from);
      parent.entries.set(name, node);
      node.links += 1;
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call("rename", to, () => {
      const node = this.#find(from);
      const [source, sourceName] = this.#parent(from);
      const [target, targetName] = this.#parent(to);
      const replaced = target.entries.get(targetName);
      if (replaced === node) return;
      source.entries.delete(sourceName);
      target.entries.set(targetName, node);
      if (replaced?.kind === "file") this.#drop(replaced);
    });
  }

  unlink(path: string): Promise<void> {
    return this.#call("unlink", path, () => {
      const [parent, name] = this.#parent(path);
      const node = this.#find(path);
      if (node.kind === "directory") throw diskError("EISDIR", path);
      parent.entries.delete(name);
      if (node.kind === "file") this.#drop(node);
    });
  }

  readdir(path: string): Promise<string[]> {
    return this.#call("readdir", path, () => {
      const node = this.#find(path);
      if (node.kind !== "directory") throw diskError("ENOTDIR", path);
      return [...node.entries.keys()];
    });
  }

  lstat(path: string): Promise<DiskStat> {
    return this.#call("lstat", path, () => {
      const node = this.#find(path);
      const type: DiskEntryType = node.kind;
      const owned = node.kind === "symlink" ? { mode: 0o777, uid: 0, gid: 0 } : node;
      return {
        ...{ type, mode: owned.mode, uid: owned.uid, gid: owned.gid },
        size: node.kind === "file" ? node.length : 0,
        identity: String(node.id),
        links: node.kind === "file" ? node.links : 1,
        mtimeMs: 0,
      };
    });
  }

  chown(path: string, uid: number, gid: number): Promise<void> {
    return this.#call("chown", path, () => {
      const node = this.#find(path);
      if (node.kind !== "symlink") Object.assign(node, { uid, gid });
    });
  }

  realpath(path: string): Promise<string> {
    return this.#call("realpath", path, () => {
      const node = this.#find(path);
      return node.kind === "symlink" ? node.target : path;
    });
  }

  space(path: string): Promise<DiskSpace> {
    return this.#call("space", path, () => {
      const totalBytes = Math.min(this.#capacityBytes, 2 ** 40);
      return { totalBytes, freeBytes: Math.max(0, totalBytes - this.#usedBytes - this.foreignBytes) };
    });
  }

  writable(path: string): Promise<void> {
    return this.#call("writable", path, () => void this.#find(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#call("syncDirectory", path, () => {
      const node = this.#find(path);
      if (node.kind !== "directory") throw diskError("ENOTDIR", path);
      node.synced = new Map(node.entries);
    });
  }

  openFilesystem(path: string): Promise<DiskFilesystem> {
    return this.#call("openFilesystem", path, () => {
      this.#openFiles += 1;
      return new MemoryFilesystem(path, {
        call: (name, at, act) => this.#call(name, at, act),
        root: () => this.#root,
        find: (at) => this.#find(at),
        open: (at) => this.open(at, "read-write"),
        losses: () => this.#losses,
        lost: () => {
          this.#losses += 1;
        },
        closed: () => {
          this.#openFiles -= 1;
        },
      });
    });
  }

  lock(path: string): Promise<DiskLock> {
    return this.#call("lock", path, () => {
      const [parent, name] = this.#parent(path);
      if (!parent.entries.has(name)) parent.entries.set(name, this.#file(0o600));
      if (this.#locks.has(path)) throw diskError("EWOULDBLOCK", path);
      this.#locks.add(path);
      return {
        release: () => {
          this.#locks.delete(path);
          return Promise.resolve();
        },
      };
    });
  }

  /** Counts the call, lets the hook have its way, then does it, all in one turn. */
  async #call<T>(
    call: DiskCall,
    path: string,
    act: () => T,
    at: { offset?: number; length?: number } = {},
  ): Promise<T> {
    const index = this.#calls;
    this.#calls += 1;
    if (!this.#crashed) await this.hook({ call, path, index, ...at });
    if (this.#crashed) return await new Promise<T>(() => undefined);
    return act();
  }

  #open(node: FileNode, path: string): DiskFile {
    this.#openFiles += 1;
    return new MemoryFile(node, path, {
      call: (name, act, at) => this.#call(name, path, act, at),
      grow: (bytes) => {
        if (bytes > 0 && this.#usedBytes + this.foreignBytes + bytes > this.#capacityBytes) throw diskError("ENOSPC");
        this.#usedBytes += bytes;
      },
      lost: () => {
        this.#losses += 1;
      },
      closed: () => {
        this.#openFiles -= 1;
      },
    });
  }

  #successor(root: DirectoryNode, usedBytes: number): MemoryDisk {
    const next = new MemoryDisk({ privileged: this.privileged, capacityBytes: this.#capacityBytes });
    next.#root = root;
    next.#nextId = this.#nextId;
    next.#usedBytes = usedBytes;
    next.foreignBytes = this.foreignBytes;
    return next;
  }

  #find(path: string): Node {
    let node: Node = this.#root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      if (node.kind === "symlink") node = this.#find(node.target);
      if (node.kind !== "directory") throw diskError("ENOTDIR", path);
      const next: Node | undefined = node.entries.get(name);
      if (next === undefined) throw diskError("ENOENT", path);
      node = next;
    }
    return node;
  }

  #parent(path: string): [DirectoryNode, string] {
    const slash = path.lastIndexOf("/");
    let node = this.#find(path.slice(0, slash));
    if (node.kind === "symlink") node = this.#find(node.target);
    if (node.kind !== "directory") throw diskError("ENOTDIR", path);
    return [node, must(path.slice(slash + 1), "a name")];
  }

  #drop(node: FileNode): void {
    node.links -= 1;
    if (node.links === 0) this.#usedBytes -= node.length;
  }

  #id(): number {
    this.#nextId += 1;
    return this.#nextId;
  }

  #file(mode: number): FileNode {
    return newFile(this.#id(), mode);
  }

  #directory(mode: number): DirectoryNode {
    return newDirectory(this.#id(), mode);
  }
}
