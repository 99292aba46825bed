/**
 * Whether what a session will store fits on its storage's disk, beside the reserve and what running sessions have yet to
 * store there. It asks the disk and judges by admission.ts; who is admitted or refused is the desk's.
 */
import { Failure, toFailure } from "#base/errors.ts";
import type { StorageConfig } from "#config/types.ts";
import { ASSEMBLY_SPACE_BYTES } from "#store/assembly.ts";
import { assertFits, expectedBytes } from "./admission.ts";
import type { Share, Shares } from "./shares.ts";
import type { StorageShelf } from "./storage-shelf.ts";

export interface DiskRoomOptions {
  readonly storages: StorageShelf;
  readonly shares: Shares;
  /** Which disk a base directory lies on: storages that give the same text share their free space. */
  readonly diskKey: (baseDir: string) => Promise<string>;
}

/** Who asks, and for what. */
export interface RoomRequest {
  readonly agent: string;
  readonly backup: string;
  readonly estimateBytes: number;
}

export class DiskRoom {
  readonly #options: DiskRoomOptions;

  constructor(options: DiskRoomOptions) {
    this.#options = options;
  }

  /**
   * Bytes that the session will store as far as anyone knows. With a `share` they are promised to it, in the very turn in
   * which they were found to fit: of two that ask at once the second sees what the first was promised. Rejects with
   * Failure E_FULL, E_STORAGE_FAILED.
   */
  async check(request: RoomRequest, config: StorageConfig, share?: Share): Promise<number> {
    const { storages, shares } = this.#options;
    const { agent, backup, estimateBytes } = request;
    const storage = await storages.open(config.name);
    // Archives that were copied into place have no commit record, but their size counts as well.
    const lastBytes =
      storage.lastCommitted(agent, backup)?.bytes ?? (await storage.archives(agent, backup)).at(-1)?.bytes;
    const neededBytes = expectedBytes(lastBytes ?? 0, estimateBytes);
    const diskKey = await this.#diskKey(config);
    const space = await storage.space();
    const roomBytes = neededBytes + assemblyBytes(config, neededBytes);
    assertFits(config.name, { ...space, promisedBytes: shares.promisedOn(diskKey) }, roomBytes);
    share?.promise(diskKey, roomBytes);
    return neededBytes;
  }

  async #diskKey(config: StorageConfig): Promise<string> {
    try {
      return await this.#options.diskKey(config.baseDir);
    } catch (cause) {
      throw unusable(config, cause);
    }
  }
}

/** What a session takes on the disk while it is assembled, beside its own bytes: never more than those. */
export function assemblyBytes(config: StorageConfig, neededBytes: number): number {
  return config.assembler.mode === "lazy" ? Math.min(ASSEMBLY_SPACE_BYTES, neededBytes) : 0;
}

function unusable({ name, baseDir }: StorageConfig, cause: unknown): Failure {
  const text = `storage ${name}: ${baseDir} cannot be looked at: ${toFailure(cause).message}`;
  return new Failure("E_STORAGE_FAILED", text, { cause });
}
