/** What is said on a control connection only, PROTOCOL.md "Control": facts in Pings and Pongs, runs, renewals. */
import { z } from "zod";
import {
  CERTIFICATE_TEXT_CHARS_MAX,
  CODE_CHARS_MAX,
  CONTROL_ENTRIES_MAX,
  DISOWN_TEXT_CHARS_MAX,
  HEALTH_STORAGES_MAX,
  REQUEST_BYTES_MAX,
  SUCCESSOR_BYTES_MAX,
  SUCCESSOR_SIGNATURE_BYTES_MAX,
  SUCCESSORS_MAX,
  WORD_CHARS_MAX,
} from "./limits.ts";
import { bytes, failureFields, name, u32, u8, uint, uuid } from "./message-fields.ts";

const word = z.string().max(WORD_CHARS_MAX);

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
  /** The place, from 1, of the newest one that it trusts of the new CAs that this connection was told of; missing before it was told of any. */
  successors: uint.optional(),
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
  /** It renews certificates: Renew may be sent. */
  renews: z.boolean().optional(),
  /** CAs that have followed the agents' one, the oldest first, each with what that one has signed: PROTOCOL.md "Control". */
  successors: z
    .array(z.object({ certificate: bytes(SUCCESSOR_BYTES_MAX), signature: bytes(SUCCESSOR_SIGNATURE_BYTES_MAX) }))
    .max(SUCCESSORS_MAX)
    .optional(),
});

/** Begin a run of this backup entry now. */
const run = z.object({ request: u32, backup: name });

const runAnswer = z.object({
  request: u32,
  /** It runs, or waits in the agent's own line. */
  accepted: z.boolean(),
  /** Why not, or what becomes of it. */
  code: z.string().max(CODE_CHARS_MAX).optional(),
  message: z.string().max(DISOWN_TEXT_CHARS_MAX).optional(),
});

const renew = z.object({
  request: u32,
  /** PKCS#10, DER: the new key, under the name of the connection's certificate. */
  certificateRequest: bytes(REQUEST_BYTES_MAX),
});

const renewAnswer = z
  .object({
    request: u32,
    /** PEM: the new certificate, then intermediates if there are any. */
    certificate: z.string().max(CERTIFICATE_TEXT_CHARS_MAX).optional(),
    /** Why there is none. */
    failure: z.object(failureFields).optional(),
  })
  .refine(({ certificate, failure }) => (certificate === undefined) !== (failure === undefined), "not one answer");

/** By frame type. */
export const CONTROL_MESSAGES = { run, runAnswer, renew, renewAnswer } as const;
