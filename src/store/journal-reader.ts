/**
 * Reads a session's journal (journal-format.ts) from any record on to the first one that is not whole, in batches of
 * bounded size. It decides nothing: what the records mean for a session is recovery's business.
 */
import { MiB } from "#base/units.ts";
import type { DiskFile } from "./disk.ts";
import { decodeRecord, JOURNAL_MAGIC, JOURNAL_RECORD_BYTES_MAX, type JournalRecord } from "./journal-format.ts";

const READ_BYTES = MiB;

/** Where the first record stands. */
export const JOURNAL_START: number = JOURNAL_MAGIC.length;

export interface JournalBatch {
  /** In the order in which they were written; never empty. */
  readonly records: readonly JournalRecord[];
  /** Where the next record stands. */
  readonly endBytes: number;
}

export interface JournalEnd {
  /** Bytes of whole records, the magic included: where appending may go on. 0: this is no journal. */
  readonly wholeBytes: number;
  /** Bytes behind them, torn by a crash or damaged. */
  readonly tornBytes: number;
}

/** Calls `onRecord` for every whole record in order. Rejects only when the disk does. */
export async function readJournal(file: DiskFile, onRecord: (record: JournalRecord) => void): Promise<JournalEnd> {
  const size = await file.size();
  const magic = Buffer.alloc(JOURNAL_MAGIC.length);
  const magicLength = await file.read(magic, 0);
  if (magicLength < magic.length || !magic.equals(JOURNAL_MAGIC)) return { wholeBytes: 0, tornBytes: size };
  let wholeBytes = JOURNAL_START;
  for await (const batch of journalBatches(file, JOURNAL_START, size)) {
    for (const record of batch.records) onRecord(record);
    wholeBytes = batch.endBytes;
  }
  return { wholeBytes, tornBytes: size - wholeBytes };
}

/**
 * The whole records from byte `from`, where one must begin, as far as they end at byte `to` or before. Throws only what
 * the disk throws.
 */
export async function* journalBatches(file: DiskFile, from: number, to: number): AsyncGenerator<JournalBatch> {
  const buffer = Buffer.alloc(Math.min(READ_BYTES + JOURNAL_RECORD_BYTES_MAX, to - from));
  let endBytes = from;
  while (endBytes < to) {
    const filled = await file.read(buffer.subarray(0, Math.min(buffer.length, to - endBytes)), endBytes);
    const records: JournalRecord[] = [];
    let at = 0;
    let broken = false;
    for (;;) {
      const decoded = decodeRecord(buffer.subarray(at, filled));
      broken = decoded.outcome === "broken";
      if (decoded.outcome !== "record") break;
      records.push(decoded.record);
      at += decoded.length;
    }
    endBytes += at;
    if (records.length > 0) yield { records, endBytes };
    // A buffer holds more than the longest record: one that yields none has no whole record to give.
    if (broken || at === 0) return;
  }
}
