/**
 * The staged chunks of one session as files: made when their first byte comes, written in pieces, synced, and read back.
 * What becomes of them in the end is assembly.ts's business.
 */
import { assert, must } from "#base/assert.ts";
import { errnoName } from "#base/errors.ts";
import { allOf, eachOf } from "./at-once.ts";
import { type DiskFile, type DiskFilesystem, orMissing } from "./disk.ts";
import type { ChunkPlace } from "./session-types.ts";
import { type ShardLevels, shardOf, STAGING_DIRECTORY, stagedName } from "./staging.ts";
import { PRIVATE_MODE, type StorageRoot } from "./storage-root.ts";

const SHARD_MODE = 0o700;
/** A cycle has some two hundred chunks of a megabyte; so many may be open beside those of 31 other sessions. */
const OPEN_MAX = 256;
/** Files that are synced at a time: the filesystem writes one journal entry for all of them. */
const SYNCS_AT_ONCE = 8;

export interface StagedFilesParts {
  readonly root: StorageRoot;
  /** The session's, relative to the root. */
  readonly directory: string;
  readonly levels: ShardLevels;
  /** Held since before the first chunk was written. */
  readonly filesystem: DiskFilesystem;
  /** Every file and its directory is synced for an acknowledgement, not the filesystem as a whole. */
  readonly chunkFsync: boolean;
}

/** A chunk that is not synced yet, or was given up. */
interface Staged {
  readonly path: string;
  readonly shard: string;
  /** It was made or found by this process. */
  exists: boolean;
  /** Undefined: not open. */
  file: Promise<DiskFile> | undefined;
  /** The last time it was closed to make room; everything written before is safe then. */
  closed: Promise<void>;
  /** Calls under way that need it open. */
  busy: number;
  /** Bytes in it; more than the chunk has when an older one of its number was given up. */
  length: number;
}

export class StagedFiles {
  readonly #parts: StagedFilesParts;
  /** By file and number, those used last at the end. */
  readonly #staged = new Map<string, Staged>();
  /** Directories that are made or being made. */
  readonly #shards = new Map<string, Promise<unknown>>();
  #openCount = 0;

  constructor(parts: StagedFilesParts) {
    this.#parts = parts;
  }

  /** Relative to the root. */
  pathOf(chunk: Pick<ChunkPlace, "file" | "sequence">): string {
    const { directory, levels } = this.#parts;
    return `${directory}/${shardOf(levels, chunk.sequence)}/${stagedName(chunk.file, chunk.sequence)}`;
  }

  async write(chunk: ChunkPlace, bytes: Uint8Array, offset: number): Promise<void> {
    const staged = this.#use(chunk);
    staged.busy += 1;
    try {
      const file = await this.#opened(staged);
      const at = offset - chunk.offset;
      await file.write(bytes, at);
      staged.length = Math.max(staged.length, at + bytes.length);
    } finally {
      staged.busy -= 1;
    }
  }

