/**
 * The format of an index (`<archive>.idx`), version 1: the table of contents of one archive. It is a cache: whatever it says can be made
 * again from the archive, and who restores believes the archive. This file has the format in words, its numbers and its types; it
 * reads and writes nothing.
 *
 * An index is a sequence of _blocks_, each compressed by itself into one gzip member or zstd frame, as the archive is. So it can be
 * written without ever being whole in memory, any block can be read without the others, and `zcat x.idx` gives the raw blocks.
 *
 *     header  (entries | chunks | page)*  root  trailer
 *
 * A reader begins at the end: the trailer has a fixed length and says where header and root are; the root refers to pages, a page to at
 * most 256 blocks of entries, or of chunks. So any entry is three short reads behind the trailer, however many there are.
 *
 * Numbers: `u8 u16 u32 u64` are unsigned and big-endian. `v` is a whole number from 0 to 2^53 − 1, seven bits a byte, the lowest first,
 * the eighth bit set in all bytes but the last. `z` is a whole number as `v` of 2n for n ≥ 0, of −2n − 1 below. CRC is CRC-32
 * (IEEE) of a block as it is stored. Offsets are absolute. _Raw_ means uncompressed, _stored_ compressed.
 *
 * HEADER: `u8` 1, then a JSON object in UTF-8; its keys are those of IndexHeader. Unknown keys are passed over.
 *
 * ENTRIES, at most 128 KiB and one entry long: `u8` 2, three zero bytes, `u32` count, `u64` number of the first entry (from 0), `u64` raw
 * offset of the archive behind the entry before it. Then the entries in the order of the archive; "before" is the entry before in the same
 * block, and all zeros and an empty path for the first:
 *
 *     u8  bits 0-2 type: 0 file, 1 hard link, 2 symbolic link, 3 character device, 4 block device, 5 directory, 6 fifo;
 *         3 changed while it was read; 4 short: zeros stand for what could not be read; 5 racy: changed at most 2 s before it was
 *         read; 6 sparse: stored without its holes; 7 zero
 *     u8  bits 0 mode, 1 uid and gid, 2 device as before; 3 wide inode; 4 ctime is mtime; 5 no mtime nanoseconds; 6 no ctime
 *         nanoseconds; 7 something stands between the end of the entry before and the headers of this one
 *     v   bytes of the path that are as before; v bytes that follow; those bytes. A path is raw bytes without the slash in front and
 *         behind it; the root directory is empty
 *     v   size in bytes (type file only)              v  bytes of data in the archive (sparse only)
 *     v   512-byte blocks between (bit 7 only)        v  512-byte blocks of headers, a sparse file's map included
 *     u64 XXH64, seed 0, of the headers
 *     z   mtime seconds minus before                  u32 nanoseconds (unless bit 5)
 *     Only in an index that is not rebuilt:
 *     z   ctime seconds minus before (unless bit 4)   u32 nanoseconds (unless bits 4 or 6)
 *     z   inode minus before; with bit 3 u64 inode    u64 device (unless bit 2)
 *     v   mode (unless bit 0)                         v uid, v gid (unless bit 1)
 *     v   length of the link's target, and the target (types 1 and 2)
 *     v   major, v minor (types 3 and 4)
 *
 * CHUNKS, at most 1024 of them: `u8` 3, three zero bytes, `u32` count, `u64` number of the first chunk, `u64` its raw offset, `u64` its
 * stored offset. Then for each, one behind the other: `u8` kind, `v` stored length, `v` raw length, `u32` CRC and 32 bytes SHA-256 of
 * the stored bytes. Kinds: 0 entries, 1 headers, 2 data, 3 end, as on the wire; only in a rebuilt index 16 unknown (which may hold
 * nothing), 17 stream (one long member or frame, of which no part can be read by itself), 18 lost (damaged; its raw length is what it said
 * of itself, or what the entry in hand misses).
 *
 * PAGE: `u8` 4, `u8` 2 for blocks of entries or 3 for blocks of chunks, two zero bytes, `u32` count, then that many _references_:
 *
 *     v offset in the index, v stored length, v raw length, u32 CRC
 *     v number of the first entry or chunk in it, v its raw offset (of an entry: where the one before ended), v its stored offset
 *       (chunks only, else 0), u8 length and bytes of the key (entries only, else 0)
 *
 * The key of a block of entries is greater than the last path of the block before, and at most its own first path: as much of the
 * latter as is needed, at most 255 bytes. (Where 255 are not enough it may be less than the last path before.) A slash counts as less
 * than every other byte. Keys mean nothing when the entries are not sorted.
 *
 * ROOT: `u8` 5, `u8` bit 0: the paths are sorted and all different, two zero bytes, `u32` pages of entries, `u32` pages of chunks, `v`
 * entries, `v` chunks, `v` raw bytes and `v` stored bytes of the archive, `v` entries with the flag changed, `v` with short. Then the
 * references to the pages of entries, and those to the pages of chunks; number, offsets and key are those of the first block of a page.
 *
 * TRAILER, 64 bytes, stored uncompressed so that its place is known: as a gzip member of one stored block (header 1f 8b 08 00, 4 zero
 * bytes, 00 ff; 01, 40 00, bf ff; the 64 bytes; CRC-32 and length as gzip has them, 87 bytes in all), or as a zstd frame of
 * one raw block (28 b5 2f fd, 20 40, 01 02 00; the 64 bytes; 73 bytes in all):
 *
 *     0   6 bytes `nbkidx`, u16 version 1        8   u64 length of the index, trailer included
 *     16  u64 offset, 24 u32 stored length, 28 u32 raw length, 32 u32 CRC of the root
 *     36  u32 stored length, 40 u32 raw length, 44 u32 CRC of the header, which stands at 0
 *     48  12 zero bytes                          60  u32 CRC-32 of the 60 bytes in front of it
 */
