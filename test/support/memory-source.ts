/**
 * A FileSource in memory, for trees that no disk would hold still for: files that shrink, grow, vanish or fail at a chosen
 * moment. `hooks` run before the call of the same name and may change the tree or throw a SourceError.
 */
import { type FileSource, type OnName, type OpenFile, SourceError, type Stat, type Xattrs } from "#archive/source.ts";

export interface MemoryNode {
  stat: Stat;
  /** Of a file; read as zeros up to `stat.size` when absent. */
  data?: Uint8Array;
  target?: Uint8Array;
  /** Of a sparse file (whose `allocatedBytes` are less than its size): where the data is; absent, it cannot be told. */
  ranges?: readonly (readonly [number, number])[];
  /** In the order they are listed, names as latin1 text. An errno name instead of a value is thrown. */
  xattrs?: Map<string, Uint8Array | string>;
  /** Of a directory: names in the order they are listed. */
  children?: Map<string, MemoryNode>;
}

export interface MemoryHooks {
  lstat?: (path: string) => void;
  names?: (path: string) => void;
  open?: (path: string) => void;
  read?: (path: string, offset: number) => void;
  xattrs?: (path: string) => void;
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

export class MemorySource implements FileSource {
  readonly root: MemoryNode;
  hooks: MemoryHooks = {};
  readonly pseudo = new Set<string>();
  /** Files open now. */
  openCount = 0;
  #nextInode = 1;

  constructor() {
    this.root = this.#node({ type: "directory", mode: 0o755 });
    this.root.children = new Map();
  }

  /** Makes a directory and those above it. Paths are latin1 text, one character per byte. */
  directory(path: string, stat: Partial<Stat> = {}): MemoryNode {
    let node = this.root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      let child = node.children?.get(name);
      if (child === undefined) {
        child = this.#node({ type: "directory", mode: 0o755 });
        child.children = new Map();
        node.children?.set(name, child);
      }
      node = child;
    }
    node.stat = { ...node.stat, ...stat };
    return node;
  }

  file(path: string, data: Uint8Array | string | number, stat: Partial<Stat> = {}): MemoryNode {
    const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
    const size = typeof bytes === "number" ? bytes : bytes.length;
    const node = this.#node({ type: "file", size, ...stat });
    if (typeof bytes !== "number") node.data = bytes;
    return this.put(path, node);
  }

  symlink(path: string, target: string): MemoryNode {
    const node = this.#node({ type: "symlink", mode: 0o777 });
    node.target = Buffer.from(target, "latin1");
    return this.put(path, node);
  }

  special(path: string, stat: Partial<Stat>): MemoryNode {
    return this.put(path, this.#node(stat));
  }

  /** Hangs a node, which may already hang elsewhere (a hard link), at a path. */
  put(path: string, node: MemoryNode): MemoryNode {
    const slash = path.lastIndexOf("/");
    this.directory(path.slice(0, slash)).children?.set(path.slice(slash + 1), node);
    return node;
  }

  remove(path: string): void {
    const slash = path.lastIndexOf("/");
    this.directory(path.slice(0, slash)).children?.delete(path.slice(slash + 1));
  }

  lstat(path: Uint8Array): Stat {
    this.hooks.lstat?.(latin1(path));
    return this.#find(path, "lstat").stat;
  }

  names(path: Uint8Array, onName: OnName): void {
    this.hooks.names?.(latin1(path));
    const { children } = this.#find(path, "open");
    if (children === undefined) throw new SourceError("ENOTDIR", "open");
    const batch = Buffer.from([...children.keys()].join("\0"), "latin1");
    let start = 0;
    for (const name of children.keys()) {
      onName(batch, start, start + name.length);
      start += name.length + 1;
    }
  }

  readlink(path: Uint8Array): Uint8Array {
    const { target } = this.#find(path, "readlink");
    if (target === undefined) throw new SourceError("EINVAL", "readlink");
    return target;
  }

  open(path: Uint8Array): OpenFile {
    this.hooks.open?.(latin1(path));
    const node = this.#find(path, "open");
    if (node.stat.type === "symlink") throw new SourceError("ELOOP", "open");
    this.openCount += 1;
    return {
      stat: node.stat,
      xattrs: this.#xattrs(node, path),
      dataRanges: (onRange) => {
        for (const [start, end] of node.ranges ?? []) onRange(start, end);
        return node.ranges !== undefined;
      },
      read: (into, offset) => {
        this.hooks.read?.(latin1(path), offset);
        return readNode(node, into, offset);
      },
      close: () => {
        this.openCount -= 1;
      },
    };
  }

  xattrs(path: Uint8Array): Xattrs {
    return this.#xattrs(this.#find(path, "listxattr"), path);
  }

  #xattrs(node: MemoryNode, path: Uint8Array): Xattrs {
    const all = node.xattrs ?? new Map<string, Uint8Array | string>();
    return {
      names: () => {
        this.hooks.xattrs?.(latin1(path));
        return Buffer.from([...all.keys()].map((name) => `${name}\0`).join(""), "latin1");
      },
      value: (name) => {
        const value = all.get(latin1(name));
        if (typeof value === "string") throw new SourceError(value, "getxattr");
        return value;
      },
    };
  }

  isPseudo(path: Uint8Array): boolean {
    return this.pseudo.has(latin1(path));
  }

  userName(uid: number): string | undefined {
    return uid === 0 ? "root" : undefined;
  }

  groupName(gid: number): string | undefined {
    return gid === 0 ? "root" : undefined;
  }

  close(): void {
    // Nothing is held open between calls.
  }

  #find(path: Uint8Array, call: string): MemoryNode {
    let node: MemoryNode | undefined = this.root;
    for (const name of latin1(path)
      .split("/")
      .filter((part) => part !== "")) {
      node = node.children?.get(name);
      if (node === undefined) throw new SourceError("ENOENT", call);
    }
    return node;
  }

  #node(stat: Partial<Stat>): MemoryNode {
    const ino = this.#nextInode;
    this.#nextInode += 1;
    return {
      stat: {
        type: "file",
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: 0,
        allocatedBytes: stat.size ?? 0,
        mtimeSeconds: 1_700_000_000,
        mtimeNanos: 0,
        ctimeSeconds: 1_700_000_000,
        ctimeNanos: 0,
        dev: "1",
        ino: String(ino),
        nlink: 1,
        rdevMajor: 0,
        rdevMinor: 0,
        ...stat,
      },
    };
  }
}

function readNode(node: MemoryNode, into: Uint8Array, offset: number): number {
  if (node.data === undefined) {
    const count = Math.max(0, Math.min(into.length, node.stat.size - offset));
    into.fill(0, 0, count);
    return count;
  }
  const piece = node.data.subarray(offset, offset + into.length);
  into.set(piece);
  return piece.length;
}
