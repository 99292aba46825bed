/**
 * The disk side of one session: chunks placed at their offset, hashed, made durable, and in the end committed as an
 * archive or removed without a trace. It knows no connections, slots or frames. Bodies follow.
 */
import type { Failure } from "#base/errors.ts";
import type {
  ChunkPlace,
  CommitAnswer,
  FileAcknowledgement,
  PhaseListener,
  Placing,
  SessionProof,
} from "./session-types.ts";

export class SessionStore {
  readonly session: string;
  /** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz`, the name it will have. */
  readonly archive: string;

  constructor(session: string, archive: string) {
    this.session = session;
    this.archive = archive;
  }

  /**
   * A chunk's header arrived. Throws Failure E_PROTOCOL when it contradicts what is known or lies outside the window,
   * E_LIMIT when too many chunks stand above the durable point, and the session's own failure once there is one.
   */
  beginChunk(_place: ChunkPlace): Placing {
    throw new Error("not built yet");
  }

  /** Stop reading from the session's connections until `events.relief`. Look after every `write` and `finish`. */
  get congested(): boolean {
    return false;
  }

  /** Bytes received but not yet taken by the disk. */
  get backlogBytes(): number {
    return 0;
  }

  /** Bytes received and right, of both files; for progress. */
  get receivedBytes(): number {
    return 0;
  }

  /** What a Sack says now, for each file that has any chunk (the archive always). At most `rangesMax` ranges in all. */
  acknowledgement(_rangesMax: number): FileAcknowledgement[] {
    return [];
  }

  /** True when every chunk that was received is durable. */
  get settled(): boolean {
    return true;
  }

  /** The last chunk of a file arrived (PUSH): sync at once instead of waiting for the second to pass. */
  push(): void {
    throw new Error("not built yet");
  }

  /**
   * Compares what arrived with what was read and commits it. Idempotent: asked again it gives the same answer. Rejects
   * with E_MISMATCH when counts or proofs differ, E_PROTOCOL when chunks are missing, E_DISK or E_DISK_FULL; the server
   * then calls `abort`.
   */
  finish(_proof: SessionProof, _onPhase: PhaseListener): Promise<CommitAnswer> {
    throw new Error("not built yet");
  }

  /**
   * Ends the session: stops everything, waits for writes that are under way, and removes all it left on the disk.
   * Resolves when that is done; never rejects (what could not be removed is logged and removed at the next start).
   * Idempotent. Once the commit has begun (`phase` said committing) it waits for the commit and leaves its result.
   */
  abort(_reason: Failure): Promise<void> {
    throw new Error("not built yet");
  }
}
