/** What the tar reader gives: entries, and whom it gives them to. Names are raw bytes as the archive has them, never checked for where they lead. */
import type { Failure } from "#base/errors.ts";
import type { AclEntry } from "./acl.ts";
import type { TarType } from "./tar-writer.ts";

/** `unsupported`: a kind that only its own program knows (a piece of a multi-volume archive, say); its data is passed over. */
export type ReadType = TarType | "unsupported";

export interface ReadXattr {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/** One entry. Everything in it may be kept. */
export interface ReadEntry {
  /** Not empty, no NUL in it; may be absolute, hold `..`, end with slashes. */
  readonly path: Uint8Array;
  readonly type: ReadType;
  /** Of a symbolic or hard link; no NUL in it. */
  readonly linkTarget: Uint8Array | undefined;
  /** Permission bits, setuid, setgid and sticky: 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Empty when the archive has none. */
  readonly userName: Uint8Array;
  readonly groupName: Uint8Array;
  /** Of the file as it is to be, holes included; 0 for all but files. */
  readonly size: number;
  /** What of it is in the archive, and comes as data. */
  readonly storedBytes: number;
  /** True when what does not come as data are holes. */
  readonly sparse: boolean;
  readonly mtimeSeconds: number;
  readonly mtimeNanos: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** In the order of the archive, each name once. */
  readonly xattrs: readonly ReadXattr[];
  readonly aclAccess: readonly AclEntry[] | undefined;
  readonly aclDefault: readonly AclEntry[] | undefined;
  /** There was an access control list in a form that nobody knows: it is missing here. */
  readonly aclUnreadable: boolean;
  /** Where the first of its headers begins, and where its data does, as offsets in the tar stream. */
  readonly headersAt: number;
  readonly dataAt: number;
  /** Damage lies right in front of it: long names, owners, attributes and holes may have been in there. */
  readonly headersMayBeLost: boolean;
}

/** What a sink throws ends the reader and is thrown on. */
export interface TarSink {
  entry(entry: ReadEntry): void;
  /** The next data of the entry in hand, never empty; the view is valid during the call. Between the pieces are holes. */
  data(bytes: Uint8Array, offset: number): void;
  /** Stored data of the entry in hand that is not in the stream any more. */
  lost(offset: number, length: number): void;
  /** Nothing more comes for the entry in hand: all was given, or called lost. */
  entryEnd(): void;
  /** Failure E_ARCHIVE_DAMAGED. Throwing it stops the reader; returning has it look for the next header. */
  damaged(failure: Failure): void;
  /** Bytes of the stream, from one offset to the other, that nothing could be made of. */
  skipped(from: number, to: number): void;
}

/** Limits that no honest archive comes near; each is small enough to be held in memory. */
export interface TarLimits {
  /** All pax records in front of one entry together, and all global ones. Ours are below 1 MiB. */
  readonly paxBytesMax: number;
  /** A path or link target; its depth is at most half of it. Ours are at most 64 KiB and a slash. */
  readonly nameBytesMax: number;
  /** Headers in front of one entry that only say something about it. */
  readonly extensionsMax: number;
  /** Stretches of data in one sparse file: 16 bytes each. */
  readonly extentsMax: number;
}

export const TAR_LIMITS: TarLimits = {
  paxBytesMax: 8 * 1024 * 1024,
  nameBytesMax: 128 * 1024,
  extensionsMax: 32,
  extentsMax: 1024 * 1024,
};
