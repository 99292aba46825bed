/**
 * Reads a session's journal (journal-format.ts) from the beginning to the first record that is not whole, in pieces of
 * bounded size. It decides nothing: what the records mean for a session is recovery's business.
 */
import { MiB } from "#base/units.ts";
import type { DiskFile } from "./disk.ts";
import { decodeRecord, JOURNAL_MAGIC, JOURNAL_RECORD_BYTES_MAX, type JournalRecord } from "./journal-format.ts";

const READ_BYTES = MiB;

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
  const buffer = Buffer.alloc(READ_BYTES + JOURNAL_RECORD_BYTES_MAX);
  let wholeBytes = magic.length;
  for (;;) {
    const filled = await file.read(buffer, wholeBytes);
    let at = 0;
    let broken = false;
    for (;;) {
      const decoded = decodeRecord(buffer.subarray(at, filled));
      if (decoded.outcome === "record") {
        onRecord(decoded.record);
        at += decoded.length;
      } else {
        broken = decoded.outcome === "broken";
        break;
      }
    }
    wholeBytes += at;
    // A buffer holds more than the longest record: one that yields none has no whole record to give.
    if (broken || at === 0) return { wholeBytes, tornBytes: size - wholeBytes };
  }
}
