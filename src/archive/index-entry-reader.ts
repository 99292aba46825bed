/** Reads one block of entries (index-format.ts, "ENTRIES"), checking every bound, order and flag: it may come from anywhere. */
import { comparePaths, SLASH } from "./bytes.ts";
import { ByteCursor } from "./index-bytes.ts";
import {
  BLOCK,
  type BlockReference,
  ENTRY_TYPES,
  FLAG,
  type IndexEntry,
  type LiveFacts,
  NAME_BYTES_MAX,
  SAME,
} from "./index-format.ts";
import { BLOCK_BYTES, blocks } from "./tar-format.ts";

const NANOS_MAX = 999_999_999;

/** What the next entry is told by its difference from. */
interface Before {
  /** False for the first. */
  any: boolean;
  path: Uint8Array;
  mtimeSeconds: number;
  ctimeSeconds: number;
  ino: bigint;
  /** The last one that was not wide. */
  narrowIno: number;
  dev: bigint;
  mode: number;
  uid: number;
  gid: number;
  rawEnd: number;
}

/** What the header and the root promise. */
export interface EntriesPromise {
  /** Entries have what only the disk says. */
  readonly live: boolean;
  /** Every path is greater than the one before, and the first at least the reference's key. */
  readonly sorted: boolean;
}

/** The entries of the raw block that `reference` refers to; nothing in them is a view of `raw`. Throws Failure E_INDEX_DAMAGED. */
export function readEntries(raw: Uint8Array, reference: BlockReference, promise: EntriesPromise): IndexEntry[] {
  const cursor = new ByteCursor(raw, `the block of entries at ${reference.offset}`);
  if (cursor.u8() !== BLOCK.entries) throw cursor.damaged("is something else");
  cursor.zeros(3);
  const count = cursor.u32();
  const firstNumber = cursor.u64();
  const rawOffset = cursor.u64();
  const expected = firstNumber === reference.firstNumber && rawOffset === reference.rawOffset;
  if (!expected || count === 0 || rawOffset % BLOCK_BYTES !== 0) {
    throw cursor.damaged("is not what its page says");
  }
  const before: Before = {
    ...{ any: false, path: new Uint8Array(0), mtimeSeconds: 0, ctimeSeconds: 0, ino: 0n, narrowIno: 0, dev: 0n },
    ...{ mode: 0, uid: 0, gid: 0, rawEnd: rawOffset },
  };
  const entries: IndexEntry[] = [];
  for (let i = 0; i < count; i += 1) entries.push(readEntry(cursor, before, firstNumber + i, promise));
  cursor.end();
  const [first] = entries;
  if (promise.sorted && first !== undefined && comparePaths(first.path, reference.key) < 0) {
    throw cursor.damaged("begins before its key");
  }
  return entries;
}

