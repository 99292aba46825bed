/**
 * The disk side of one session: chunks placed at their offset, hashed, made durable, and in the end committed as an
 * archive or removed without a trace. It knows no connections, slots or frames, and puts the parts of the store together:
 * the ledger decides, intakes take bytes, the queue writes, the hashes follow, durability syncs.
 */
import { assert } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { MiB } from "#base/units.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { CatchUp } from "./catch-up.ts";
import type { BufferShare, ChunkBuffer } from "./chunk-buffer.ts";
import { ChunkIntakes } from "./chunk-intakes.ts";
import { diskFailure } from "./disk.ts";
import { Durability } from "./durability.ts";
import { FileHash, type HashItem } from "./file-hash.ts";
import { finishSession, type SessionFile } from "./finish.ts";
import type { HashTurns } from "./hash-turns.ts";
import { IntakeMemory } from "./intake-memory.ts";
import type { ChunkRecord } from "./journal-format.ts";
import { FileLedger } from "./ledger.ts";
import type { CommitIntent, JournalHead } from "./records.ts";
import type { SessionFiles } from "./session-files.ts";
import type {
  ChunkPlace,
  CommitAnswer,
  FileAcknowledgement,
  PhaseListener,
  Placing,
  SessionEvents,
  SessionProof,
} from "./session-types.ts";
import { WriteQueue } from "./write-queue.ts";

/** A sync begins after so many new bytes, or a quarter of the window if that is less: more only makes the last one long. */
const SYNC_BYTES_MAX = 64 * MiB;

/** What a session's store is made of; the storage gives it. */
export interface SessionParts {
  readonly head: JournalHead;
  readonly files: SessionFiles;
  readonly pool: BufferPool;
  readonly buffer: ChunkBuffer;
  readonly turns: HashTurns;
  readonly clock: Clock;
  readonly log: Logger;
  readonly pendingBytesMax: number;
  readonly events: SessionEvents;
  /** Of a session that an earlier server began: what of each file is durable, by file number. */
  readonly recovered?: readonly [FileLedger, FileLedger];
  /**
   * Carries out the commit whose intent is synced; afterwards the files are closed and the session's directory is gone.
   * `rotating`: the commit stands, and older archives go.
   */
  readonly commit: (intent: CommitIntent, rotating: () => void) => Promise<CommitAnswer>;
  /** Closes the files and removes the session's directory. Never rejects. */
  readonly discard: () => Promise<void>;
  /** Closes the files and leaves the session's directory to the next start. Never rejects. */
  readonly leave: () => Promise<void>;
}

/** `open` → `finishing` → `committing` → `committed`; any but the last two → `failed`; all but `committed` → `over`. */
type State = "open" | "finishing" | "committing" | "committed" | "failed" | "over";

