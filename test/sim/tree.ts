/** The files that an agent of the simulator backs up, drawn from a seed, and what changes them while they are read. */
import type { FileSource, OnName, OpenFile, Stat, Xattrs } from "#archive/source.ts";
import { KiB } from "#base/units.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import type { Chance } from "./chance.ts";
import type { SimOptions } from "./options.ts";

export function entryRoot(backup: string): string {
  return `/data/${backup}`;
}

/** A tree for each backup entry of a host. */
export function drawTree(chance: Chance, tree: SimOptions["tree"], backups: readonly string[]): MemorySource {
  const source = new MemorySource();
  for (const backup of backups) {
    const root = entryRoot(backup);
    source.directory(root);
    let leftBytes = tree.bytes;
    for (let index = 0; index < tree.files; index += 1) {
      const path = `${root}/${chance.pick(["", "a/", "b/", "b/c/", "\xe9/"])}${index}-${"x".repeat(chance.int(0, 40))}`;
      const kind = chance.unit();
      if (kind < 0.05) source.symlink(path, "../elsewhere");
      else if (kind < 0.1) source.directory(path);
      else {
        const share = leftBytes / (tree.files - index);
        const length = chance.happens(0.1) ? 0 : Math.min(leftBytes, Math.round(share * chance.scale(0.1, 4)));
        leftBytes -= length;
        const node = source.file(path, content(chance, length, tree.compressible));
        if (!chance.happens(0.05)) continue;
        node.stat = { ...node.stat, nlink: 2 };
        source.put(`${path}-again`, node);
      }
    }
  }
  return source;
}

function content(chance: Chance, length: number, compressible: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(length / 4) * 4);
  const words = new Uint32Array(bytes.buffer);
  // A short period for what compresses well, else a generator of its own: chance itself is too slow for megabytes.
  let word = chance.int(1, 0x7fff_ffff);
  if (chance.happens(compressible)) bytes.fill(word & 0xff);
  else {
    for (let at = 0; at < words.length; at += 1) {
      word ^= word << 13;
      word ^= word >>> 17;
      word ^= word << 5;
      words[at] = word;
    }
  }
  return bytes.subarray(0, length);
}

/** Changes a file that is being read, in one of the ways in which that happens. */
export function changeFile(source: MemorySource, path: string, chance: Chance): "grow" | "shrink" | "vanish" {
  const slash = path.lastIndexOf("/");
  const node = source.directory(path.slice(0, slash)).children?.get(path.slice(slash + 1));
  const data = node?.data ?? new Uint8Array(0);
  const how = chance.pick(["grow", "shrink", "vanish"]);
  if (how === "vanish" || node === undefined) {
    source.remove(path);
    return "vanish";
  }
  const length = how === "grow" ? data.length + chance.int(1, 100 * KiB) : Math.floor(data.length * chance.unit());
  const changed = new Uint8Array(length);
  changed.set(data.subarray(0, length));
  node.data = changed;
  node.stat = { ...node.stat, size: length };
  return how;
}

/** What one producer reads: files that it opens are counted, because none may be opened twice. */
export class WatchedSource implements FileSource {
  readonly #source: MemorySource;
  readonly #again: (path: string) => void;
  readonly #opened = new Set<string>();
  #openCount = 0;

  /** `again` is called for a file that is opened a second time. */
  constructor(source: MemorySource, again: (path: string) => void) {
    this.#source = source;
    this.#again = again;
  }

  /** Files open now. */
  get openCount(): number {
    return this.#openCount;
  }

  lstat(path: Uint8Array): Stat {
    return this.#source.lstat(path);
  }

  names(path: Uint8Array, onName: OnName): void {
    this.#source.names(path, onName);
  }

  readlink(path: Uint8Array): Uint8Array {
    return this.#source.readlink(path);
  }

  xattrs(path: Uint8Array): Xattrs {
    return this.#source.xattrs(path);
  }

  open(path: Uint8Array): OpenFile {
    const text = Buffer.from(path).toString("latin1");
    if (this.#opened.has(text)) this.#again(text);
    this.#opened.add(text);
    const file = this.#source.open(path);
    this.#openCount += 1;
    return {
      stat: file.stat,
      xattrs: file.xattrs,
      dataRanges: (onRange) => file.dataRanges(onRange),
      read: (into, offset) => file.read(into, offset),
      close: () => {
        this.#openCount -= 1;
        file.close();
      },
    };
  }

  isPseudo(path: Uint8Array): boolean {
    return this.#source.isPseudo(path);
  }

  userName(uid: number): string | undefined {
    return this.#source.userName(uid);
  }

  groupName(gid: number): string | undefined {
    return this.#source.groupName(gid);
  }

  close(): void {
    this.#source.close();
  }
}
