/**
 * After a restart of the server: hashes again, from the disk, the chunks that the journal names, while the session goes on.
 * It follows the journal in bounded memory until it has reached its end, where the chunks that arrive now take over. What is
 * hashed is the in-order proof of FileHash, which also compares each chunk with its digest; this only feeds it.
 *
 * A chunk that arrives meanwhile waits in FileHash only until it is durable: from then on the journal has it, and this comes
 * to it in its turn. So what waits is bounded by the window, however far this is behind.
 */
import { BUFFER_BYTES } from "./buffer-pool.ts";
import type { FileHash, HashItem } from "./file-hash.ts";
import type { Piece } from "./intake-memory.ts";
import type { ChunkRecord } from "./journal-format.ts";
import { JOURNAL_START } from "./journal-reader.ts";
import type { JournalWriter } from "./journal-writer.ts";

/** So many chunks are given to the hash at once: enough that it never waits for the journal. */
const AHEAD_CHUNKS = 1024;

export interface CatchUpParts {
  readonly journal: JournalWriter;
  /** By file number. */
  readonly hashes: readonly [FileHash, FileHash];
  /** Everything the journal named was hashed; once, unless stopped or failed. */
  readonly onEnd: () => void;
  /** The journal could not be read, with what the disk threw. */
  readonly onFailure: (error: unknown) => void;
}

export class CatchUp {
  readonly #parts: CatchUpParts;
  /** The journal is being read up to here, or was. */
  #limitBytes = JOURNAL_START;
  /** Chunks that are recorded are read from the journal. */
  #following = true;
  #stopped = false;
  #ended = false;
  /** The journal is not read any more. Never rejects. */
  readonly done: Promise<void>;

  /** Begins at once. */
  constructor(parts: CatchUpParts) {
    this.#parts = parts;
    this.done = this.#run().catch((error: unknown) => {
      this.#following = false;
      if (!this.#stopped) parts.onFailure(error);
    });
  }

  /** True until all that the journal named when it was read was hashed. */
  get active(): boolean {
    return !this.#ended && !this.#stopped;
  }

  /** The journal's end now names these chunks: those that are yet to be read from it need not wait in memory. */
  recorded(records: readonly ChunkRecord[]): void {
    // What ends within the limit was read already, or is in what is being read now.
    if (!this.#following || this.#limitBytes >= this.#parts.journal.length) return;
    for (const { file, sequence } of records) this.#parts.hashes[file].forget(sequence);
  }

  /** Reads no further; resolves when no read is under way. The hashes must be stopped too. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#following = false;
    await this.done;
  }

  async #run(): Promise<void> {
    const { journal } = this.#parts;
    let readBytes = JOURNAL_START;
    while (readBytes < journal.length) {
      // Up to here everything is on the disk; what is appended meanwhile is read in the next round.
      this.#limitBytes = journal.length;
      await this.#follow(readBytes, this.#limitBytes);
      if (this.#stopped) return;
      readBytes = this.#limitBytes;
    }
    // In the very turn in which the journal had no more: what was forgotten was read, and nothing is forgotten from now on.
    this.#following = false;
    await this.#room(0);
    if (this.#stopped) return;
    this.#ended = true;
    this.#parts.onEnd();
  }

  async #follow(from: number, to: number): Promise<void> {
    const { journal, hashes } = this.#parts;
    let endBytes = from;
    for await (const batch of journal.batches(from, to)) {
      // A batch has 15,000 records, and each chunk up to 65 pieces to keep: they are given a few at a time.
      for (let at = 0; at < batch.records.length; at += AHEAD_CHUNKS) {
        for (const record of batch.records.slice(at, at + AHEAD_CHUNKS)) {
          if (record.type === "chunk") hashes[record.chunk.file].add(storedItem(record.chunk));
        }
        await this.#room(AHEAD_CHUNKS);
        if (this.#stopped) return;
      }
      endBytes = batch.endBytes;
    }
    if (endBytes !== to) throw new Error(`the journal is damaged at byte ${endBytes} of ${to}`);
  }

  /** Resolves when no more than `chunks` of each file wait, or the next one is further on in the journal or not here yet. */
  async #room(chunks: number): Promise<void> {
    for (const hash of this.#parts.hashes) {
      while (!this.#stopped && hash.waitingChunks > chunks) {
        // What came over the network may still be taken back: nobody would ever see it hashed.
        const next = hash.nextChunks(AHEAD_CHUNKS, this.#following ? "from the journal" : "all");
        if (next === 0) break;
        await hash.hashed(hash.hashedChunks + next);
      }
    }
  }
}

/** A chunk on the disk, as the hash takes it. */
function storedItem(chunk: ChunkRecord): HashItem {
  const pieces: Piece[] = [];
  for (let at = 0; at < chunk.storedLength; at += BUFFER_BYTES) {
    const length = Math.min(BUFFER_BYTES, chunk.storedLength - at);
    pieces.push({
      offset: chunk.offset + at,
      length,
      buffer: undefined,
      unwritten: false,
      wanted: true,
      reading: false,
    });
  }
  return { ...chunk, pieces, fromJournal: true };
}
