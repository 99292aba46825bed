/** The files, directories and links of memory-disk.ts: what a process sees of each, and what a crash leaves. */
import type { Random } from "#base/random.ts";

export interface FileNode {
  readonly kind: "file";
  readonly id: number;
  mode: number;
  uid: number;
  gid: number;
  /** What a process sees. */
  bytes: Buffer;
  length: number;
  /** What survives a crash. */
  synced: Buffer;
  syncedLength: number;
  /** Written since the last sync, in order. */
  dirty: { offset: number; length: number }[];
  /** How often a sync failed that dropped some of it: whoever had the file open then is told at the next sync. */
  losses: number;
  links: number;
}

export interface DirectoryNode {
  readonly kind: "directory";
  readonly id: number;
  mode: number;
  uid: number;
  gid: number;
  entries: Map<string, Node>;
  synced: Map<string, Node>;
}

export interface LinkNode {
  readonly kind: "symlink";
  readonly id: number;
  readonly target: string;
}

export type Node = FileNode | DirectoryNode | LinkNode;

export function newFile(id: number, mode: number): FileNode {
  const empty = { bytes: Buffer.alloc(0), length: 0, synced: Buffer.alloc(0), syncedLength: 0 };
  return { kind: "file", id, mode, uid: 0, gid: 0, ...empty, dirty: [], losses: 0, links: 0 };
}

export function newDirectory(id: number, mode: number): DirectoryNode {
  return { kind: "directory", id, mode, uid: 0, gid: 0, entries: new Map(), synced: new Map() };
}

/** What a process sees, or what a crash leaves when chance keeps nothing. */
export type DiskView = "now" | "durable";

/** What stands at a path, without following links. */
export function findNode(root: Node, path: string, view: DiskView): Node | undefined {
  let node: Node | undefined = root;
  for (const name of path.split("/")) {
    if (name === "") continue;
    if (node?.kind !== "directory") return undefined;
    node = namesOf(node, view).get(name);
  }
  return node;
}

/** All files below a node with their bytes; directories end with `/`, links show their target. */
export function treeOf(root: Node): Map<string, string | Buffer> {
  const found = new Map<string, string | Buffer>();
  const walk = (node: Node, at: string): void => {
    if (node.kind === "file") found.set(at, Buffer.from(node.bytes.subarray(0, node.length)));
    else if (node.kind === "symlink") found.set(at, `-> ${node.target}`);
    else {
      if (at !== "") found.set(`${at}/`, "");
      for (const [name, child] of [...node.entries].sort()) walk(child, at === "" ? name : `${at}/${name}`);
    }
  };
  walk(root, "");
  return found;
}

export function namesOf(node: DirectoryNode, view: DiskView): ReadonlyMap<string, Node> {
  return view === "now" ? node.entries : node.synced;
}

/** Files below a directory with bytes that no sync has reached, in the order of their paths below it. */
export function unsyncedFiles(root: DirectoryNode, at = ""): { readonly path: string; readonly node: FileNode }[] {
  return [...root.entries]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, node]) => {
      if (node.kind === "directory") return unsyncedFiles(node, `${at}${name}/`);
      return node.kind === "file" && node.dirty.length > 0 ? [{ path: `${at}${name}`, node }] : [];
    });
}

/** The file as a crash leaves it: synced bytes, and of the others what chance keeps, each write perhaps in part. */
export function survivingFile(node: FileNode, keep: Random | undefined): FileNode {
  if (keep !== undefined) {
    for (const range of node.dirty) {
      const part = Math.floor(keep.unit() * 3);
      if (part === 1) keepRange(node, range.offset, Math.floor(range.length * keep.unit()));
      if (part === 2) keepRange(node, range.offset, range.length);
    }
  }
  const bytes = Buffer.from(node.synced.subarray(0, node.syncedLength));
  return {
    ...node,
    bytes,
    length: bytes.length,
    synced: Buffer.from(bytes),
    syncedLength: bytes.length,
    dirty: [],
    links: 0,
  };
}

/** Synced names, and of the changes since then those that chance keeps. */
export function survivingEntries(node: DirectoryNode, keep: Random | undefined): Map<string, Node> {
  const entries = new Map(node.synced);
  if (keep === undefined) return entries;
  for (const name of new Set([...node.synced.keys(), ...node.entries.keys()])) {
    const now = node.entries.get(name);
    if (now === node.synced.get(name) || keep.unit() < 0.5) continue;
    if (now === undefined) entries.delete(name);
    else entries.set(name, now);
  }
  return entries;
}

/** These bytes, as they are now, are on the disk. */
export function keepRange(node: FileNode, offset: number, length: number): void {
  const end = offset + length;
  node.synced = grown(node.synced, end);
  if (offset > node.syncedLength) node.synced.fill(0, node.syncedLength, offset);
  node.bytes.copy(node.synced, offset, offset, end);
  node.syncedLength = Math.max(node.syncedLength, end);
}

type Ranges = ReadonlySet<FileNode["dirty"][number]>;

/** Those ranges are not dirty any more: synced, or `lost` because the sync of them failed. True when anything was lost. */
export function clean(node: FileNode, ranges: Ranges, lost: boolean): boolean {
  const left = node.dirty.filter((range) => !ranges.has(range));
  const dropped = lost && left.length < node.dirty.length;
  node.dirty = left;
  if (dropped) node.losses += 1;
  return dropped;
}

export function grown(buffer: Buffer, length: number): Buffer {
  if (buffer.length >= length) return buffer;
  const larger = Buffer.alloc(Math.max(length, buffer.length * 2, 4096));
  buffer.copy(larger);
  return larger;
}

/** All that is not synced now, below a directory. */
export class Unsynced {
  readonly #files = new Map<FileNode, Ranges>();
  readonly #directories: DirectoryNode[] = [];

  constructor(node: Node) {
    this.#look(node);
  }

  keep(): void {
    for (const [node, ranges] of this.#files) for (const range of ranges) keepRange(node, range.offset, range.length);
    for (const node of this.#directories) node.synced = new Map(node.entries);
  }

  /** As `clean` does, of all files. */
  clean(lost: boolean): boolean {
    return [...this.#files].map(([node, ranges]) => clean(node, ranges, lost)).includes(true);
  }

  #look(node: Node): void {
    if (node.kind === "file") this.#files.set(node, new Set(node.dirty));
    if (node.kind !== "directory") return;
    this.#directories.push(node);
    for (const child of node.entries.values()) this.#look(child);
  }
}
