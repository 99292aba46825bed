/** A session that runs, as who watches it second by second sees it: plain values, from the server to session-series.ts and the page. */
import type { SessionView } from "./views.ts";

/** One slot. Null: this server does not know it of a slot. */
export interface LiveSlot {
  readonly slot: number;
  readonly state: "idle" | "receiving" | "disconnected" | "disabled";
  /** Of the newest connection; 0 before the first. */
  readonly generation: number;
  readonly bytes: number | null;
  readonly bytesPerSecond: number | null;
  readonly chunks: number | null;
  /** Chunks that came over it although they were here already. */
  readonly duplicateChunks: number | null;
  readonly reconnects: number;
  readonly rotations: number | null;
  readonly rttMs: number | null;
  /** An administrator has taken it out of use. */
  readonly parked: boolean;
}

export interface LiveView {
  readonly view: SessionView;
  /** A word of PhaseSpan. */
  readonly phase: string;
  /** Bytes of the phase; null where it has no measure. */
  readonly phaseDone: number | null;
  readonly phaseTotal: number | null;
  /** The agent's window, and what a crash cannot take any more. */
  readonly windowBytes: number;
  readonly durableBytes: number;
  /** Raw bytes of the entry's last committed session; 0: there was none. */
  readonly lastRawBytes: number;
  readonly slots: readonly LiveSlot[];
}
