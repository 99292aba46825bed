/**
 * From Finish to the intent: everything that arrived is counted, hashed to the end, compared with what the agent says and
 * made durable. It commits nothing: it says what a commit would be.
 */
import { must } from "#base/assert.ts";
import { type Clock, every } from "#base/clock.ts";
import type { FileNumber } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { type ChunkSpan, trailBytes } from "#base/root-trail.ts";
import type { ChunkPlacement } from "./chunk-placement.ts";
import type { Durability } from "./durability.ts";
import type { FileHash } from "./file-hash.ts";
import { encodeDocument } from "./journal-format.ts";
import type { FileLedger } from "./ledger.ts";
import type { CommitIntent, JournalHead } from "./records.ts";
import type { FileProof, PhaseListener, SessionProof } from "./session-types.ts";

const PROGRESS_MS = 500;

/** One file of the session. */
export interface SessionFile {
  readonly number: FileNumber;
  readonly ledger: FileLedger;
  readonly hash: FileHash;
}

export interface FinishParts {
  readonly head: JournalHead;
  readonly files: readonly SessionFile[];
  readonly placement: ChunkPlacement;
  readonly durability: Durability;
  /** Resolves when no write is under way, nor a read of the journal. */
  readonly quiet: () => Promise<unknown>;
  readonly clock: Clock;
  readonly onPhase: PhaseListener;
  /** Throws the session's failure if it has one. */
  readonly check: () => void;
}

/** Rejects with E_PROTOCOL, E_MISMATCH, E_DISK, what the disk throws, or what `check` throws. */
export async function finishSession(
  proof: SessionProof,
  parts: FinishParts,
): Promise<{ readonly intent: CommitIntent; readonly record: Uint8Array }> {
  checkProof(proof);
  for (const file of parts.files) checkCounts(file, proof.files[file.number]);
  parts.durability.hurry();
  await hashToTheEnd(parts);
  parts.check();
  for (const said of proof.files) checkDigests(must(parts.files[said.file], `file ${said.file}`), said);
  await parts.durability.settle();
  parts.check();
  // Of chunks that were given up a write may still be under way; no new one can begin, since none is claimed any more.
  await parts.quiet();
  await parts.placement.assemble(
    parts.files.map(({ ledger }) => ({ chunks: ledger.receivedChunks, bytes: ledger.receivedBytes })),
    { check: parts.check, progress: (done, total) => parts.onPhase("assembling", done, total) },
  );
  parts.check();
  const { session, agent, backup, run, archive, holdRotation } = parts.head;
  const intent: CommitIntent = {
    ...{ session, agent, backup, run, archive },
    files: proof.files.map(({ file, chunks, bytes, sha256, root }) => ({
      ...{ file, chunks, bytes },
      ...{ sha256: hex(sha256), root: hex(root) },
    })),
    entries: proof.entries,
    rawBytes: proof.rawBytes,
    problems: proof.problems,
    ...(proof.unread === undefined ? {} : { unread: proof.unread.map((path) => Buffer.from(path).toString("base64")) }),
    ...(holdRotation === true ? { holdRotation } : {}),
  };
  return { intent, record: encodeDocument("intent", intent) };
}

function checkProof(proof: SessionProof): void {
  const ordered = proof.files.every((file, index) => file.file === index);
  const [archive] = proof.files;
  if (ordered && archive !== undefined && archive.chunks > 0) return;
  throw new Failure("E_PROTOCOL", "finish names no archive, an empty one, or files out of order");
}

function checkCounts(file: SessionFile, said: FileProof | undefined): void {
  const { ledger, number } = file;
  const [chunks, bytes] = [said?.chunks ?? 0, said?.bytes ?? 0];
  if (ledger.claimedChunks > 0) {
    throw new Failure("E_PROTOCOL", `finish while ${ledger.claimedChunks} chunks of file ${number} are on their way`);
  }
  if (!ledger.gapless) throw new Failure("E_PROTOCOL", `finish while chunks of file ${number} are missing`);
  if (ledger.receivedChunks !== chunks || ledger.receivedBytes !== bytes) {
    throw new Failure(
      "E_MISMATCH",
      `file ${number}: ${ledger.receivedChunks} chunks of ${ledger.receivedBytes} bytes arrived, ${chunks} chunks of ${bytes} bytes were sent`,
    );
  }
  const trail = said?.trail.length ?? 0;
  if (trail === trailBytes(chunks)) return;
  throw new Failure("E_PROTOCOL", `finish with a trail of ${trail} bytes for ${chunks} chunks of file ${number}`);
}

async function hashToTheEnd(parts: FinishParts): Promise<void> {
  const total = sum(parts.files, (file) => file.ledger.receivedBytes);
  const report = (): void =>
    parts.onPhase(
      "hashing",
      sum(parts.files, (file) => file.hash.hashedBytes),
      total,
    );
  report();
  const timer = every(parts.clock, PROGRESS_MS, report);
  try {
    await Promise.all(parts.files.map((file) => file.hash.hashed(file.ledger.receivedChunks)));
  } finally {
    timer.cancel();
  }
}

/** Throws Failure E_MISMATCH that names the first chunk that differs. */
function checkDigests({ number, hash }: SessionFile, said: FileProof): void {
  const here = hash.digests();
  if (!equal(here.root, said.root)) {
    const span = here.trail.firstDifference(said.trail);
    const what = span === undefined ? "the list of chunks is not the one that was sent" : differing(span);
    throw new Failure("E_MISMATCH", `file ${number}: ${what}`);
  }
  if (equal(here.sha256, said.sha256)) return;
  throw new Failure(
    "E_MISMATCH",
    `file ${number}: every chunk is what was sent, but the SHA-256 over all of them in order is not`,
  );
}

function differing({ first, last, start, end }: ChunkSpan): string {
  const bytes = `bytes ${start} to ${end - 1}`;
  if (first === last) return `chunk ${first}, ${bytes}, is not what was sent`;
  return `one of chunks ${first} to ${last}, ${bytes}, is the first that is not what was sent`;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

function sum(files: readonly SessionFile[], of: (file: SessionFile) => number): number {
  return files.reduce((total, file) => total + of(file), 0);
}