function readEntry(cursor: ByteCursor, before: Before, number: number, promise: EntriesPromise): IndexEntry {
  const flags = cursor.u8();
  const same = cursor.u8();
  const type = ENTRY_TYPES[flags & 7];
  if (type === undefined || flags > 127) throw cursor.damaged("has an entry of an unknown type");
  const path = readPath(cursor, before.path, promise.sorted && before.any);
  const size = type === "file" ? cursor.v() : 0;
  const sparse = (flags & FLAG.sparse) !== 0;
  const storedBytes = sparse ? cursor.v() : size;
  const gap = (same & SAME.gap) === 0 ? 0 : cursor.v();
  const headersAt = before.rawEnd + gap * BLOCK_BYTES;
  const headerBlocks = cursor.v();
  const dataAt = headersAt + headerBlocks * BLOCK_BYTES;
  const rawEnd = dataAt + blocks(storedBytes);
  if (headerBlocks === 0 || storedBytes > size || !Number.isSafeInteger(rawEnd)) {
    throw cursor.damaged("has an entry in an impossible place");
  }
  const headersDigest = cursor.big();
  const mtimeSeconds = before.mtimeSeconds + cursor.z();
  const mtimeNanos = (same & SAME.mtimeWhole) === 0 ? readNanos(cursor) : 0;
  before.mtimeSeconds = mtimeSeconds;
  before.path = path;
  before.any = true;
  before.rawEnd = rawEnd;
  const live = promise.live ? readLive(cursor, before, same, mtimeSeconds, mtimeNanos) : undefined;
  readOwner(cursor, before, same);
  const { mode, uid, gid } = before;
  const linkTarget = type === "hardlink" || type === "symlink" ? readName(cursor) : undefined;
  const device = type === "char" || type === "block";
  // Without spreads, which cost more than all the rest.
  return {
    number,
    path,
    type,
    sparse,
    size,
    storedBytes,
    headersAt,
    dataAt,
    headersDigest,
    changed: (flags & FLAG.changed) !== 0,
    short: (flags & FLAG.short) !== 0,
    racy: (flags & FLAG.racy) !== 0,
    mtimeSeconds,
    mtimeNanos,
    live,
    mode,
    uid,
    gid,
    linkTarget,
    deviceMajor: device ? cursor.v() : 0,
    deviceMinor: device ? cursor.v() : 0,
  };
}

function readPath(cursor: ByteCursor, before: Uint8Array, mustFollow: boolean): Uint8Array {
  const shared = cursor.v();
  const length = cursor.v();
  if (shared > before.length || shared + length > NAME_BYTES_MAX) throw cursor.damaged("has an impossible path");
  const path = new Uint8Array(shared + length);
  // Byte by byte: views cost more than short copies, and there are millions of these.
  for (let i = 0; i < shared; i += 1) path[i] = before[i] ?? 0;
  cursor.copy(path, shared);
  if (path[0] === SLASH || path[path.length - 1] === SLASH || path.includes(0, shared)) {
    throw cursor.damaged("has an impossible path");
  }
  if (mustFollow && comparePaths(before, path) >= 0) throw cursor.damaged("is not sorted");
  return path;
}

function readName(cursor: ByteCursor): Uint8Array {
  const length = cursor.v();
  if (length > NAME_BYTES_MAX) throw cursor.damaged("has a link's target that is too long");
  return new Uint8Array(cursor.bytes(length));
}

function readLive(
  cursor: ByteCursor,
  before: Before,
  same: number,
  mtimeSeconds: number,
  mtimeNanos: number,
): LiveFacts {
  let ctimeSeconds = mtimeSeconds;
  let ctimeNanos = mtimeNanos;
  if ((same & SAME.ctimeIsMtime) === 0) {
    ctimeSeconds = before.ctimeSeconds + cursor.z();
    ctimeNanos = (same & SAME.ctimeWhole) === 0 ? readNanos(cursor) : 0;
  }
  before.ctimeSeconds = ctimeSeconds;
  if ((same & SAME.wideInode) === 0) {
    before.narrowIno += cursor.z();
    if (before.narrowIno < 0) throw cursor.damaged("has a negative inode");
    before.ino = BigInt(before.narrowIno);
  } else {
    before.ino = cursor.big();
  }
  if ((same & SAME.device) === 0) before.dev = cursor.big();
  return { ctimeSeconds, ctimeNanos, ino: before.ino, dev: before.dev };
}

function readOwner(cursor: ByteCursor, before: Before, same: number): void {
  if ((same & SAME.mode) === 0) before.mode = cursor.v();
  if ((same & SAME.owner) === 0) {
    before.uid = cursor.v();
    before.gid = cursor.v();
  }
  if (before.mode > 0o7777) throw cursor.damaged("has an impossible mode");
}

function readNanos(cursor: ByteCursor): number {
  const nanos = cursor.u32();
  if (nanos > NANOS_MAX) throw cursor.damaged("has an impossible time");
  return nanos;
}
