/**
 * Who may begin, as functions of values: whether a Begin makes sense, whether there is room for one more session, and
 * whether what it will store fits on the disk. Nobody is admitted or refused here; admission-desk.ts does that.
 */
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_STEP, DEFAULT_CHUNK_BYTES } from "#base/chunk-size.ts";
import { bufferBytesMin } from "#base/chunk-size.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { formatSize } from "#base/units.ts";
import type { Message } from "#wire/messages.ts";
import { WINDOW_BYTES_MAX } from "./limits.ts";

export interface RoomLimits {
  readonly sessionsMax: number;
  readonly memoryBytesMax: number;
}

/** What the sessions that run now take. */
export interface RoomTaken {
  readonly sessionCount: number;
  readonly memoryBytes: number;
}

/**
 * True when one more session of `memoryBytes` may run. The first one always may: a memory_limit below the need of a
 * single session would otherwise let it wait for ever.
 */
export function hasRoom(limits: RoomLimits, taken: RoomTaken, memoryBytes: number): boolean {
  if (taken.sessionCount === 0) return true;
  return taken.sessionCount < limits.sessionsMax && taken.memoryBytes + memoryBytes <= limits.memoryBytesMax;
}

/** What a session of an entry will store, in bytes: the last archive's size, which the agent's word can only raise. */
export function expectedBytes(lastArchiveBytes: number, announcedBytes: number): number {
  return Math.max(lastArchiveBytes, announcedBytes);
}

/** A session that runs on the same disk. */
export interface RunningNeed {
  readonly expectedBytes: number;
  /** Already on the disk. */
  readonly storedBytes: number;
}

/** What running sessions have yet to store, in bytes. One that outgrew its estimate needs nothing as far as anyone knows. */
export function promisedBytes(running: Iterable<RunningNeed>): number {
  let sum = 0;
  for (const need of running) sum += Math.max(0, need.expectedBytes - need.storedBytes);
  return sum;
}

export interface DiskRoom {
  readonly freeBytes: number;
  readonly reserveBytes: number;
  /** Of `promisedBytes`. */
  readonly promisedBytes: number;
}

/** How many bytes are missing for a session that will store `neededBytes`; 0 when it fits. */
export function missingBytes(room: DiskRoom, neededBytes: number): number {
  return Math.max(0, neededBytes + room.reserveBytes + room.promisedBytes - room.freeBytes);
}

/** Throws E_FULL, with the missing bytes and the way out in the hint, when a session does not fit. */
export function assertFits(storage: string, room: DiskRoom, neededBytes: number): void {
  const missing = missingBytes(room, neededBytes);
  if (missing === 0) return;
  throw new Failure(
    "E_FULL",
    `storage ${storage} has ${formatSize(room.freeBytes)} free, of which ${formatSize(room.reserveBytes)} are kept in ` +
      `reserve and ${formatSize(room.promisedBytes)} go to running sessions; this one needs ${formatSize(neededBytes)}`,
    {
      hint:
        `Free ${missing} more bytes (${formatSize(missing)}) on the disk of storage ${storage}: lower its max_backups and run ` +
        `"nbackup-server prune --storage ${storage}" on the server, or remove something else, or lower reserve.`,
    },
  );
}

/**
 * The chunk size a session will use, in bytes: what the agent wants, or the default of the storage's compression.
 * Throws E_PROTOCOL for a size no agent sends, E_WINDOW_SIZE for a window that such chunks cannot travel through.
 */
export function agreeChunkBytes(begin: Message<"begin">, mode: CompressionMode): number {
  const chunkBytes = begin.chunkBytes === 0 ? DEFAULT_CHUNK_BYTES[mode] : begin.chunkBytes;
  if (chunkBytes < CHUNK_BYTES_MIN || chunkBytes > CHUNK_BYTES_MAX || chunkBytes % CHUNK_BYTES_STEP !== 0) {
    throw new Failure(
      "E_PROTOCOL",
      `chunk size of ${chunkBytes} bytes, expected a multiple of ${CHUNK_BYTES_STEP} from ${CHUNK_BYTES_MIN} to ${CHUNK_BYTES_MAX}`,
    );
  }
  const windowMin = bufferBytesMin(1, chunkBytes);
  if (begin.windowBytes < windowMin) {
    throw new Failure(
      "E_WINDOW_SIZE",
      `window of ${begin.windowBytes} bytes is too small for chunks of ${chunkBytes} bytes, which need at least ${windowMin}`,
    );
  }
  if (begin.windowBytes > WINDOW_BYTES_MAX) {
    throw new Failure("E_WINDOW_SIZE", `window of ${begin.windowBytes} bytes exceeds ${WINDOW_BYTES_MAX}`, {
      hint: `Lower resume.buffer_size to at most ${formatSize(WINDOW_BYTES_MAX)}.`,
    });
  }
  return chunkBytes;
}