import type { Compression } from "#base/chunk.ts";
import { CHUNK_KINDS, type ChunkKind } from "#base/chunk.ts";
import { KiB, MiB } from "#base/units.ts";
import type { TarType } from "./tar-writer.ts";

export const INDEX_VERSION = 1;

/** First byte of each block but the trailer. */
export const BLOCK = { header: 1, entries: 2, chunks: 3, page: 4, root: 5 } as const;

/** A block of entries ends behind the entry that makes it this long. Longer ones compress hardly better, and cost each lookup. */
export const ENTRIES_BYTES = 128 * KiB;
/** A path or a link's target. Ours are at most 64 KiB. */
export const NAME_BYTES_MAX = 128 * KiB;
/** An entry without its names: two flags, nine numbers of up to 8 bytes, and 36 bytes of fixed length. */
export const ENTRY_NUMBERS_BYTES_MAX = 160;
/** What stands behind one another in an entry behind its path, a number of 64 bits counted twice. */
export const ENTRY_NUMBERS_MAX = 20;
export const ENTRIES_HEAD_BYTES = 24;

export const CHUNKS_PER_BLOCK = 1024;
export const CHUNKS_HEAD_BYTES = 32;
/** Kind, two lengths, CRC, digest. */
export const CHUNK_RECORD_BYTES_MAX = 1 + 8 + 8 + 4 + 32;

export const BLOCKS_PER_PAGE = 256;
export const PAGE_HEAD_BYTES = 8;
export const KEY_BYTES_MAX = 255;
/** Six numbers, CRC, key. */
export const REFERENCE_BYTES_MAX = 6 * 8 + 4 + 1 + KEY_BYTES_MAX;
/** Fixed fields and six numbers. */
export const ROOT_HEAD_BYTES_MAX = 12 + 6 * 8;

export const TRAILER_BYTES = 64;
export const TRAILER_MAGIC = new TextEncoder().encode("nbkidx");

/** What a reader takes, each small enough to be held in memory: blocks of entries and chunks, pages; then the header and the root. */
export const BLOCK_RAW_BYTES_MAX = 512 * KiB;
export const HEADER_RAW_BYTES_MAX = 16 * MiB;
export const ROOT_RAW_BYTES_MAX = 16 * MiB;

/** Position is the type's number in an entry. */
export const ENTRY_TYPES: readonly TarType[] = ["file", "hardlink", "symlink", "char", "block", "directory", "fifo"];

