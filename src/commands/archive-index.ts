/**
 * The table of contents of an archive, for who wants to know what is in it: the index beside it, or one made for the occasion where there is none,
 * where it is damaged, or where it is of another archive. That takes a whole read of the archive, and a sentence says so.
 */
import { IndexReader, type Batches } from "#archive/index-reader.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { ProgramSide } from "#cli/archive-arguments.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { openIndexed } from "#restore/index-open.ts";
import { indexSource } from "#restore/index-source.ts";
import type { ArchiveTarget } from "./archive-target.ts";
import type { CommandContext } from "./command-context.ts";
import { temporaryIndex } from "./temporary-index.ts";

/** Damages named; more are counted. */
const NAMED_MAX = 100;

export class ArchiveIndex {
  readonly target: ArchiveTarget;
  /** Of the archive: what is not in the index. */
  damageCount = 0;
  readonly #context: CommandContext;
  #access: ArchiveAccess | undefined;
  #reader: IndexReader | undefined;
  #temporary = false;

  private constructor(target: ArchiveTarget, context: CommandContext) {
    this.target = target;
    this.#context = context;
  }

  /** Rejects with Failure of the stock, or when the archive itself cannot be read. */
  static async open(target: ArchiveTarget, context: CommandContext): Promise<ArchiveIndex> {
    const opened = new ArchiveIndex(target, context);
    try {
      await opened.#open();
      return opened;
    } catch (error) {
      await opened.close();
      throw error;
    }
  }

  get reader(): IndexReader {
    if (this.#reader === undefined) throw new Failure("E_INTERNAL", "an index is used after it was closed");
    return this.#reader;
  }

  /** Makes the index from the archive; false when it is one already. */
  async rebuild(why: string): Promise<boolean> {
    if (this.#temporary) return false;
    const { stderr, side } = this.#context;
    const { name } = this.target;
    stderr.write(`warning: ${safeText(name)} ${safeText(why)}: the archive is read whole; ${remedy(side, name)}\n`);
    await this.#closeIndex();
    this.#temporary = true;
    const { archive, close } = await this.target.open();
    try {
      this.#access = await temporaryIndex(archive, this.#context, (damage) => this.#damaged(damage));
    } finally {
      await close();
    }
    const rest = this.damageCount - NAMED_MAX;
    if (rest > 0) stderr.write(`warning: and ${rest} more\n`);
    this.#reader = await IndexReader.open(indexSource(this.#access));
    return true;
  }

  async close(): Promise<void> {
    await this.#closeIndex();
  }

  async #open(): Promise<void> {
    const access = await this.target.openIndex();
    this.#access = access;
    if (access === undefined) {
      await this.rebuild("has no index");
      return;
    }
    try {
      this.#reader = await IndexReader.open(indexSource(access));
    } catch (error) {
      const { code, message } = toFailure(error);
      if (code !== "E_INDEX_DAMAGED") throw error;
      await this.rebuild(`has a damaged index (${message})`);
      return;
    }
    if (this.#reader.totals.storedBytes !== this.target.archiveBytes) await this.#checkOwn(access);
  }

  /** An index of another length may be another archive's, or that of one that ends too early. */
  async #checkOwn(access: ArchiveAccess): Promise<void> {
    const { archive, close } = await this.target.open();
    let warning: Failure | undefined;
    try {
      ({ warning } = await openIndexed(archive, access));
    } finally {
      await close();
    }
    if (warning !== undefined) {
      await this.rebuild(`has no good index (${warning.message})`);
      return;
    }
    const { name, archiveBytes } = this.target;
    const missing = this.reader.totals.storedBytes - archiveBytes;
    this.#context.stderr.write(`warning: ${safeText(name)} ends too early: ${missing} bytes of it are missing\n`);
    this.damageCount += 1;
  }

  async #closeIndex(): Promise<void> {
    const access = this.#access;
    this.#access = undefined;
    this.#reader = undefined;
    await access?.close();
  }

  #damaged({ message }: Failure): void {
    this.damageCount += 1;
    if (this.damageCount > NAMED_MAX) return;
    this.#context.stderr.write(`warning: ${safeText(this.target.name)}: ${safeText(message)}\n`);
  }
}

function remedy(side: ProgramSide, name: string): string {
  // A name in a storage is what the command takes; only a path may need quotes, which the shell's user knows of.
  return side === "server"
    ? `nbackup-server index rebuild ${safeText(name)} makes one`
    : "nbackup-server index rebuild on the server makes one";
}

/**
 * What a query gives. When an index turns out to be damaged on the way, it is made again and the query goes on behind what has been given:
 * the same archive has the same entries in the same order.
 */
export async function* askIndexes<T>(indexes: readonly ArchiveIndex[], query: () => Batches<T>): Batches<T> {
  let given = 0;
  for (;;) {
    let seen = 0;
    try {
      for await (const batch of query()) {
        const known = Math.max(0, given - seen);
        seen += batch.length;
        if (known >= batch.length) continue;
        given = seen;
        yield known === 0 ? batch : batch.slice(known);
      }
      return;
    } catch (error) {
      const { code, message } = toFailure(error);
      if (code !== "E_INDEX_DAMAGED" || !(await rebuildAll(indexes, message))) throw error;
    }
  }
}

async function rebuildAll(indexes: readonly ArchiveIndex[], message: string): Promise<boolean> {
  let rebuilt = 0;
  for (const index of indexes) if (await index.rebuild(`has a damaged index (${message})`)) rebuilt += 1;
  return rebuilt > 0;
}
