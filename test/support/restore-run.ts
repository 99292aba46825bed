/** Whole jobs over archives in memory, without threads: what the programs do, on bytes that a test can spoil. */
import { compress } from "#compress/codec.ts";
import type { TableChunk, TableKind } from "#archive/index-format.ts";
import type { ChunkPlace } from "#archive/index-reader.ts";
import type { CompressionMode } from "#base/chunk.ts";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { archiveFormat, scanArchive } from "#restore/archive-format.ts";
import { InflateThread, type ToInflate } from "#restore/inflate-thread.ts";
import { inflatePiece } from "#restore/inflate.ts";
import { PIECE_RAW_BYTES_MAX, PIECE_STORED_BYTES_MAX } from "#restore/piece.ts";
import { type Plan, runJob, type RunResult } from "#restore/run.ts";
import { makeSlots, viewSlots } from "#restore/slots.ts";
import { IndexTrust } from "#restore/index-trust.ts";
import { type ChunkRun, TablePieces } from "#restore/table-pieces.ts";
import { TarConsumer } from "#restore/tar-consumer.ts";
import type { RestoreThread, RestoreThreadKind } from "#restore/restore-threads.ts";
import type { RestoreJob, TarJob, ToTar } from "#restore/tar-job.ts";
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
  chunks: readonly { readonly bytes: Uint8Array; readonly kind?: TableKind }[],
  mode: CompressionMode,
): { readonly archive: Uint8Array; readonly rows: readonly TableChunk[] } {
  const parts: Uint8Array[] = [];
  const rows: TableChunk[] = [];
  let storedOffset = 0;
  let rawOffset = 0;
  for (const [number, { bytes, kind = "entries" }] of chunks.entries()) {
    const stored = compress(bytes, { mode, level: mode === "gzip" ? 6 : 3 });
    const digest = new Bun.CryptoHasher("sha256").update(stored).digest();
    const crc = crc32(stored);
    const place = { storedOffset, storedLength: stored.length, rawOffset, rawLength: bytes.length };
    rows.push({ number, kind, ...place, crc, digest });
    parts.push(stored);
    storedOffset += stored.length;
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

/** By the chunk table, without an index: all rows, or one run of them. */
export function tablePlan(
  access: ArchiveAccess,
  mode: CompressionMode,
  rows: readonly TableChunk[],
  options: { readonly run?: ChunkRun; readonly strict?: boolean } = {},
): InlinePlans & { readonly trust: IndexTrust } {
  const trust = new IndexTrust();
  const { run, strict = false } = options;
  const all: ChunkRun = { first: 0, last: rows.length - 1, enterAt: undefined, leaveAt: undefined };
  const table = {
    async *chunks(place: ChunkPlace) {
      yield rows.slice("number" in place ? place.number : 0);
    },
  };
  const plan = (): Plan => ({
    source: new TablePieces({
      ...{ table, mode, access, trust, runs: [run ?? all], whole: run === undefined, strict, bytesTotal: access.size },
    }),
    partial: run !== undefined,
  });
  return { plan: plan(), again: async () => plan(), trust };
}

export interface InlinePlans {
  readonly plan: Plan;
  readonly again: (wanted: readonly Uint8Array[]) => Promise<Plan>;
  readonly trust?: IndexTrust;
}

export interface InlineRun extends RunResult {
  readonly pieces: number;
}

/** By the archive's own structure, or by `plan` and `again`. */
export async function runInline(
  access: ArchiveAccess,
  job: TarJob,
  plans?: InlinePlans,
  signal: AbortSignal = new AbortController().signal,
): Promise<InlineRun> {
  const memory = makeSlots(4, PIECE_STORED_BYTES_MAX, PIECE_RAW_BYTES_MAX);
  const thread = new TarThread();
  const consumer = new TarConsumer(async (message) => thread.handle(message));
  const format = plans === undefined ? await archiveFormat(access) : undefined;
  const scan = (): Plan => ({ source: scanArchive(access, format ?? "plain"), partial: false });
  if (plans?.trust !== undefined) plans.trust.onDistrust = () => void consumer.incomplete();
  await consumer.start({ type: "start", slots: memory, job });
  const result = await runJob({
    ...{ access, consumer, slots: viewSlots(memory), signal },
    inflater: {
      inflate: async (slot, length, spec) => inflatePiece(slot.stored.subarray(0, length), spec, slot.raw),
    },
    plan: plans?.plan ?? scan(),
    again: plans?.again ?? (async () => scan()),
  });
  return { ...result, pieces: consumer.pieceCount };
}

/** Threads that are none: they answer in the next turn, in the order of what was posted. */
export function inlineThread(kind: RestoreThreadKind): RestoreThread {
  const tar = new TarThread();
  const thread: RestoreThread = {
    onmessage: null,
    onerror: null,
    postMessage: (message) => queueMicrotask(() => handle(message)),
    terminate: () => undefined,
  };
  const answer = (data: unknown): void => thread.onmessage?.(new MessageEvent("message", { data }));
  const inflate = new InflateThread(answer);
  const handle = (message: unknown): void => {
    if (kind === "tar") answer(tar.handle(message as ToTar));
    else inflate.handle(message as ToInflate);
  };
  return thread;
}
