/**
 * Indexes of many archives, read in turns: only so many of them are open at a time, on this machine because descriptors are limited, at a server
 * because it limits what one connection holds. Whoever reads one that was closed meanwhile has it opened again.
 */
import { Failure } from "#base/errors.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import type { ArchiveTarget } from "./archive-target.ts";

export class IndexPool {
  readonly #openMax: number;
  /** The one used longest ago first. */
  readonly #open = new Map<PooledIndex, ArchiveAccess>();

  constructor(openMax: number) {
    this.#openMax = openMax;
  }

  /** The target with an index of this pool. */
  pooled(target: ArchiveTarget): ArchiveTarget {
    return { ...target, openIndex: () => this.#index(target) };
  }

  async #index(target: ArchiveTarget): Promise<ArchiveAccess | undefined> {
    const access = await target.openIndex();
    if (access === undefined) return undefined;
    const index = new PooledIndex(this, target, access.size);
    await this.#keep(index, access);
    return index;
  }

  /** One call at a time: an access is not closed under who reads it. */
  async access(index: PooledIndex): Promise<ArchiveAccess> {
    const kept = this.#open.get(index);
    if (kept !== undefined) {
      this.#open.delete(index);
      this.#open.set(index, kept);
      return kept;
    }
    const access = await index.target.openIndex();
    if (access === undefined || access.size !== index.size) {
      await access?.close();
      throw new Failure("E_ARCHIVE_UNKNOWN", `${index.target.name} was removed or changed meanwhile`);
    }
    await this.#keep(index, access);
    return access;
  }

  async drop(index: PooledIndex): Promise<void> {
    const access = this.#open.get(index);
    this.#open.delete(index);
    await access?.close();
  }

  async #keep(index: PooledIndex, access: ArchiveAccess): Promise<void> {
    this.#open.set(index, access);
    const [oldest] = this.#open.keys();
    if (this.#open.size > this.#openMax && oldest !== undefined) await this.drop(oldest);
  }
}

class PooledIndex implements ArchiveAccess {
  readonly size: number;
  readonly target: ArchiveTarget;
  readonly #pool: IndexPool;

  constructor(pool: IndexPool, target: ArchiveTarget, size: number) {
    this.#pool = pool;
    this.target = target;
    this.size = size;
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    const access = await this.#pool.access(this);
    return await access.read(into, offset);
  }

  close(): Promise<void> {
    return this.#pool.drop(this);
  }
}
