/**
 * What the store writes about sessions as JSON, and reads again after a restart: journal heads, commit intents, commit
 * records. Read back it is checked like any foreign input: a disk may return anything.
 */
import { z } from "zod";
import { isName } from "#base/names.ts";
import { archiveTimeMs, isSessionId } from "./archive-names.ts";
import { type CommitAnswer, VERIFY_RESULTS, type VerifyResult } from "./session-types.ts";

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const name = z.string().refine(isName, "not a name");
const id = z.string().refine(isSessionId, "not a session id");
const hash = z.string().regex(/^[0-9a-f]{64}$/);
/** `agent/backup/2026-02-12T02-00-00-123Z.tar.gz` */
const archive = z.string().refine(isArchivePath, "not an archive");

const identity = { session: id, agent: name, backup: name, run: id, archive };

const headSchema = z
  .object({
    ...identity,
    generation: count,
    parallels: count.max(255),
    compression: z.enum(["gzip", "zst"]),
    compressionLevel: count.max(255),
    chunkBytes: count,
    windowBytes: count,
    expectedBytes: count,
    lastEntries: count,
    lastRawBytes: count,
    startWallMs: count,
    /** Chunks are staged as files; without it they are written at their place. */
    staging: z.object({ shardLevels: z.union([z.literal(1), z.literal(2)]) }).optional(),
    holdRotation: z.boolean().optional(),
  })
  .refine((head) => head.archive.startsWith(`${head.agent}/${head.backup}/`), "archive of another entry");

const fileSchema = z.object({
  file: z.union([z.literal(0), z.literal(1)]),
  chunks: count,
  bytes: count,
  sha256: hash,
  root: hash,
});

const intentSchema = z
  .object({
    ...identity,
    /** The archive, then its index if there is one. */
    files: z.array(fileSchema).min(1).max(2),
    entries: count,
    rawBytes: count,
    problems: count,
    /** Paths at and below which the archive may lack what was there, base64; without it nobody knows all of them. */
    unread: z.array(z.base64().min(1)).optional(),
    /** No older archive is removed for this one. */
    holdRotation: z.boolean().optional(),
  })
  .refine((intent) => intent.files.every((file, index) => file.file === index), "files out of order")
  .refine((intent) => intent.archive.startsWith(`${intent.agent}/${intent.backup}/`), "archive of another entry");

const commitSchema = z.object({
  type: z.literal("commit"),
  committedWallMs: count,
  /** The archive is to be verified after the commit. */
  verify: z.literal("pending").optional(),
  intent: intentSchema,
});
const rotatedSchema = z.object({ type: z.literal("rotated"), session: id, removed: z.array(archive) });
const verifiedSchema = z.object({
  type: z.literal("verified"),
  session: id,
  result: z.enum(VERIFY_RESULTS),
  message: z.string(),
});
const lineSchema = z.discriminatedUnion("type", [commitSchema, rotatedSchema, verifiedSchema]);

/** What the first record of a journal says of its session. */
export type JournalHead = z.infer<typeof headSchema>;
/** All that a commit needs to be carried out, or carried out again after a crash. */
export type CommitIntent = z.infer<typeof intentSchema>;
export type CommitLine = z.infer<typeof lineSchema>;

/** A committed session. */
export interface CommitRecord extends CommitAnswer {
  readonly agent: string;
  readonly backup: string;
  readonly run: string;
  readonly entries: number;
  readonly rawBytes: number;
  readonly problems: number;
  readonly committedWallMs: number;
  /** Rotation is held for it, also when it was waiting for its verification. */
  readonly holdRotation: boolean;
  /** What its verification has found; undefined while that is pending, or none was asked for. */
  readonly verified: VerifyResult | undefined;
}

/** Undefined when it is not a journal's head. */
export function parseHead(body: unknown): JournalHead | undefined {
  return headSchema.safeParse(body).data;
}

/** Undefined when it is not an intent. */
export function parseIntent(body: unknown): CommitIntent | undefined {
  return intentSchema.safeParse(body).data;
}

/** Undefined when it is not a whole line of the commit log. */
export function parseCommitLine(text: string): CommitLine | undefined {
  try {
    return lineSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // Not JSON: the caller says which line it was and drops it.
  }
}

/** Bytes of the hexadecimal text of a hash. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "hex"));
}

function isArchivePath(text: string): boolean {
  const parts = text.split("/");
  const [agent, backup, file] = parts;
  if (parts.length !== 3 || agent === undefined || backup === undefined || file === undefined) return false;
  return isName(agent) && isName(backup) && archiveTimeMs(file) !== undefined;
}