export const FLAG = { changed: 8, short: 16, racy: 32, sparse: 64 } as const;
export const SAME = {
  mode: 1,
  owner: 2,
  device: 4,
  wideInode: 8,
  ctimeIsMtime: 16,
  mtimeWhole: 32,
  ctimeWhole: 64,
  gap: 128,
} as const;

/** `unknown`, `stream` and `lost` are found in a rebuilt index only. */
export type TableKind = Exclude<ChunkKind, "index"> | "unknown" | "stream" | "lost";

const REBUILT_KINDS: Readonly<Record<"unknown" | "stream" | "lost", number>> = { unknown: 16, stream: 17, lost: 18 };

export function tableKindNumber(kind: TableKind): number {
  if (kind === "unknown" || kind === "stream" || kind === "lost") return REBUILT_KINDS[kind];
  return CHUNK_KINDS.indexOf(kind);
}

/** Undefined for a number that stands for none. */
export function tableKindOf(number: number): TableKind | undefined {
  if (number === REBUILT_KINDS.unknown) return "unknown";
  if (number === REBUILT_KINDS.stream) return "stream";
  if (number === REBUILT_KINDS.lost) return "lost";
  const kind = CHUNK_KINDS[number];
  return kind === "index" ? undefined : kind;
}

/** What is said of the archive as a whole. A rebuilt index knows only what the archive itself says. */
export interface IndexHeader {
  /** Made from the archive afterwards: entries have no ctime, inode and device, and the run's facts are missing. */
  readonly rebuilt: boolean;
  /** UUID of the session that made the archive. */
  readonly session: string | undefined;
  readonly agent: string | undefined;
  readonly backup: string | undefined;
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
  readonly archive: string | undefined;
  /** By the agent's clock: milliseconds since 1970. */
  readonly startedMs: number | undefined;
  readonly compression: { readonly mode: Compression["mode"]; readonly level: number | undefined };
  readonly chunkBytes: number | undefined;
  /** Absolute paths. */
  readonly sources: readonly string[] | undefined;
  readonly exclude: readonly string[] | undefined;
  readonly oneFileSystem: boolean | undefined;
  readonly excludeCaches: boolean | undefined;
  readonly excludeIfPresent: readonly string[] | undefined;
}

/** Of the file as it lay on the disk; in no archive. */
export interface LiveFacts {
  readonly ctimeSeconds: number;
  readonly ctimeNanos: number;
  readonly ino: bigint;
  readonly dev: bigint;
}

export interface IndexEntry {
  /** From 0, in the order of the archive. */
  readonly number: number;
  /** Raw bytes, without the slashes in front and behind; the root directory is empty. */
  readonly path: Uint8Array;
  readonly type: TarType;
  readonly changed: boolean;
  readonly short: boolean;
  readonly racy: boolean;
  readonly sparse: boolean;
  /** Bytes of a file, holes included; 0 for all others. */
  readonly size: number;
  /** Bytes of data in the archive. */
  readonly storedBytes: number;
  /** Raw offsets in the archive: of the first header, and of the data. */
  readonly headersAt: number;
  readonly dataAt: number;
  /** XXH64 of the headers: changes with everything that they say. */
  readonly headersDigest: bigint;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  readonly live: LiveFacts | undefined;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkTarget: Uint8Array | undefined;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/** One chunk of the archive. */
export interface TableChunk {
  readonly number: number;
  readonly kind: TableKind;
  readonly storedOffset: number;
  readonly storedLength: number;
  readonly rawOffset: number;
  readonly rawLength: number;
  /** CRC-32 and SHA-256 of the stored bytes. */
  readonly crc: number;
  readonly digest: Uint8Array;
}

/** Where a block of the index is, and what begins in it. */
export interface BlockReference {
  readonly offset: number;
  readonly storedLength: number;
  readonly rawLength: number;
  readonly crc: number;
  readonly firstNumber: number;
  readonly rawOffset: number;
  readonly storedOffset: number;
  readonly key: Uint8Array;
}

export interface IndexTotals {
  readonly entries: number;
  readonly chunks: number;
  readonly rawBytes: number;
  readonly storedBytes: number;
  readonly changed: number;
  readonly short: number;
  /** The paths are in the order of comparePaths, and all different. */
  readonly sorted: boolean;
}
