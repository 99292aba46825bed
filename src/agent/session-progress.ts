/** What a session says of itself: how far it is, and what it ended with. Values only. */
import type { Failure } from "#base/errors.ts";
import type { Message } from "#wire/messages.ts";
import type { ReadSummary } from "./producer.ts";

/**
 * `reading`: chunks are still being made. `sending`: all are made. `finishing`: the server has all and was asked to commit.
 * `verifying`: it is committed, and the server reads it again.
 */
export type SessionPhase = "reading" | "sending" | "finishing" | "verifying" | "ended";

export interface SessionProgress {
  readonly phase: SessionPhase;
  /** What the server is doing after Finish, bytes. */
  readonly serverPhase: Message<"phase"> | undefined;
  readonly entries: number;
  readonly rawBytes: number;
  /** Stored bytes made so far, and how many of them are durable on the server. */
  readonly storedBytes: number;
  readonly durableBytes: number;
  readonly resentBytes: number;
  readonly windowBytes: number;
  readonly reconnects: number;
  readonly streamsUp: number;
  /** By slot. */
  readonly streams: readonly SlotProgress[];
  /** undefined when the session connection carries the data. */
  readonly autoscaler: AutoscalerProgress | undefined;
  readonly rttMs: number | undefined;
  /** Where the reader is, raw bytes. */
  readonly currentPath: Uint8Array;
}

/** `idle`: it is being opened. `draining`: it carries on with the chunk in hand and is closed then. `parked`: it is not wanted. */
export type SlotActivity = "idle" | "up" | "draining" | "parked";

/** One slot and its connections so far. */
export interface SlotProgress {
  readonly slot: number;
  readonly state: SlotActivity;
  /** Data frames, whatever became of them. */
  readonly sentBytes: number;
  readonly chunks: number;
  readonly rttMs: number | undefined;
  /** Connections that broke. */
  readonly reconnects: number;
  /** Connections that were exchanged on purpose. */
  readonly rotations: number;
}

export interface AutoscalerProgress {
  readonly mode: "efficiency" | "adaptive";
  readonly enabled: boolean;
  /** Streams that are to carry data, and the most there can be. */
  readonly active: number;
  readonly max: number;
  readonly state: "steady" | "growing" | "shrinking" | "cooling" | "frozen";
  /** Bytes per second that there were to be sent, and that the streams could have taken; undefined before the first window. */
  readonly producedRate: number | undefined;
  readonly drainRate: number | undefined;
}

export interface SessionEnd {
  readonly committed: Message<"committed">;
  readonly summary: ReadSummary;
  readonly verify: VerifyEnd;
}

/** What became of the verification after the commit. */
export interface VerifyEnd {
  /** `none`: the storage wants none. `pending`: nobody waited for it. `unknown`: nobody could say. */
  readonly state: "none" | "pending" | "ok" | "damaged" | "unknown";
  /** Why it is not as it should be; undefined when it is, as far as anybody waited for it. */
  readonly failure: Failure | undefined;
}
