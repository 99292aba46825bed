/**
 * What is kept of the past as plain values: one record for each end of a session or refusal of an agent, one for each
 * event. The same values are a line of a file, an answer on the control socket and a row of the page. Nothing is kept here.
 */
import * as z from "zod/mini";

/** How a session ended, or what became of who asked for one. Never renamed: people filter by it. */
export const OUTCOMES = [
  "committed",
  /** By an administrator. */
  "aborted",
  /** Nothing was heard of the agent for session_idle_timeout. */
  "expired",
  /** Never began. */
  "refused",
  /** The agent went away before it was admitted. */
  "left",
  /** The agent gave it up. */
  "disowned",
  /** A newer run of the agent took its place. */
  "superseded",
  "disk-full",
  "disk-error",
  "storage-failed",
  /** What arrived is not what was read. */
  "mismatch",
  /** Too many chunks arrived damaged. */
  "damaged",
  "protocol",
  /** Ended by an administrator who turned maintenance on; the agent begins again later. */
  "maintenance",
  /** Ended by a server that was stopping. */
  "shutdown",
  /** Left on the disk by a server that was stopping; it goes on after the start. */
  "suspended",
  "failed",
] as const;

export type Outcome = (typeof OUTCOMES)[number];

const count = z.number();
const text = z.string();
const textOrNull = z.nullable(text);

const sessionRecord = z.object({
  /** Null for an agent that was not admitted. */
  session: textOrNull,
  agent: text,
  backup: text,
  storage: text,
  /** UUID of the agent's run. */
  run: text,
  outcome: z.catch(z.enum(OUTCOMES), "failed"),
  /** Of the error catalogue; null when it was committed. */
  code: textOrNull,
  message: text,
  hint: textOrNull,
  startWallMs: count,
  endWallMs: count,
  durationMs: count,
  /** Connections that carry data. */
  streams: count,
  /** Taken, with their stored bytes. */
  chunks: count,
  bytes: count,
  /** Came although they were there already: what the agent sent twice. */
  duplicateBytes: count,
  damagedChunks: count,
  /** Connections that broke. */
  breaks: count,
  entries: count,
  rawBytes: count,
  /** Source files that could not be read as they are. */
  problems: count,
  archive: textOrNull,
  archiveBytes: count,
  sha256: textOrNull,
  /** Archives that rotation removed after the commit. */
  removed: z.array(text),
  /** Whether the archive is read again after the commit; what came of it, where somebody has asked. */
  verify: z._default(z.enum(["none", "pending", "ok", "damaged", "unknown"]), "none"),
  /** Further ones like it within the minute that this record stands for. */
  repeats: count,
});

export type SessionRecord = Readonly<z.infer<typeof sessionRecord>>;

/** What the session itself says; the time is put to it where it is kept. */
export type SessionEnd = Omit<SessionRecord, "endWallMs" | "repeats">;

const eventRecord = z.object({
  wallMs: count,
  /** Stable: `session.ended`, `storage.failed` … */
  kind: text,
  level: z.enum(["debug", "info", "warn", "error"]),
  message: text,
  fields: z.record(text, z.unknown()),
});

export type EventRecord = Readonly<z.infer<typeof eventRecord>>;

export function parseSessionRecord(value: unknown): SessionRecord | undefined {
  const result = z.safeParse(sessionRecord, value);
  return result.success ? result.data : undefined;
}

export function parseEventRecord(value: unknown): EventRecord | undefined {
  const result = z.safeParse(eventRecord, value);
  return result.success ? result.data : undefined;
}
