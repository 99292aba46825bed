/**
 * What admitted sessions take of the server: a place among `max_sessions`, memory, and room on a disk that they have
 * yet to fill. A share is taken before the first await of an admission, so that two never count the same room.
 */
import { promisedBytes, type RoomTaken } from "./admission.ts";

export class Share {
  readonly storage: string;
  readonly memoryBytes: number;
  #diskKey: string | undefined;
  #expectedBytes = 0;
  #storedBytes: () => number = () => 0;

  constructor(storage: string, memoryBytes: number) {
    this.storage = storage;
    this.memoryBytes = memoryBytes;
  }

  /** Room on a disk is promised: `expectedBytes`, less what `fill` says is there already. */
  promise(diskKey: string, expectedBytes: number): void {
    this.#diskKey = diskKey;
    this.#expectedBytes = expectedBytes;
  }

  /** The session runs: `storedBytes` says how much of the promised room it has filled. */
  fill(storedBytes: () => number): void {
    this.#storedBytes = storedBytes;
  }

  on(diskKey: string): boolean {
    return this.#diskKey === diskKey;
  }

  get need(): { readonly expectedBytes: number; readonly storedBytes: number } {
    return { expectedBytes: this.#expectedBytes, storedBytes: this.#storedBytes() };
  }
}

export class Shares {
  readonly #shares = new Set<Share>();

  /** For a session in the storage of that name. */
  take(storage: string, memoryBytes: number): Share {
    const share = new Share(storage, memoryBytes);
    this.#shares.add(share);
    return share;
  }

  release(share: Share): void {
    this.#shares.delete(share);
  }

  /** Names of the storages in which sessions run, or are being opened. */
  get storages(): ReadonlySet<string> {
    return new Set([...this.#shares].map(({ storage }) => storage));
  }

  get taken(): RoomTaken {
    let memoryBytes = 0;
    for (const share of this.#shares) memoryBytes += share.memoryBytes;
    return { sessionCount: this.#shares.size, memoryBytes };
  }

  /** What running sessions have yet to store on this disk, bytes. */
  promisedOn(diskKey: string): number {
    return promisedBytes([...this.#shares].filter((share) => share.on(diskKey)).map((share) => share.need));
  }
}
