/** What the store's tests share: a storage on a simulated disk and clock, and files cut into chunks with their proofs. */
import { createHash } from "node:crypto";
import { must } from "#base/assert.ts";
import type { ChunkKind, FileNumber } from "#base/chunk.ts";
import type { Failure } from "#base/errors.ts";
import type { LogFields, Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { trailStride } from "#base/root-trail.ts";
import type { Disk } from "#store/disk.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { ChunkWriter, FileProof, SessionEvents, SessionProof, SessionRequest } from "#store/session-types.ts";
import { Storage } from "#store/storage.ts";
import type { StorageOptions } from "#store/storage-options.ts";
import { MemoryDisk } from "./memory-disk.ts";
import { SimClock } from "./sim-clock.ts";

/** Small and good enough for tests (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const unit = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { unit, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(unit() * 256)) };
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** A logger that keeps its lines. */
export function listLog(lines: LogLine[] = []): Logger & { readonly lines: LogLine[] } {
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}): void => {
      lines.push({ level, message, fields });
    };
  return {
    ...{ lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") },
    child: () => listLog(lines),
  };
}

export const SESSION_A = "0a0a0a0a-0000-4000-8000-00000000000a";
export const SESSION_B = "0b0b0b0b-0000-4000-8000-00000000000b";
export const RUN = "0c0c0c0c-0000-4000-8000-00000000000c";

export function request(changes: Partial<SessionRequest> = {}): SessionRequest {
  return {
    session: SESSION_A,
    agent: "web-01",
    backup: "home",
    run: RUN,
    generation: 1,
    parallels: 0,
    compression: "gzip",
    compressionLevel: 1,
    chunkBytes: 1 << 20,
    windowBytes: 256 << 20,
    expectedBytes: 0,
    lastEntries: 0,
    lastRawBytes: 0,
    startWallMs: Date.UTC(2026, 1, 12, 2, 0, 0, 123),
    ...changes,
  };
}

/** What a session told the server. */
export interface Heard {
  durable: number;
  relief: number;
  verified: number;
  readonly lost: [FileNumber, number][];
  readonly failed: Failure[];
}

export function listen(): { readonly heard: Heard; readonly events: SessionEvents } {
  const heard: Heard = { durable: 0, relief: 0, verified: 0, lost: [], failed: [] };
  const events: SessionEvents = {
    durable: () => {
      heard.durable += 1;
    },
    relief: () => {
      heard.relief += 1;
    },
    lost: (file, sequence) => heard.lost.push([file, sequence]),
    verified: () => {
      heard.verified += 1;
    },
    failed: (failure) => heard.failed.push(failure),
  };
  return { heard, events };
}

export function storageOptions(changes: Partial<StorageOptions> & { readonly disk: Disk }): StorageOptions {
  return {
    name: "main",
    baseDir: "/srv/backup",
    maxBackups: 3,
    minAgeMs: 0,
    reserve: { percent: 5, bytesMax: 10 * 2 ** 30 },
    pendingBytesMax: 8 << 20,
    clock: new SimClock(),
    log: listLog(),
    ...changes,
  };
}

export interface Kit {
  readonly disk: MemoryDisk;
  readonly clock: SimClock;
  readonly log: Logger & { readonly lines: LogLine[] };
  readonly storage: Storage;
}

/** A storage on a simulated disk and clock. */
export async function openKit(
  options: Partial<Omit<StorageOptions, "disk" | "clock" | "log">> & {
    readonly disk?: MemoryDisk;
    readonly clock?: SimClock;
  } = {},
): Promise<Kit> {
  const { disk = new MemoryDisk(), clock = new SimClock(), ...rest } = options;
  const log = listLog();
  const storage = await Storage.open(storageOptions({ ...rest, disk, clock, log }));
  return { disk, clock, log, storage };
}

