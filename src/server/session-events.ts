/** What sessions tell the log and the event list, and their outcome as the agent hears it: values, nothing is sent here. */
import { safeText } from "#base/safe-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { CommitAnswer } from "#store/session-types.ts";
import type { Message } from "#wire/messages.ts";
import { COMMITTED_REMOVED_MAX } from "./limits.ts";
import { endOf } from "./session-ends.ts";
import type { Outcome, SessionPlan, SessionTotals } from "./session-types.ts";

/** The body of `Admitted`. */
export function admittedOf(
  { id: session, compression, chunkBytes, lastEntries, lastRawBytes }: SessionPlan,
  archive: string,
  generations: { readonly generation: number; readonly slotGeneration: number },
): Message<"admitted"> {
  return { session, ...generations, compression, chunkBytes, archive, lastEntries, lastRawBytes };
}

/** The body of `Committed`. */
export function committedOf(answer: CommitAnswer): Message<"committed"> {
  const { session, archive, bytes, sha256, removed, verify } = answer;
  const follows = verify === "pending" ? { verify } : {};
  return { session, archive, bytes, sha256, removed: removed.slice(0, COMMITTED_REMOVED_MAX), ...follows };
}

/** Something that happened to a session that goes on. */
export function sessionEvent(
  plan: SessionPlan,
  kind: string,
  message: string,
  fields: Record<string, unknown>,
): ObservedEvent {
  return { kind, level: "info", message, fields: { ...placeOf(plan), ...fields }, byAgent: plan.agent };
}

/** The agent doubts its sources: somebody should look before the next run removes an archive. */
export function rotationHeld(plan: SessionPlan, reason: string): ObservedEvent {
  const message = `rotation is held for this session of ${plan.agent}/${plan.backup}: ${safeText(reason)}`;
  return { ...sessionEvent(plan, "rotation.held", message, { reason: safeText(reason) }), level: "warn" };
}

/** Fewer archives before it tell nothing of what is usual. */
const EARLIER_MIN = 2;

/** The archive is less than half of what the last ones were, in the middle; undefined when it is not, or nobody can say. */
function archiveShrunk(
  plan: SessionPlan,
  { archive, bytes, earlierBytes = [] }: CommitAnswer,
): ObservedEvent | undefined {
  if (earlierBytes.length < EARLIER_MIN) return undefined;
  const sorted = earlierBytes.toSorted((a, b) => a - b);
  const [below = 0, above = 0] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  const medianBytes = (below + above) / 2;
  if (bytes * 2 >= medianBytes) return undefined;
  const message = `${archive} has ${formatSize(bytes)}, less than half of what the ${earlierBytes.length} before it had: ${formatSize(medianBytes)} in the middle`;
  return {
    ...sessionEvent(plan, "archive_shrunk", message, { archive, archiveBytes: bytes, medianBytes }),
    level: "warn",
  };
}

/** What is told when a session is over, that first. */
export function endEvents(
  plan: SessionPlan,
  outcome: Outcome,
  totals: Readonly<SessionTotals>,
  durationMs: number,
): ObservedEvent[] {
  const shrunk = outcome.kind === "committed" ? archiveShrunk(plan, outcome.answer) : undefined;
  return [sessionEnded(plan, outcome, totals, durationMs), ...(shrunk === undefined ? [] : [shrunk])];
}

/** The one line that every session ends with: how, why, and its totals. */
function sessionEnded(
  plan: SessionPlan,
  outcome: Outcome,
  totals: Readonly<SessionTotals>,
  durationMs: number,
): ObservedEvent {
  const counts = { ...totals, durationMs: Math.round(durationMs) };
  const end = endOf(plan, outcome, counts);
  if (outcome.kind === "committed") {
    const { archive, bytes, sha256, removed } = outcome.answer;
    return {
      kind: "session.committed",
      level: "info",
      message: `committed ${archive}: ${formatSize(bytes)} in ${formatDuration(durationMs)}`,
      fields: {
        ...placeOf(plan),
        archive,
        archiveBytes: bytes,
        sha256: Buffer.from(sha256).toString("hex"),
        removed,
        ...counts,
      },
      end,
    };
  }
  const { failure } = outcome;
  if (outcome.kind === "suspended") {
    return {
      kind: "session.suspended",
      level: "info",
      message: `session waits on the disk for the next start of the server: ${failure.message}`,
      fields: { ...placeOf(plan), code: failure.code, ...counts },
      end,
      byAgent: plan.agent,
    };
  }
  return {
    kind: "session.ended",
    // Superseded is what a killed agent's session is by its next run: nothing for anybody to mend.
    level: failure.retryable || failure.code === "E_SUPERSEDED" ? "warn" : "error",
    message: `session ended without an archive: ${failure.message}`,
    fields: { ...placeOf(plan), code: failure.code, hint: failure.hint, ...counts },
    end,
    byAgent: plan.agent,
  };
}

/** Of a session that ended before it had done anything here. */
export const NO_TOTALS: Readonly<SessionTotals> = {
  chunks: 0,
  bytes: 0,
  duplicateBytes: 0,
  damagedChunks: 0,
  breaks: 0,
  entries: 0,
  rawBytes: 0,
  problems: 0,
};

function placeOf(plan: SessionPlan): Record<string, unknown> {
  return { session: plan.id, agent: plan.agent, backup: plan.backup, storage: plan.storage };
}
