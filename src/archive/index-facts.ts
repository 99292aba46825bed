/**
 * What an index has to say of an entry that the tar reader has read: for indexes that are made from an archive, and for who compares
 * the two. Does not look into blocks.
 */
import { equalBytes } from "./bytes.ts";
import { ByteWriter } from "./index-bytes.ts";
import { cutTime, type NewEntry, type NewPlace } from "./index-entry-writer.ts";
import { ENTRY_NUMBERS_BYTES_MAX, ENTRY_TYPES, type IndexEntry } from "./index-format.ts";
import { indexPath } from "./index-path.ts";
import type { ReadEntry } from "./tar-reader-entry.ts";

const NO_TARGET = new Uint8Array(0);

export interface MadeEntry {
  readonly entry: NewEntry;
  readonly place: NewPlace;
}

/** Undefined for what no index has: a kind of entry that only its own program knows. `digest`: of the headers. */
export function indexedEntry(read: ReadEntry, digest: bigint): MadeEntry | undefined {
  const { type, linkTarget, mode, mtimeSeconds, mtimeNanos, headersAt, dataAt } = read;
  if (type === "unsupported") return undefined;
  // Data of anything but a file is nobody's: it lies between this entry and the next.
  const storedBytes = type === "file" ? read.storedBytes : 0;
  const size = type === "file" ? Math.max(read.size, storedBytes) : 0;
  const isLink = type === "hardlink" || type === "symlink";
  return {
    entry: {
      ...{ path: indexPath(read.path), type, mode, mtimeSeconds, mtimeNanos, size },
      linkTarget: isLink ? (linkTarget ?? NO_TARGET) : undefined,
      // Other programs' headers can hold less than nothing.
      uid: Math.max(0, read.uid),
      gid: Math.max(0, read.gid),
      rdevMajor: Math.max(0, read.deviceMajor),
      rdevMinor: Math.max(0, read.deviceMinor),
    },
    place: {
      ...{ headersAt, dataAt, storedBytes, sparse: storedBytes !== size, headersDigest: digest },
      ...{ changed: false, short: false, racy: false },
    },
  };
}

/** The same facts of an entry that an index has. */
export function factsOf(entry: IndexEntry): MadeEntry {
  const { deviceMajor: rdevMajor, deviceMinor: rdevMinor } = entry;
  return { entry: { ...entry, rdevMajor, rdevMinor }, place: entry };
}

/**
 * Facts of entries, one behind the other, as one number: two lists that differ in any have different ones. What only the run knew (ctime,
 * inode, `changed` …) is not among them.
 */
export class FactsSum {
  readonly #out = new ByteWriter(64 * ENTRY_NUMBERS_BYTES_MAX);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add({ entry, place }: MadeEntry): void {
    this.#count += 1;
    writeFacts(this.#out, entry, place);
  }

  /** Begins anew. */
  take(): bigint {
    const sum = Bun.hash.xxHash64(this.#out.view() as Uint8Array<ArrayBuffer>);
    this.#out.clear();
    this.#count = 0;
    return sum;
  }
}

function writeFacts(out: ByteWriter, entry: NewEntry, place: NewPlace): void {
  out.reserve(ENTRY_NUMBERS_BYTES_MAX);
  out.u8(ENTRY_TYPES.indexOf(entry.type));
  for (const value of [place.headersAt, place.dataAt, place.storedBytes, entry.size]) out.u64(value);
  out.big(place.headersDigest);
  out.z(cutTime(entry.mtimeSeconds));
  for (const value of [entry.mtimeNanos, entry.mode, entry.uid, entry.gid]) out.v(value);
  const isDevice = entry.type === "char" || entry.type === "block";
  out.v(isDevice ? entry.rdevMajor : 0);
  out.v(isDevice ? entry.rdevMinor : 0);
  const target = entry.linkTarget ?? NO_TARGET;
  out.v(entry.path.length);
  out.v(target.length);
  out.bytes(entry.path);
  out.bytes(target);
}

/** What of the entry is not as the index says; undefined when all of it is. `made` undefined: the archive has no such entry there. */
export function disagreement(entry: IndexEntry, made: MadeEntry | undefined): string | undefined {
  if (made === undefined) return "another kind of entry";
  if (!equalBytes(entry.path, made.entry.path)) return "another path";
  if (entry.type !== made.entry.type) return `a ${made.entry.type}`;
  if (entry.size !== made.entry.size || entry.storedBytes !== made.place.storedBytes) return "another size";
  const sum = new FactsSum();
  sum.add(factsOf(entry));
  const ours = sum.take();
  sum.add(made);
  return ours === sum.take() ? undefined : "other headers";
}
