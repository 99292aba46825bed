/**
 * The chunks of one session that are on their way from connections to their places: each is begun here, and what becomes of
 * it goes to the ledger, the hash and durability. Whether a chunk may come at all, the session's store has decided before.
 */
import { must } from "#base/assert.ts";
import type { FileNumber } from "#base/chunk.ts";
import type { Logger } from "#base/log.ts";
import { ChunkIntake, type IntakeHost } from "./chunk-intake.ts";
import type { Durability } from "./durability.ts";
import type { SessionFile } from "./finish.ts";
import type { IntakeMemory, Piece } from "./intake-memory.ts";
import type { ChunkRecord } from "./journal-format.ts";
import type { ChunkPlace, ChunkWriter } from "./session-types.ts";
import type { WriteQueue } from "./write-queue.ts";

export interface ChunkIntakesParts {
  /** For log lines. */
  readonly archive: string;
  /** The most raw bytes of a chunk, without pax records. */
  readonly chunkBytes: number;
  /** By file number. */
  readonly files: readonly [SessionFile, SessionFile];
  readonly log: Logger;
  readonly memory: IntakeMemory;
  readonly writes: WriteQueue;
  readonly durability: Durability;
  /** The chunk is to be sent again. */
  readonly lost: (file: FileNumber, sequence: number) => void;
}

export class ChunkIntakes {
  readonly #parts: ChunkIntakesParts;
  readonly #host: IntakeHost;
  readonly #intakes = new Set<ChunkIntake>();
  /** Those of #intakes with a half-filled piece, the oldest first. */
  readonly #halfFilled = new Set<ChunkIntake>();

  constructor(parts: ChunkIntakesParts) {
    this.#parts = parts;
    this.#host = this.#makeHost();
  }

  /** The ledger has the chunk's claim. */
  begin(place: ChunkPlace): ChunkWriter {
    const intake = new ChunkIntake(this.#host, place);
    this.#intakes.add(intake);
    return intake;
  }

  /** A newer copy takes over from the one that is on its way. */
  supersede(place: ChunkPlace): void {
    const carrier = [...this.#intakes].find((intake) => intake.carries(place));
    const older = must(carrier, `intake of chunk ${place.sequence}`);
    older.supersede();
    this.#intakes.delete(older);
  }

  /** Gives all up. */
  abort(): void {
    for (const intake of [...this.#intakes]) intake.abort();
  }

  #makeHost(): IntakeHost {
    const { archive, chunkBytes, files, log, memory, writes, durability, lost } = this.#parts;
    const ended = (intake: ChunkIntake): void => {
      this.#intakes.delete(intake);
    };
    return {
      memory,
      writes,
      chunkBytes,
      // For every byte that comes one is hashed, if any is at hand: so the hash is never far behind, nor in the way.
      took: (file, bytes) => files[file].hash.step(bytes),
      pieceOpened: (intake) => this.#pieceOpened(intake),
      pieceClosed: (intake) => this.#halfFilled.delete(intake),
      received: (intake, record, pieces) => {
        ended(intake);
        this.#received(record, pieces);
      },
      placed: (record) => durability.placed(record),
      damaged: (intake, place, wrong) => {
        ended(intake);
        files[place.file].ledger.release(place.sequence);
        log.warn("chunk arrived damaged", { archive, ...place, wrong });
        lost(place.file, place.sequence);
      },
      aborted: (intake, place) => {
        ended(intake);
        if (files[place.file].ledger.release(place.sequence)) lost(place.file, place.sequence);
      },
    };
  }

  #received(record: ChunkRecord, pieces: readonly Piece[]): void {
    const { ledger, hash } = this.#parts.files[record.file];
    ledger.receive(record.sequence);
    this.#parts.durability.received(record.storedLength);
    hash.add({ ...record, pieces });
  }

  /**
   * Half-filled buffers of slow streams must not use up the backlog: the oldest are written as they are, as much as the
   * new one takes. So never more than half of the backlog waits to be filled, and a congested session is relieved
   * whatever the streams do.
   */
  #pieceOpened(intake: ChunkIntake): void {
    let excess = this.#parts.memory.crowded ? intake.openBytes : 0;
    for (const older of this.#halfFilled) {
      if (excess <= 0) break;
      excess -= older.openBytes;
      older.flush();
    }
    this.#halfFilled.add(intake);
  }
}
