/** What agent and server tell of themselves in Ping and Pong of a control connection, as PROTOCOL.md "Control" describes it. */
import { z } from "zod";
import { name, u8, uint, uuid, word } from "./field-types.ts";
import { CODE_CHARS_MAX, CONTROL_ENTRIES_MAX, HEALTH_STORAGES_MAX } from "./limits.ts";

const autoscaler = z.object({
  mode: word,
  active: u8,
  max: u8,
  state: word.optional(),
  /** Bytes per second that the streams could take, and those that there were to be sent. */
  rate: uint.optional(),
  producedRate: uint.optional(),
});

/** What an agent tells of one backup entry on its control connection. */
const entryFacts = z.object({
  backup: name,
  storage: name,
  activity: z.enum(["idle", "waiting", "running"]),
  session: uuid.optional(),
  phase: word.optional(),
  entries: uint.optional(),
  rawBytes: uint.optional(),
  storedBytes: uint.optional(),
  durableBytes: uint.optional(),
  /** Microseconds. */
  rttUs: uint.optional(),
  streamsUp: u8.optional(),
  slots: u8.optional(),
  autoscaler: autoscaler.optional(),
  /** Milliseconds since 1970 UTC by the agent's clock. */
  nextWallMs: uint.optional(),
  /** `committed`, or a code of the error catalogue. */
  lastResult: z.string().max(CODE_CHARS_MAX).optional(),
  lastWallMs: uint.optional(),
  lastSuccessWallMs: uint.optional(),
});

/** What an agent tells of itself and its machine. */
export const agentFacts = z.object({
  uptimeMs: uint,
  /** Thousandths of one processor, since the Ping before. */
  cpuPermille: uint.optional(),
  /** Thousandths of all processors. */
  machineCpuPermille: uint.optional(),
  residentBytes: uint.optional(),
  /** Hundredths of the load average of a minute. */
  loadHundredths: uint.optional(),
  /** Free on the disk of state_dir. */
  freeBytes: uint.optional(),
  /** As the agent measures it on this connection. */
  rttUs: uint.optional(),
  rttDeviationUs: uint.optional(),
  /** Those that run or wait first, then those that are next; when there are more than the limit the rest is left out. */
  backups: z.array(entryFacts).max(CONTROL_ENTRIES_MAX),
  backupCount: uint,
});

/** What a server tells of itself, to the agent whose connection it is. */
export const serverFacts = z.object({
  /** Hundredths of the load average of a minute. */
  loadHundredths: uint.optional(),
  cpus: uint.optional(),
  sessions: z.object({ running: uint, max: uint, waiting: uint }),
  /** Those that the agent may use. */
  storages: z.array(z.object({ name, freeBytes: uint.optional() })).max(HEALTH_STORAGES_MAX),
  storageCount: uint,
  maintenance: z.boolean().optional(),
});
