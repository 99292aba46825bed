/**
 * What the administrator's page may look at in archives: directories and searches by their indexes, and one archive opened for a file of it.
 * All of it takes turns at the disks like the agents that read. An index that is missing, damaged or another archive's is told, not made anew: that
 * is a command's work, because it reads the whole archive.
 */
import type { IndexEntry } from "#archive/index-format.ts";
import { comparePaths } from "#archive/bytes.ts";
import { findPath, findPattern, listDirectory } from "#archive/index-queries.ts";
import type { Batches, IndexReader } from "#archive/index-reader.ts";
import type { Clock } from "#base/clock.ts";
import { must } from "#base/assert.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { type ArchiveFinds, fileHistories } from "#restore/file-versions.ts";
import { type IndexedArchive, openIndexed } from "#restore/index-open.ts";
import type { LentArchive } from "./lent-archive.ts";
import { FIND_ARCHIVES_MAX, TREE_SKIPPED_MAX } from "./limits.ts";
import type { ReadLibrary } from "./read-library.ts";

export interface ArchivePlace {
  readonly storage: string;
  readonly agent: string;
  readonly backup: string;
  /** The file's name. */
  readonly archive: string;
}

/** An entry for people; `key` is the path's bytes in base64url. */
export interface DeskEntry {
  readonly path: string;
  readonly name: string;
  readonly key: string;
  readonly type: "file" | "directory" | "symlink" | "hardlink" | "fifo" | "character" | "block" | "other";
  readonly bytes: number;
  readonly mtimeWallMs: number | null;
  readonly mode: number | null;
  readonly owner: string | null;
  readonly link: string | null;
  readonly flags: readonly ("changed" | "short" | "racy")[];
  readonly downloadable: boolean;
}

export interface DeskDirectory {
  readonly path: string | null;
  readonly key: string | null;
  readonly rows: readonly DeskEntry[];
  readonly next: string | null;
}

/** `after`: the key of the last one of the page before; null: from the first. */
export interface DeskPage {
  readonly limit: number;
  readonly after: string | null;
}

/** By path. */
export interface DeskFind {
  readonly rows: readonly {
    readonly path: string;
    readonly key: string;
    readonly versions: readonly {
      readonly storage: string;
      readonly first: string;
      readonly last: string;
      readonly archiveCount: number;
      readonly entry: DeskEntry;
    }[];
  }[];
  readonly next: string | null;
  readonly archiveCount: number;
  readonly failures: readonly string[];
}

export interface ArchiveDeskOptions {
  readonly library: Pick<ReadLibrary, "openOf">;
  readonly clock: Clock;
  /** A search that takes longer is given up: whoever asked gets no answer any more, and others wait for its place. */
  readonly searchMsMax: () => number;
}

export class ArchiveDesk {
  readonly #library: Pick<ReadLibrary, "openOf">;
  readonly #options: ArchiveDeskOptions;

  constructor(options: ArchiveDeskOptions) {
    this.#library = options.library;
    this.#options = options;
  }

  /** Archive and index. Rejects as the library does. */
  open({ storage, agent, backup, archive: name }: ArchivePlace): Promise<LentArchive> {
    return this.#library.openOf(agent, { storage, backup, name, indexOnly: false });
  }

  /** A page of a directory. `key` null: the top. Rejects with Failure, E_INDEX_DAMAGED where there is no index of it among them. */
  async directory(place: ArchivePlace, key: string | null, { limit, after }: DeskPage): Promise<DeskDirectory> {
    const path = key === null ? new Uint8Array(0) : bytesOfKey(key);
    const behind = after === null ? undefined : bytesOfKey(after);
    return await this.#withIndex(place, async (index) => {
      const rows: DeskEntry[] = [];
      let [skipped, more] = [0, false];
      for await (const batch of listDirectory(index, path)) {
        for (const { path: found, entry } of batch) {
          if (behind !== undefined && comparePaths(found, behind) <= 0) {
            skipped += 1;
            continue;
          }
          more = rows.length >= limit;
          if (more) break;
          rows.push(deskEntry(found, entry));
        }
        if (more) break;
        if (skipped > TREE_SKIPPED_MAX) {
          throw new Failure("E_LIMIT", `${pathText(path)} has more than ${TREE_SKIPPED_MAX} names`);
        }
      }
      // One that is there and empty is an entry of its own.
      if (rows.length + skipped === 0 && key !== null && (await findPath(index, path))?.type !== "directory") {
        throw new Failure("E_PATH_UNKNOWN", `${pathText(path)} is no directory of the archive`);
      }
      const next = more ? (rows.at(-1)?.key ?? null) : null;
      return { path: key === null ? null : pathText(path), key, rows, next };
    });
  }

  /** Files that a pattern matches, in the newest of these archives. Of several entries of a path the last counts. Rejects with E_USAGE. */
  async find(places: readonly ArchivePlace[], pattern: string, page: DeskPage): Promise<DeskFind> {
    const newest = [...places].sort((a, b) => (a.archive < b.archive ? 1 : -1)).slice(0, FIND_ARCHIVES_MAX);
    const failures: string[] = [];
    if (places.length > newest.length) {
      const left = places.length - newest.length;
      failures.push(`${left} older archives were not searched: nbackup-server find searches them all`);
    }
    const opened: { readonly finds: ArchiveFinds<ArchivePlace>; readonly lent: LentArchive }[] = [];
    const untilMs = this.#options.clock.now() + this.#options.searchMsMax();
    try {
      for (const place of newest.reverse()) {
        const found = await this.#searched(place, pattern, untilMs).catch((error: unknown) => {
          const { code, message } = toFailure(error);
          if (code === "E_USAGE" || code === "E_LIMIT") throw error;
          failures.push(`${place.archive}: ${message}`);
        });
        if (found !== undefined) opened.push(found);
      }
      const finds = opened.map((one) => one.finds);
      return { ...(await filesOfPage(finds, page)), archiveCount: opened.length, failures };
    } finally {
      for (const { lent } of opened) await lent.close();
    }
  }

  async #searched(
    place: ArchivePlace,
    pattern: string,
    untilMs: number,
  ): Promise<{ finds: ArchiveFinds<ArchivePlace>; lent: LentArchive }> {
    const lent = await this.open(place);
    try {
      const { index } = await openLent(lent, (access) => this.#inTime(access, untilMs));
      if (!index.totals.sorted) throw new Failure("E_INDEX_UNSORTED", "its index is in no order");
      return { finds: { archive: place, entries: findPattern(index, Buffer.from(pattern)) }, lent };
    } catch (error) {
      await lent.close();
      throw error;
    }
  }

  /** The same bytes, but none after that time. */
  #inTime(access: ArchiveAccess, untilMs: number): ArchiveAccess {
    const { clock } = this.#options;
    return {
      size: access.size,
      read: (into, offset) => (clock.now() < untilMs ? access.read(into, offset) : Promise.reject(tooLong())),
      close: () => access.close(),
    };
  }

  async #withIndex<T>(place: ArchivePlace, work: (index: IndexReader) => Promise<T>): Promise<T> {
    const lent = await this.open(place);
    try {
      return await work((await openLent(lent)).index);
    } finally {
      await lent.close();
    }
  }
}

