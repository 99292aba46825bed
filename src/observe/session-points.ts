/** What is kept of how sessions went, as plain values: points over time, phases, and the lines of `active_sessions_file`. */
import * as z from "zod/mini";

const count = z.number();
const text = z.string();

const seriesPoint = z.object({
  wallMs: count,
  /** Over the time since the point before. */
  receivedRate: count,
  writtenRate: count,
  /** Stored bytes taken so far. */
  bytes: count,
  /** Received bytes that wait for the disk. */
  backlogBytes: count,
  /** What the agent may have to keep: received or sent, not yet durable; null where nobody knows. */
  windowUsedBytes: z.nullable(count),
  streamsUp: count,
  /** Null where no connection has measured one. */
  rttMs: z.nullable(count),
});

export type SeriesPoint = Readonly<z.infer<typeof seriesPoint>>;

const phaseSpan = z.object({
  /** `receiving`, `parked`, `hashing`, `assembling`, `committing`, `rotating`, `verifying` */
  phase: text,
  startWallMs: count,
  /** Null: it is in it. */
  endWallMs: z.nullable(count),
});

export type PhaseSpan = Readonly<z.infer<typeof phaseSpan>>;

const activeSnapshot = z.object({
  wallMs: count,
  session: text,
  agent: text,
  backup: text,
  storage: text,
  /** The last line of a session that is over has `ended`. */
  state: text,
  startWallMs: count,
  windowBytes: z._default(z.nullable(count), null),
  chunks: count,
  duplicateBytes: count,
  entries: count,
  rawBytes: count,
  expectedBytes: count,
  point: seriesPoint,
  phases: z.array(phaseSpan),
});

/** One session at one moment: a line of `active_sessions_file`. */
export type ActiveSnapshot = Readonly<z.infer<typeof activeSnapshot>>;

export function parseActiveSnapshot(value: unknown): ActiveSnapshot | undefined {
  const result = z.safeParse(activeSnapshot, value);
  return result.success ? result.data : undefined;
}
