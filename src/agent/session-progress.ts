/** What a session says of itself: how far it is, and what it ended with. Values only. */
import type { Failure } from "#base/errors.ts";
import type { StreamCount } from "#observe/stream-stats.ts";
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
  readonly streams: readonly StreamCount[];
  readonly rttMs: number | undefined;
  /** Where the reader is, raw bytes. */
  readonly currentPath: Uint8Array;
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