export interface TestChunk {
  readonly file: FileNumber;
  readonly sequence: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly digest: Uint8Array;
  readonly kind: ChunkKind;
}

export interface TestFile {
  readonly chunks: readonly TestChunk[];
  readonly bytes: Buffer;
  readonly proof: FileProof;
}

/** A file of random bytes, cut into chunks of these lengths, with its proof computed naively. */
export function testFile(random: Random, lengths: readonly number[], file: FileNumber = 0): TestFile {
  const bytes = Buffer.concat(lengths.map((length) => random.bytes(length)));
  let offset = 0;
  const chunks = lengths.map((length, sequence): TestChunk => {
    const part = bytes.subarray(offset, offset + length);
    const chunk: TestChunk = {
      ...{ file, sequence, offset, bytes: part, kind: file === 0 ? "data" : "index" },
      digest: createHash("sha256").update(part).digest(),
    };
    offset += length;
    return chunk;
  });
  const list = Buffer.concat(
    chunks.map((chunk) => {
      const entry = Buffer.alloc(44);
      entry.writeBigUInt64BE(BigInt(chunk.offset), 0);
      entry.writeUInt32BE(chunk.bytes.length, 8);
      entry.set(chunk.digest, 12);
      return entry;
    }),
  );
  const sha256 = createHash("sha256").update(bytes).digest();
  const root = createHash("sha256").update(list).digest();
  return {
    chunks,
    bytes,
    proof: { file, chunks: chunks.length, bytes: bytes.length, sha256, root, trail: trailOf(list) },
  };
}

/** What the root of the list was after every so many of its entries: the obvious way. */
function trailOf(list: Uint8Array): Uint8Array {
  const stepBytes = trailStride(list.length / 44) * 44;
  const prefixes: Uint8Array[] = [];
  for (let end = stepBytes; end <= list.length; end += stepBytes) {
    prefixes.push(createHash("sha256").update(list.subarray(0, end)).digest().subarray(0, 8));
  }
  return Uint8Array.from(Buffer.concat(prefixes));
}

export function proofOf(...files: readonly TestFile[]): SessionProof {
  return { files: files.map((file) => file.proof), entries: 7, rawBytes: 4096, problems: 0 };
}

/** Announces a chunk that must be new. */
export function begin(store: SessionStore, chunk: TestChunk): ChunkWriter {
  const { file, sequence, offset, bytes } = chunk;
  const placing = store.beginChunk({ file, sequence, offset, storedLength: bytes.length });
  if (placing.verdict !== "new") throw new Error(`chunk ${sequence} is a duplicate`);
  return placing.writer;
}

/** Ends a chunk whose bytes were all written. */
export function end(writer: ChunkWriter, chunk: TestChunk): ReturnType<ChunkWriter["finish"]> {
  const { kind, digest, bytes } = chunk;
  return writer.finish({ rawLength: bytes.length, kind, digest, payloadIntact: true });
}

/** Sends a whole chunk in segments of at most `segmentBytes`; says what became of it. */
export function send(
  store: SessionStore,
  chunk: TestChunk,
  segmentBytes = 100_000,
): ReturnType<ChunkWriter["finish"]> | "duplicate" {
  const { file, sequence, offset, bytes } = chunk;
  const placing = store.beginChunk({ file, sequence, offset, storedLength: bytes.length });
  if (placing.verdict === "duplicate") return "duplicate";
  for (let at = 0; at < bytes.length; at += segmentBytes) placing.writer.write(bytes.subarray(at, at + segmentBytes));
  return end(placing.writer, chunk);
}

export function chunkAt(file: TestFile, sequence: number): TestChunk {
  return must(file.chunks[sequence], `chunk ${sequence}`);
}

/** In a random order. */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = [...items];
  for (let index = order.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random.unit() * (index + 1));
    const [a, b] = [must(order[index], "item"), must(order[other], "item")];
    order[index] = b;
    order[other] = a;
  }
  return order;
}
