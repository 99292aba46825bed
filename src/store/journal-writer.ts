/**
 * Appends to a session's journal (journal-format.ts) and syncs it; what was appended can be read again. One append at a
 * time; it retries nothing.
 */
import { assert } from "#base/assert.ts";
import type { DiskFile } from "./disk.ts";
import { JOURNAL_MAGIC } from "./journal-format.ts";
import { type JournalBatch, journalBatches } from "./journal-reader.ts";

export class JournalWriter {
  readonly #file: DiskFile;
  #length: number;
  #busy = false;

  /** `length`: where the next record goes. */
  constructor(file: DiskFile, length: number) {
    this.#file = file;
    this.#length = length;
  }

  /** Once no append is under way: one has failed, and what can be read of it may not be on the disk. */
  get broken(): boolean {
    return this.#busy;
  }

  /** Bytes in the journal. */
  get length(): number {
    return this.#length;
  }

  /** Writes the beginning of a new journal. */
  static async begin(file: DiskFile, session: Uint8Array): Promise<JournalWriter> {
    const journal = new JournalWriter(file, 0);
    await journal.append(Buffer.concat([JOURNAL_MAGIC, session]));
    return journal;
  }

  /** The records from byte `from` on as far as byte `to`, both ends of records that were appended. */
  batches(from: number, to: number): AsyncGenerator<JournalBatch> {
    assert(to <= this.#length, `byte ${to} of a journal of ${this.#length}`);
    return journalBatches(this.#file, from, to);
  }

  /** Resolves when the records are on the disk. After a rejection nothing may be appended any more. */
  async append(records: Uint8Array): Promise<void> {
    assert(!this.#busy, "two appends to one journal at a time, or one after a failure");
    this.#busy = true;
    await this.#file.write(records, this.#length);
    await this.#file.fdatasync();
    this.#length += records.length;
    this.#busy = false;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
