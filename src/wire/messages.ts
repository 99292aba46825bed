/**
 * The control messages: shape and limits of each, as PROTOCOL.md "Messages" describes them. Payloads are msgpack maps;
 * unknown keys are ignored so that a later version may add some. This file neither encodes nor sends.
 */
import { z } from "zod";
import { TRAIL_PREFIX_BYTES, TRAIL_PREFIXES_MAX } from "#base/root-trail.ts";
import { UNREAD_BYTES_MAX, UNREAD_PATHS_MAX } from "#base/chunk.ts";
import { agentFacts, CONTROL_MESSAGES, serverFacts } from "./control-messages.ts";
import { ENROLL_MESSAGES } from "./enroll-messages.ts";
import {
  ARCHIVE_DAMAGE_CHARS_MAX,
  ARCHIVE_ROWS_MAX,
  CODE_CHARS_MAX,
  DISOWN_TEXT_CHARS_MAX,
  HEALTH_REASON_CHARS_MAX,
  HOLD_REASON_CHARS_MAX,
  HEALTH_STORAGES_MAX,
  KEEPALIVE_MS_MAX,
  KEEPALIVE_MS_MIN,
  LOST_CHUNKS_MAX,
  ORDER_REASON_CHARS_MAX,
  READ_BYTES_MAX,
  SACK_RANGES_MAX,
  SLOTS_MAX,
} from "./limits.ts";
import { failureFields, name, text, u32, u8, uint, uuid } from "./message-fields.ts";

/** Paths at and below which an archive may lack what was there: all of them, where it is told. */
const unread = z
  .array(z.custom<Uint8Array>((b) => b instanceof Uint8Array && b.length > 0, "not a path"))
  .max(UNREAD_PATHS_MAX)
  .refine((paths) => paths.reduce((sum, { length }) => sum + length, 0) <= UNREAD_BYTES_MAX, "too many bytes")
  .optional();
const digest = z.custom<Uint8Array>((b) => b instanceof Uint8Array && b.length === 32, "not 32 bytes");
const fileNumber = z.union([z.literal(0), z.literal(1)]);
const slot = u8.max(SLOTS_MAX - 1);

const hello = z.object({
  role: z.enum(["control", "session", "stream", "health", "read"]),
  versionMin: u32,
  versionMax: u32,
  /** agent.name; must equal the certificate's CN. */
  agent: name,
  /** `nbackup-agent 0.1.0` */
  software: text,
  /** Made anew by every run of an agent process: tells its connections from those of another run. */
  run: uuid,
  /** role stream, and role session that resumes. */
  session: uuid.optional(),
  /** role stream. */
  slot: slot.optional(),
  /** role control: how often the agent says something; HEARTBEAT_MS unless told. */
  keepaliveMs: z.number().int().min(KEEPALIVE_MS_MIN).max(KEEPALIVE_MS_MAX).optional(),
});

const welcome = z.object({
  version: u32,
  software: text,
  /** Made anew by every start of the server: what it said it "received" holds only for one boot. */
  boot: uuid,
  /** The session's generation, after a resume or for a stream. */
  generation: u32,
  /** The slot's generation, to be carried by Data frames of this connection: role stream, and a resumed session with parallels 0. */
  slotGeneration: u32,
});

const refused = z.object(failureFields);

const begin = z.object({
  backup: name,
  storage: name,
  /** What the agent expects to store; the server uses the larger of this and the last archive's size. */
  estimateBytes: uint,
  /** resume.chunk_size, or 0: the server's default for the storage's compression. */
  chunkBytes: uint,
  windowBytes: uint,
  /** 0: data goes over the session connection as slot 0; else the number of slots. */
  parallels: u8,
  /** The agent doubts what it sends: no older archive is to be removed for it. The reason, for people. */
  holdRotation: z.string().max(HOLD_REASON_CHARS_MAX).optional(),
});

const queued = z.object({ position: u32 });

const admitted = z.object({
  session: uuid,
  generation: u32,
  /** With parallels 0: the generation of slot 0. */
  slotGeneration: u32,
  compression: z.object({ mode: z.enum(["gzip", "zst"]), level: u8 }),
  chunkBytes: uint,
  /** `web-01/home/2026-02-12T02-00-00-123Z.tar.gz` */
  archive: text,
  /** Totals of the last committed session of this entry, 0 when there was none: for progress and ETA. */
  lastEntries: uint,
  lastRawBytes: uint,
});

/** First and last sequence number, both included. */
const range = z.tuple([u32, u32]);

const sack = z.object({
  boot: uuid,
  generation: u32,
  files: z
    .array(
      z.object({
        file: fileNumber,
        /** All chunks below this sequence number are on disk for good. */
        durableChunks: u32,
        durableBytes: uint,
        /** Chunks at or above it that have arrived: all of them, unless there are more than the limit. */
        received: z.array(range).max(SACK_RANGES_MAX),
      }),
    )
    .max(2),
  /** Chunks that arrived damaged, or were lost: to be sent again. */
  lost: z.array(z.tuple([fileNumber, u32])).max(LOST_CHUNKS_MAX),
  /** The server is not reading because its disk is behind. */
  stalled: z.boolean(),
});

/** What the root was after every so many chunks: PROTOCOL.md "Integrity". */
const trail = z.custom<Uint8Array>(
  (b) => b instanceof Uint8Array && b.length <= TRAIL_PREFIXES_MAX * TRAIL_PREFIX_BYTES,
  "not a trail",
);

const finish = z.object({
  files: z
    .array(z.object({ file: fileNumber, chunks: u32, bytes: uint, sha256: digest, root: digest, trail }))
    .min(1)
    .max(2),
  entries: uint,
  rawBytes: uint,
  problems: uint,
  unread,
});

