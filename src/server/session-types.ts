/** What a session is to those around it: what was agreed at admission, how it ended, what it counted. */
import type { Compression } from "#base/chunk.ts";
import type { Failure } from "#base/errors.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { CommitAnswer } from "#store/session-types.ts";
import type { Finishing } from "./finishing.ts";
import type { SlotTable } from "./slots.ts";

/** Agreed at admission; never changes. */
export interface SessionPlan {
  readonly id: string;
  readonly agent: string;
  readonly backup: string;
  readonly storage: string;
  /** UUID of the agent's run that began it: only that one may come back to it. */
  readonly run: string;
  /** 0: data on the session connection. */
  readonly parallels: number;
  readonly windowBytes: number;
  readonly chunkBytes: number;
  readonly compression: Compression;
  /** What it will store as far as anyone knows, bytes. */
  readonly expectedBytes: number;
  /** Totals of the entry's last committed session, 0 when there was none: the agent's progress is measured by them. */
  readonly lastEntries: number;
  readonly lastRawBytes: number;
  /** Wall clock at admission. */
  readonly startWallMs: number;
  /** Why no older archive is to be removed for it, in the agent's words; not known any more after a start of the server. */
  readonly holdRotation?: string | undefined;
}

export type Outcome =
  | { readonly kind: "committed"; readonly answer: CommitAnswer }
  | { readonly kind: "ended"; readonly failure: Failure }
  /** It lies on the disk until the next start of the server. */
  | { readonly kind: "suspended"; readonly failure: Failure };

/** A session that is over, as long as it is remembered. */
export interface PastSession {
  readonly id: string;
  readonly agent: string;
  readonly run: string;
  readonly outcome: Outcome;
}

/** Counts over the whole session. */
export interface SessionTotals {
  chunks: number;
  /** Stored bytes of chunks taken. */
  bytes: number;
  /** Stored bytes that came although they were there already. */
  duplicateBytes: number;
  damagedChunks: number;
  /** Connections that broke. */
  breaks: number;
  /** Of the agent's last Ping, in the end of its Finish. */
  entries: number;
  rawBytes: number;
  /** Source files that could not be read as they are, known at Finish. */
  problems: number;
}

/** A session as status and metrics see it. */
export interface SessionFacts {
  readonly totals: Readonly<SessionTotals>;
  readonly durationMs: number;
  /** Received bytes that wait for the disk. */
  readonly backlogBytes: number;
  /** Its connections are not read, because the disk is behind. */
  readonly stalled: boolean;
  readonly slots: Pick<SlotTable, "view" | "receivingCount">;
  /** Undefined before it was admitted. */
  readonly store: Pick<SessionStore, "durableBytes" | "receivedBytes" | "catchingUp"> | undefined;
  /** Undefined before Finish came. */
  readonly finishing: Pick<Finishing, "phase"> | undefined;
}
