/**
 * What the history keeps of an end: of a session that is over, of an agent that was not admitted. Values only; the log line
 * of a session's end is session-events.ts's.
 */
import type { ErrorCode } from "#base/catalogue.ts";
import type { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { Outcome as EndOutcome, SessionEnd } from "#observe/records.ts";
import type { Message } from "#wire/messages.ts";
import type { Outcome, SessionPlan, SessionTotals } from "./session-types.ts";

/** How a session ended, by the code of the reason; every other one is `failed`. */
const OUTCOME_OF: Readonly<Partial<Record<ErrorCode, EndOutcome>>> = {
  E_ABORTED: "aborted",
  E_REVOKED: "aborted",
  E_SESSION_EXPIRED: "expired",
  E_DISOWNED: "disowned",
  E_SUPERSEDED: "superseded",
  E_DISK_FULL: "disk-full",
  E_DISK: "disk-error",
  E_STORAGE_FAILED: "storage-failed",
  E_MISMATCH: "mismatch",
  E_CHUNK_DAMAGED: "damaged",
  E_PROTOCOL: "protocol",
  E_FRAME_TOO_LARGE: "protocol",
  E_SHUTDOWN: "shutdown",
  E_MAINTENANCE: "maintenance",
};

/** Who went away without being refused. */
const LEFT_OUTCOME_OF: Readonly<Partial<Record<ErrorCode, EndOutcome>>> = {
  E_SUPERSEDED: "superseded",
  E_DISOWNED: "disowned",
};

const NOTHING = {
  ...{ chunks: 0, bytes: 0, duplicateBytes: 0, damagedChunks: 0, breaks: 0, entries: 0, rawBytes: 0, problems: 0 },
  ...{ archive: null, archiveBytes: 0, sha256: null, removed: [], verify: "none" as const },
};

export function endOf(
  plan: SessionPlan,
  outcome: Outcome,
  counts: SessionTotals & { readonly durationMs: number },
): SessionEnd {
  const { id: session, agent, backup, storage, run, startWallMs, parallels } = plan;
  const streams = Math.max(1, parallels);
  const common = { session, agent, backup, storage, run, startWallMs, streams, ...NOTHING, ...counts };
  if (outcome.kind === "committed") {
    const { archive, bytes: archiveBytes, sha256, removed, verify } = outcome.answer;
    const proven = {
      archive,
      archiveBytes,
      sha256: Buffer.from(sha256).toString("hex"),
      removed: [...removed],
      verify,
    };
    return { ...common, ...proven, outcome: "committed", code: null, message: "committed", hint: null };
  }
  const { code, message, hint } = outcome.failure;
  const how = outcome.kind === "suspended" ? "suspended" : (OUTCOME_OF[code] ?? "failed");
  return { ...common, outcome: how, code, message, hint };
}

/** An agent on the way to a session. */
export interface Asker {
  readonly agent: string;
  readonly run: string;
  readonly remote: string;
  /** Undefined when it never said for which backup it came. */
  readonly request: Pick<Message<"begin">, "backup" | "storage" | "parallels"> | undefined;
}

/** It was not admitted: refused, or gone before. Who never asked for a backup has nothing that the history could keep. */
export function applicantEnded(asker: Asker, how: "refused" | "left", failure: Failure, wallMs: number): ObservedEvent {
  const { agent, run, remote, request } = asker;
  const { code, message, hint } = failure;
  const refused = how === "refused";
  const event: ObservedEvent = {
    kind: refused ? "admission.refused" : "admission.left",
    // Else somebody has to do something about it.
    level: !refused || failure.retryable ? "info" : "warn",
    message: refused ? `an agent was refused: ${message}` : "an agent left before it was admitted",
    fields: {
      ...{ agent, run, remote },
      ...(request === undefined ? {} : { backup: request.backup, storage: request.storage }),
      ...(refused ? { code, hint } : { reason: String(failure) }),
    },
    // It may come back at once, for ever.
    repeatKey: `${agent}/${request?.backup ?? ""} ${code}`,
    byAgent: agent,
  };
  if (request === undefined) return event;
  const { backup, storage, parallels } = request;
  const outcome = refused ? "refused" : (LEFT_OUTCOME_OF[code] ?? "left");
  const times = { startWallMs: wallMs, durationMs: 0 };
  const end: SessionEnd = {
    ...{ session: null, agent, backup, storage, run, outcome, code, message, hint, ...times },
    ...{ streams: Math.max(1, parallels), ...NOTHING },
  };
  return { ...event, end };
}

/** A connection was refused before it had a place; `agent` as the certificate says, if that could be read. */
export function connectionRefused(remote: string, agent: string | undefined, failure: Failure): ObservedEvent {
  const { code, hint } = failure;
  return {
    kind: "connection.refused",
    level: "warn",
    message: `connection refused: ${safeText(failure.message)}`,
    fields: { ...(agent === undefined ? {} : { agent }), remote, code, hint },
    // Without a name all are counted together: addresses are many.
    repeatKey: `${agent ?? ""} ${code}`,
  };
}

/** The agent broke the protocol on a connection, or a handler of this side has a bug. */
export function connectionClosed(remote: string, agent: string | undefined, failure: Failure): ObservedEvent {
  const { code, cause } = failure;
  const isBug = code === "E_INTERNAL";
  return {
    kind: "connection.closed",
    level: isBug ? "error" : "warn",
    message: `${isBug ? "a handler failed" : "connection closed"}: ${safeText(failure.message)}`,
    fields: { ...(agent === undefined ? {} : { agent }), remote, code, ...(isBug ? { error: cause } : {}) },
    repeatKey: `${agent ?? ""} ${code}`,
  };
}

/** Rotation or a prune removed archives of an entry. */
export function archivesRemoved(
  by: "rotation" | "prune",
  entry: { readonly storage: string; readonly agent: string; readonly backup: string },
  removed: readonly string[],
): ObservedEvent {
  const { storage, agent, backup } = entry;
  const what = removed.length === 1 ? "an archive was" : `${removed.length} archives were`;
  return {
    kind: "archives.removed",
    level: "info",
    message: `${what} removed by ${by}`,
    fields: { storage, agent, backup, removed },
  };
}