const phase = z.object({
  phase: z.enum(["assembling", "hashing", "committing", "verifying"]),
  done: uint,
  total: uint,
});

const committed = z.object({
  session: uuid,
  archive: text,
  bytes: uint,
  sha256: digest,
  /** Archives that rotation removed for this one. */
  removed: z.array(text).max(1000),
  /** The archive is read again from the disk now, and Verified follows. */
  verify: z.literal("pending").optional(),
});

const verified = z.object({
  session: uuid,
  /** `unknown`: it was gone before, or cannot be read. */
  result: z.enum(["ok", "damaged", "unknown"]),
  /** What is damaged, or why nobody knows; empty when all is well. */
  message: text,
});

const ended = z.object({
  session: uuid,
  ...failureFields,
});

const disown = z.object({
  code: z.string().max(CODE_CHARS_MAX),
  message: z.string().max(DISOWN_TEXT_CHARS_MAX),
  /** Instead of a Begin: the backup whose session, or place in line, this run gives up. */
  backup: name.optional(),
});

const ping = z.object({
  id: u32,
  /** What the agent has read so far, on the session connection. */
  entries: uint.optional(),
  rawBytes: uint.optional(),
  /** On a control connection. */
  agent: agentFacts.optional(),
});

const pong = z.object({
  id: u32,
  /** On a control connection. */
  server: serverFacts.optional(),
});

const goodbye = z.object({});

const health = z.object({
  /** The worst of what is wrong: in this order MAINTENANCE, LOW_DISK, BUSY. */
  state: z.enum(["READY", "BUSY", "LOW_DISK", "MAINTENANCE"]),
  /** Those in trouble first; when there are more than the limit the rest is left out. */
  storages: z
    .array(
      z.object({
        name,
        freeBytes: uint,
        reserveBytes: uint,
        /** `low`: less free than its reserve. `full`: nothing. `failed`: it cannot be used, and nothing is known of its space. */
        state: z.enum(["ok", "low", "full", "failed"]),
        reason: z.string().max(HEALTH_REASON_CHARS_MAX).optional(),
      }),
    )
    .max(HEALTH_STORAGES_MAX),
  storageCount: uint,
  sessions: z.object({ running: uint, max: uint, waiting: uint }),
  /** Whole days until the server's own certificate ends; 0 on the last. Not part of the state. */
  certificateDaysLeft: uint.optional(),
});

const list = z.object({
  request: u32,
  /** All unless told. */
  storage: name.optional(),
  backup: name.optional(),
  /** Also what takes looking up, archive by archive: entries, rawBytes, durationMs, problems, unread. */
  facts: z.boolean(),
});

/** `2026-02-12T02-00-00-123Z.tar.gz`: whether it is one is for the server to say. */
const archiveName = z.string().max(64);

const archives = z.object({
  request: u32,
  rows: z
    .array(
      z.object({
        storage: name,
        backup: name,
        name: archiveName,
        bytes: uint,
        hasIndex: z.boolean(),
        entries: uint.optional(),
        rawBytes: uint.optional(),
        durationMs: uint.optional(),
        problems: uint.optional(),
        unread,
        sha256: digest.optional(),
        /** What a verification found wrong with it. */
        damage: z.string().max(ARCHIVE_DAMAGE_CHARS_MAX).optional(),
      }),
    )
    .max(ARCHIVE_ROWS_MAX),
  /** Why nothing is told of a storage; there are no rows then. */
  failure: z.object(failureFields).optional(),
  /** No more follow for this request. */
  last: z.boolean(),
});

const open = z.object({ request: u32, storage: name, backup: name, name: archiveName, indexOnly: z.boolean() });

const opened = z.object({
  request: u32,
  /** Missing when only the index was wanted. */
  archiveBytes: uint.optional(),
  /** Missing where there is no index. */
  indexBytes: uint.optional(),
});

const read = z
  .object({
    request: u32,
    /** The request that opened the archive. */
    open: u32,
    file: fileNumber,
    offset: uint,
    length: z.number().int().min(1).max(READ_BYTES_MAX),
  })
  .refine(({ offset, length }) => Number.isSafeInteger(offset + length), "ends at 2^53 or more");

const close = z.object({ open: u32 });

const failed = z.object({
  request: u32,
  ...failureFields,
  /** Of the server's disk, where that is the reason: `EIO`. */
  errno: z.string().max(CODE_CHARS_MAX).optional(),
});

const slotOrder = z.object({
  slot,
  /** `rotate`: connect again from a new port. `park`: stay away until `resume`. PROTOCOL.md "Orchestration". */
  order: z.enum(["rotate", "park", "resume"]),
  /** For people. */
  reason: z.string().max(ORDER_REASON_CHARS_MAX),
});

/** By frame type. Data, Copy and Bytes carry bytes, not messages. */
export const MESSAGES = {
  hello,
  welcome,
  refused,
  begin,
  queued,
  admitted,
  sack,
  finish,
  phase,
  committed,
  verified,
  ended,
  disown,
  ping,
  pong,
  goodbye,
  health,
  list,
  archives,
  open,
  opened,
  read,
  close,
  failed,
  slotOrder,
  ...CONTROL_MESSAGES,
  ...ENROLL_MESSAGES,
} as const;

export type MessageType = keyof typeof MESSAGES;
export type Message<T extends MessageType> = z.infer<(typeof MESSAGES)[T]>;
/** A message with its type, as decoders hand it over and encoders take it. */
export type AnyMessage = { [T in MessageType]: { readonly type: T; readonly body: Message<T> } }[MessageType];