export class SessionStore {
  readonly session: string;
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz`, the name it will have. */
  readonly archive: string;

  readonly #parts: SessionParts;
  readonly #files: readonly [SessionFile, SessionFile];
  readonly #share: BufferShare;
  readonly #memory: IntakeMemory;
  readonly #writes: WriteQueue;
  readonly #durability: Durability;
  readonly #intakes: ChunkIntakes;
  #state: State = "open";
  #failure: Failure | undefined;
  #finishing: Promise<CommitAnswer> | undefined;
  #ending: Promise<void> | undefined;
  readonly #catchUp: CatchUp | undefined;
  #onPhase: PhaseListener = () => undefined;
  /** Chunks that had been received and were lost again, and have not come again since. */
  #lostAgain: readonly ChunkPlace[] = [];

  constructor(parts: SessionParts) {
    this.session = parts.head.session;
    this.archive = parts.head.archive;
    this.#parts = parts;
    const { pool, buffer, turns, pendingBytesMax, files, clock, events } = parts;
    this.#share = buffer.join({
      relief: () => {
        if (this.#failure === undefined) events.relief();
      },
      write: () => this.#writes.pump(),
      // Held back any longer the window would be full, and nothing come until it was written and synced.
      holdBytesMax: parts.head.windowBytes / 2,
    });
    this.#memory = new IntakeMemory(pool, this.#share, pendingBytesMax);
    const fail = (doing: string) => (error: unknown) => this.#fail(diskFailure(error, `${doing} ${this.archive}`));
    const open = (number: FileNumber): SessionFile => ({
      number,
      ledger: parts.recovered?.[number] ?? new FileLedger(number, parts.head.windowBytes),
      hash: new FileHash({
        ...{ placement: files.placement, memory: this.#memory, pool, turns },
        onFailure: fail("reading back"),
        onDamaged: (item) => this.#rotten(item),
      }),
    });
    this.#files = [open(0), open(1)];
    this.#writes = new WriteQueue(files.placement, this.#share, fail("writing"));
    this.#durability = new Durability({
      ...{ placement: files.placement, journal: files.journal, clock },
      syncBytes: Math.min(SYNC_BYTES_MAX, Math.ceil(parts.head.windowBytes / 4)),
      onDurable: (records) => this.#durable(records),
      onFailure: fail("syncing"),
    });
    this.#intakes = new ChunkIntakes({
      ...{ archive: this.archive, chunkBytes: parts.head.chunkBytes, files: this.#files, log: parts.log },
      ...{ memory: this.#memory, writes: this.#writes, durability: this.#durability },
      lost: (file, sequence) => {
        if (this.#failure === undefined) events.lost(file, sequence);
      },
    });
    if (parts.recovered === undefined) return;
    this.#catchUp = new CatchUp({
      journal: files.journal,
      hashes: [this.#files[0].hash, this.#files[1].hash],
      onEnd: () => events.verified(),
      onFailure: fail("reading the journal of"),
    });
  }

  /**
   * A chunk's header arrived. Throws Failure E_PROTOCOL when it contradicts what is known, lies outside the window or comes
   * after Finish without having been here before, and the session's own failure once there is one.
   */
  beginChunk(place: ChunkPlace): Placing {
    this.#check();
    const { ledger } = this.#files[place.file];
    const claim = ledger.claim(place);
    if (claim === "duplicate") return { verdict: "duplicate" };
    // The write queue lets the older copy's running writes return before the newer one's to the same place start.
    if (claim === "again") this.#intakes.supersede(place);
    if (this.#state !== "open") {
      ledger.release(place.sequence);
      throw new Failure("E_PROTOCOL", `chunk ${place.sequence} of file ${place.file} comes after Finish`);
    }
    return { verdict: "new", writer: this.#intakes.begin(place) };
  }

  /** Stop reading from the session's connections until `events.relief`. Look after every `write` and `finish`. */
  get congested(): boolean {
    return this.#memory.congested;
  }

  /** Memory held by bytes that the disk has not taken yet. */
  get backlogBytes(): number {
    return this.#memory.backlogBytes;
  }

  /** Bytes that a crash cannot take, of both files; for who watches. */
  get durableBytes(): number {
    return this.#files[0].ledger.durableBytes + this.#files[1].ledger.durableBytes;
  }

  get receivedChunks(): number {
    return this.#files[0].ledger.receivedChunks + this.#files[1].ledger.receivedChunks;
  }

  /** Bytes received and right, of both files; for progress. */
  get receivedBytes(): number {
    return this.#files[0].ledger.receivedBytes + this.#files[1].ledger.receivedBytes;
  }

  /** After a restart, while what was durable is read and hashed again: bytes done, of how many. */
  get catchingUp(): { readonly doneBytes: number; readonly totalBytes: number } | undefined {
    if (this.#catchUp?.active !== true) return undefined;
    const [archive, index] = this.#files;
    return {
      doneBytes: archive.hash.hashedBytes + index.hash.hashedBytes,
      totalBytes: archive.ledger.durableBytes + index.ledger.durableBytes,
    };
  }

  /** True when every chunk that was received is durable. */
  get settled(): boolean {
    return this.#durability.settled;
  }

  /** What a Sack says now: the archive, and the index if anything of it was received. At most `rangesMax` ranges in all. */
  acknowledgement(rangesMax: number): FileAcknowledgement[] {
    const answer: FileAcknowledgement[] = [];
    let left = rangesMax;
    for (const { number: file, ledger } of this.#files) {
      if (file !== 0 && ledger.receivedChunks === 0) continue;
      const received = ledger.receivedRanges(left);
      left -= received.length;
      answer.push({ file, durableChunks: ledger.durableChunks, durableBytes: ledger.durableBytes, received });
    }
    return answer;
  }

  /** The last chunk of a file arrived (PUSH): sync at once instead of waiting for the second to pass. */
  push(): void {
    this.#share.hurry();
    this.#durability.hurry();
  }

  /**
   * Compares what arrived with what was read and commits it. Idempotent: asked again it gives the same answer, and
   * `onPhase` replaces the listener before. Rejects with E_MISMATCH when counts or proofs differ, E_PROTOCOL when chunks are
   * missing, E_DISK, E_DISK_FULL or E_STORAGE_FAILED; the server then calls `abort`.
   */
  finish(proof: SessionProof, onPhase: PhaseListener): Promise<CommitAnswer> {
    this.#onPhase = onPhase;
    this.#finishing ??= this.#finish(proof);
    return this.#finishing;
  }

  /**
   * Ends the session: stops everything, waits for writes that are under way, and removes all it left on the disk.
   * Resolves when that is done; never rejects (what could not be removed is logged, remembered and tried again).
   * Idempotent. Once the commit has begun (`phase` said committing) it waits for the commit and leaves its result.
   */
  abort(reason: Failure): Promise<void> {
    this.#ending ??= this.#end(reason, () => this.#parts.discard());
    return this.#ending;
  }

  /**
   * Stops as `abort` does and leaves on the disk what is durable, so that the next start of the server can go on with it.
   * Everything received becomes durable first, unless the disk fails.
   */
  suspend(reason: Failure): Promise<void> {
    this.#ending ??= this.#end(
      reason,
      () => this.#parts.leave(),
      () => this.#durability.settle(),
    );
    return this.#ending;
  }

  /** What the disk gives back of a chunk is not what arrived. While the agent still has it, it can be sent again. */
  #rotten({ file, sequence, offset, storedLength }: HashItem): void {
    const { ledger } = this.#files[file];
    const place: ChunkPlace = { file, sequence, offset, storedLength };
    if (this.#state === "open" && ledger.isReceived(sequence) && this.#durability.takeBack(place)) {
      ledger.lose(sequence);
      this.#lostAgain = [...this.#missingAgain(), place];
      this.#parts.log.warn("chunk reads back from the disk other than it arrived", { archive: this.archive, ...place });
      this.#parts.events.lost(file, sequence);
      return;
    }
    this.#fail(rottenFailure(place));
  }

  #missingAgain(): readonly ChunkPlace[] {
    return this.#lostAgain.filter(({ file, sequence }) => !this.#files[file].ledger.has(sequence));
  }

  /** Throws the session's failure if it has one. */
  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #finish(proof: SessionProof): Promise<CommitAnswer> {
    this.#check();
    assert(this.#state === "open", `finish in state ${this.#state}, expected open`);
    this.#state = "finishing";
    this.#share.hurry();
    try {
      // Finish was on its way when one was lost that had been called received: no breach of the agent's.
      const [missing] = this.#missingAgain();
      if (missing !== undefined) throw rottenFailure(missing);
      const intent = await finishSession(proof, {
        head: this.#parts.head,
        files: this.#files,
        placement: this.#parts.files.placement,
        durability: this.#durability,
        // All is hashed, but the journal may still be read for what was hashed before it was recorded.
        quiet: () => Promise.all([this.#writes.idle(), this.#catchUp?.done]),
        clock: this.#parts.clock,
        onPhase: (phase, done, total) => this.#onPhase(phase, done, total),
        check: () => this.#check(),
      });
      this.#check();
      this.#state = "committing";
      this.#onPhase("committing", 0, this.receivedBytes);
      // A crash before the intent is synced leaves a session to go on with, or, torn, the same.
      await this.#parts.files.journal.append(intent.record);
      const answer = await this.#parts.commit(intent.intent, () => this.#onPhase("rotating", 0, this.receivedBytes));
      this.#state = "committed";
      return answer;
    } catch (error) {
      const failure = error instanceof Failure ? error : diskFailure(error, `committing ${this.archive}`);
      this.#state = "failed";
      this.#failure ??= failure;
      throw this.#failure;
    }
  }

  async #end(reason: Failure, close: () => Promise<void>, before?: () => Promise<void>): Promise<void> {
    // Whoever asked for the commit hears how it ended.
    if (this.#state === "committing") await Promise.allSettled([this.#finishing]);
    if (this.#state === "committed") return;
    const sound = this.#failure === undefined;
    this.#state = "over";
    this.#failure ??= reason;
    this.#intakes.abort();
    this.#share.hurry();
    if (sound) await before?.();
    await this.#stop();
    // A Finish that was under way hears of the end at its next step, and uses the files until then.
    await Promise.allSettled([this.#finishing]);
    // No call is under way any more: only now are the files closed.
    await close();
  }

  /** The disk failed the session. */
  #fail(failure: Failure): void {
    const first = this.#failure === undefined;
    this.#failure ??= failure;
    if (this.#state === "open") this.#state = "failed";
    // Also when it is being suspended: that waits for bytes which this disk will not take any more.
    void this.#stop();
    if (first) this.#parts.events.failed(failure);
    else
      this.#parts.log.warn("the disk failed a session that was ending", {
        archive: this.archive,
        error: String(failure),
      });
  }

  /** Begins nothing new, gives the memory back and resolves when nothing is under way. Never rejects. */
  async #stop(): Promise<void> {
    this.#intakes.abort();
    this.#writes.stop();
    const ends = [this.#writes.idle(), this.#durability.stop(), ...this.#files.map((file) => file.hash.stop())];
    await Promise.all([...ends, this.#catchUp?.stop()]);
  }

  #durable(records: readonly ChunkRecord[]): void {
    const before = this.#files.map((file) => file.ledger.durableChunks);
    for (const record of records) this.#files[record.file].ledger.makeDurable(record.sequence);
    this.#catchUp?.recorded(records);
    if (this.#files.some((file, index) => file.ledger.durableChunks !== before[index])) this.#parts.events.durable();
  }
}

function rottenFailure({ file, sequence, offset, storedLength }: ChunkPlace): Failure {
  const what = `chunk ${sequence} of file ${file}, bytes ${offset} to ${offset + storedLength - 1}`;
  return new Failure("E_DISK", `${what}, reads back from the disk other than it arrived`);
}
