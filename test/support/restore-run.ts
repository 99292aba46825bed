/** Whole jobs over archives in memory, without threads: what the programs do, on bytes that a test can spoil. */
import { compress } from "#compress/codec.ts";
import type { CompressionMode } from "#base/chunk.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { archiveFormat, scanArchive } from "#restore/archive-format.ts";
import { inflatePiece } from "#restore/inflate.ts";
import { PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX } from "#restore/piece.ts";
import { type Plan, runJob, type RunResult } from "#restore/run.ts";
import { makeSlots, viewSlots } from "#restore/slots.ts";
import type { ChunkRow } from "#restore/table-pieces.ts";
import { TarConsumer } from "#restore/tar-consumer.ts";
import type { RestoreJob, TarJob } from "#restore/tar-job.ts";
import { TarThread } from "#restore/tar-thread.ts";
import { isRoot } from "#test/support/tree.ts";
import { crc32 } from "node:zlib";

/** An archive, and how many bytes of it were read. */
export class MemoryAccess implements ArchiveAccess {
  readonly #bytes: Uint8Array;
  readBytes = 0;
  /** Offsets at which the disk fails. */
  readonly badOffsets = new Set<number>();

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get size(): number {
    return this.#bytes.length;
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    const part = this.#bytes.subarray(offset, offset + into.length);
    for (const bad of this.badOffsets) {
      if (bad >= offset && bad < offset + part.length) throw Object.assign(new Error("EIO"), { code: "EIO" });
    }
    this.readBytes += part.length;
    into.set(part);
    return part.length;
  }

  async close(): Promise<void> {
    // Nothing is open.
  }
}

/** Compresses raw chunks into an archive, and gives its chunk table. */
export function sealArchive(
  chunks: readonly { readonly bytes: Uint8Array }[],
  mode: CompressionMode,
): { readonly archive: Uint8Array; readonly rows: readonly ChunkRow[] } {
  const parts: Uint8Array[] = [];
  const rows: ChunkRow[] = [];
  let offset = 0;
  let rawOffset = 0;
  for (const [index, { bytes }] of chunks.entries()) {
    const stored = compress(bytes, { mode, level: mode === "gzip" ? 6 : 3 });
    const digest = new Bun.CryptoHasher("sha256").update(stored).digest();
    const crc = crc32(stored);
    rows.push({ index, offset, length: stored.length, rawOffset, rawLength: bytes.length, crc, digest });
    parts.push(stored);
    offset += stored.length;
    rawOffset += bytes.length;
  }
  return { archive: Buffer.concat(parts), rows };
}

export function restoreJob(target: string, options: Partial<RestoreJob> = {}): RestoreJob {
  return {
    kind: "restore",
    target: Buffer.from(target),
    paths: [],
    ...{ overwrite: "always", stripComponents: 0, dryRun: false, owners: true, deleteExcept: undefined },
    ...{ privileged: isRoot, uid: process.getuid?.() ?? 0, gids: [process.getgid?.() ?? 0] },
    temporaryName: ".nbackup-test.tmp",
    startedSeconds: Math.floor(Date.now() / 1000) - 1,
    ...options,
  };
}

export interface InlineRun extends RunResult {
  readonly pieces: number;
}

/** By the archive's own structure, or by `plan` and `again`. */
export async function runInline(
  access: ArchiveAccess,
  job: TarJob,
  plans?: { readonly plan: Plan; readonly again: (wanted: readonly Uint8Array[]) => Plan },
  signal: AbortSignal = new AbortController().signal,
): Promise<InlineRun> {
  const memory = makeSlots(4, PIECE_STORED_BYTES_MAX, PIECE_RAW_BYTES_MAX);
  const thread = new TarThread();
  const consumer = new TarConsumer(async (message) => thread.handle(message));
  const format = plans === undefined ? await archiveFormat(access) : undefined;
  const scan = (): Plan => ({ source: scanArchive(access, format ?? "plain"), partial: false });
  await consumer.start({ type: "start", slots: memory, job });
  const result = await runJob({
    ...{ access, consumer, slots: viewSlots(memory), signal },
    inflater: {
      inflate: async (slot, length, spec) => inflatePiece(slot.stored.subarray(0, length), spec, slot.raw),
    },
    plan: plans?.plan ?? scan(),
    again: plans?.again ?? scan,
  });
  return { ...result, pieces: consumer.pieceCount };
}