function tooLong(): Failure {
  return new Failure("E_LIMIT", "the search takes too long for the page", {
    hint: "Name a directory, as in /etc/**/hosts, or use nbackup-server find.",
  });
}

/**
 * An archive that was lent, with its index, which is compared with it as everybody does who reads one. The lender closes both. Rejects with Failure
 * E_INDEX_DAMAGED when there is no index, or none of this archive.
 */
export async function openLent(
  lent: LentArchive,
  by: (access: ArchiveAccess) => ArchiveAccess = (access) => access,
): Promise<IndexedArchive & { readonly index: IndexReader }> {
  if (lent.bytes(1) === undefined) {
    throw new Failure("E_INDEX_DAMAGED", `${lent.name} has no index`, {
      hint: "Make one with nbackup-server index rebuild.",
    });
  }
  const indexed = await openIndexed(by(accessTo(lent, 0)), by(accessTo(lent, 1)));
  const { index, warning } = indexed;
  if (index === undefined) throw must(warning, "why there is no index");
  return { ...indexed, index };
}

function accessTo(lent: LentArchive, file: 0 | 1): ArchiveAccess {
  const size = lent.bytes(file) ?? 0;
  return {
    size,
    async read(into, offset): Promise<number> {
      const length = Math.max(0, Math.min(into.length, size - offset));
      if (length > 0) await lent.read(file, into.subarray(0, length), offset);
      return length;
    },
    close: () => Promise.resolve(),
  };
}

async function filesOfPage(
  finds: readonly ArchiveFinds<ArchivePlace>[],
  { limit, after }: DeskPage,
): Promise<Pick<DeskFind, "rows" | "next">> {
  const behind = after === null ? undefined : bytesOfKey(after);
  const rows: DeskFind["rows"][number][] = [];
  for await (const batch of fileHistories(finds) satisfies Batches<unknown>) {
    for (const { path, versions } of batch) {
      if (behind !== undefined && comparePaths(path, behind) <= 0) continue;
      if (rows.length >= limit) return { rows, next: rows.at(-1)?.key ?? null };
      rows.push({
        ...{ path: pathText(path), key: keyOf(path) },
        versions: versions.map(({ file, first, last, archiveCount }) => ({
          ...{ storage: last.storage, first: first.archive, last: last.archive, archiveCount },
          entry: deskEntry(file.path, file),
        })),
      });
    }
  }
  return { rows, next: null };
}

const TYPES: Readonly<Record<IndexEntry["type"], DeskEntry["type"]>> = {
  ...{ file: "file", hardlink: "hardlink", symlink: "symlink", char: "character", block: "block" },
  ...{ directory: "directory", fifo: "fifo" },
};

function deskEntry(path: Uint8Array, entry: IndexEntry | undefined): DeskEntry {
  const name = pathText(path.subarray(path.lastIndexOf(SLASH) + 1));
  const common = { path: pathText(path), name, key: keyOf(path) };
  if (entry === undefined) {
    const unknown = { mtimeWallMs: null, mode: null, owner: null, link: null };
    return { ...common, ...unknown, type: "directory", bytes: 0, flags: [], downloadable: false };
  }
  const { size, mtimeSeconds, mtimeNanos, mode, uid, gid, linkTarget, changed, short, racy } = entry;
  const type = TYPES[entry.type];
  const flags = [changed && "changed", short && "short", racy && "racy"] as const;
  return {
    ...{ ...common, type, bytes: size, mtimeWallMs: mtimeSeconds * 1000 + Math.floor(mtimeNanos / 1e6), mode },
    ...{ owner: `${uid}/${gid}`, link: linkTarget === undefined ? null : pathText(linkTarget) },
    flags: flags.filter((flag) => flag !== false),
    downloadable: type === "file" || type === "hardlink",
  };
}

const SLASH = 0x2f;

function keyOf(path: Uint8Array): string {
  return Buffer.from(path).toString("base64url");
}

/** Throws Failure E_USAGE. */
export function bytesOfKey(key: string): Uint8Array {
  const bytes = Buffer.from(key, "base64url");
  if (bytes.toString("base64url") !== key) throw new Failure("E_USAGE", "key is not base64url without padding");
  return new Uint8Array(bytes);
}