  async sync(chunks: readonly ChunkPlace[]): Promise<void> {
    const shards = new Set<string>();
    // A crash here, and anywhere below, leaves files that no record names: they are written anew when the chunk comes
    // again, or removed with the session.
    await eachOf(chunks, SYNCS_AT_ONCE, async (chunk) => {
      const key = keyOf(chunk);
      const staged = must(this.#staged.get(key), `staged chunk ${key}`);
      assert(staged.busy === 0, `chunk ${key} is synced while it is written`);
      shards.add(staged.shard);
      await this.#seal(staged, chunk.storedLength);
      this.#staged.delete(key);
    });
    const { filesystem, root, chunkFsync } = this.#parts;
    if (chunkFsync) await eachOf(shards, SYNCS_AT_ONCE, (shard) => root.sync(shard));
    else await filesystem.sync();
  }

  /** Of a chunk that was synced, or whose writes have returned. */
  async read(chunk: ChunkPlace, into: Uint8Array, offset: number): Promise<number> {
    const file = await orMissing(this.#parts.root.openFile(this.pathOf(chunk), "read"));
    if (file === undefined) return 0;
    try {
      return await file.read(into, offset - chunk.offset);
    } finally {
      await file.close();
    }
  }

  async holds(chunk: ChunkPlace): Promise<boolean> {
    const stat = await this.#parts.root.stat(this.pathOf(chunk));
    return stat?.type === "file" && stat.size === chunk.storedLength;
  }

  /** No other call may be under way. */
  async close(): Promise<void> {
    const open = [...this.#staged.values()].flatMap(({ file }) => (file === undefined ? [] : [file]));
    this.#staged.clear();
    // Whoever wanted to write to a file that could not be opened has heard of it.
    const opened = (await Promise.allSettled(open)).flatMap((each) =>
      each.status === "fulfilled" ? [each.value] : [],
    );
    await allOf(opened.map((file) => file.close()));
  }

  #use(chunk: ChunkPlace): Staged {
    const key = keyOf(chunk);
    const staged = this.#staged.get(key) ?? {
      path: this.pathOf(chunk),
      shard: `${this.#parts.directory}/${shardOf(this.#parts.levels, chunk.sequence)}`,
      exists: false,
      file: undefined,
      closed: Promise.resolve(),
      busy: 0,
      length: 0,
    };
    this.#staged.delete(key);
    this.#staged.set(key, staged);
    return staged;
  }

  #opened(staged: Staged): Promise<DiskFile> {
    if (staged.file !== undefined) return staged.file;
    this.#openCount += 1;
    staged.file = this.#open(staged);
    return staged.file;
  }

  async #open(staged: Staged): Promise<DiskFile> {
    const { root } = this.#parts;
    await this.#makeRoom();
    await staged.closed;
    if (staged.exists) return root.openFile(staged.path, "read-write");
    await this.#makeShard(staged.shard);
    const file = await createOrEmpty(root, staged.path);
    staged.exists = true;
    return file;
  }

  /** Closes the file that was used longest ago, if too many are open; it is opened again when more comes. */
  async #makeRoom(): Promise<void> {
    if (this.#openCount <= OPEN_MAX) return;
    for (const staged of this.#staged.values()) {
      if (staged.file === undefined || staged.busy > 0) continue;
      staged.closed = this.#shut(staged, staged.file);
      await staged.closed;
      return;
    }
  }

  /** The chunk is whole: cuts it to its length, makes its bytes safe as far as they are synced by file, and closes it. */
  async #seal(staged: Staged, length: number): Promise<void> {
    const excess = staged.length > length;
    if (staged.file === undefined && !excess) {
      await staged.closed;
      return;
    }
    staged.busy += 1; // Nobody else may close it to make room.
    const opening = this.#opened(staged);
    if (excess) await (await opening).truncate(length);
    await this.#shut(staged, opening);
  }

  async #shut(staged: Staged, opening: Promise<DiskFile>): Promise<void> {
    staged.file = undefined;
    this.#openCount -= 1;
    const file = await opening;
    try {
      // Through the descriptor that wrote: the kernel tells a lost write to those who had the file open.
      if (this.#parts.chunkFsync) await file.fdatasync();
    } finally {
      await file.close();
    }
  }

  #makeShard(shard: string): Promise<unknown> {
    const known = this.#shards.get(shard);
    if (known !== undefined) return known;
    const { root, directory } = this.#parts;
    const above = shard.slice(0, shard.lastIndexOf("/"));
    const made = (above === `${directory}/${STAGING_DIRECTORY}` ? Promise.resolve() : this.#makeShard(above)).then(() =>
      root.makeDirectory(shard, SHARD_MODE),
    );
    this.#shards.set(shard, made);
    return made;
  }
}

function keyOf({ file, sequence }: ChunkPlace): string {
  return stagedName(file, sequence);
}

/** A file that lies there already is a chunk that was given up, or that a crash left: nothing names it. */
async function createOrEmpty(root: StorageRoot, path: string): Promise<DiskFile> {
  try {
    return await root.createFile(path, PRIVATE_MODE);
  } catch (error) {
    if (errnoName(error) !== "EEXIST") throw error;
  }
  const file = await root.openFile(path, "read-write");
  try {
    await file.truncate(0);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}
