/**
 * Whether this server can take a backup now, as functions of values: what each storage is, and the one word for all. PROTOCOL.md
 * "Health". Nobody is asked and nothing is sent here; health-desk.ts does that.
 */
import type { Failure } from "#base/errors.ts";
import { HEALTH_REASON_CHARS_MAX, HEALTH_STORAGES_MAX } from "#wire/limits.ts";
import { wireText } from "#wire/failure.ts";
import type { Message } from "#wire/messages.ts";

type Health = Message<"health">;
export type StorageHealth = Health["storages"][number];
export type SessionCounts = Health["sessions"];

/** What is known of a storage's disk. */
export interface StorageRoom {
  readonly freeBytes: number;
  readonly reserveBytes: number;
}

export function storageHealth(name: string, room: StorageRoom): StorageHealth {
  const { freeBytes, reserveBytes } = room;
  const state = freeBytes === 0 ? "full" : freeBytes < reserveBytes ? "low" : "ok";
  return { name, freeBytes, reserveBytes, state };
}

/** A storage that cannot be used, or whose disk cannot be asked. */
export function storageFailed(name: string, failure: Failure): StorageHealth {
  const state = failure.code === "E_DISK_FULL" ? "full" : "failed";
  return { name, freeBytes: 0, reserveBytes: 0, state, reason: wireText(failure.message, HEALTH_REASON_CHARS_MAX) };
}

/** What else a health connection is told of the server. */
export interface ServerCondition {
  readonly maintenance: boolean;
  /** Of the server's own certificate; undefined where nobody knows. */
  readonly certificateDaysLeft: number | undefined;
}

/** The answer to a health connection. A storage in trouble matters more than sessions that will end by themselves. */
export function judgeHealth(
  storages: readonly StorageHealth[],
  sessions: SessionCounts,
  { maintenance, certificateDaysLeft }: ServerCondition,
): Health {
  const troubled = storages.filter(({ state }) => state !== "ok");
  const rest = storages.filter(({ state }) => state === "ok");
  const busy = sessions.running >= sessions.max || sessions.waiting > 0;
  return {
    state: maintenance ? "MAINTENANCE" : troubled.length > 0 ? "LOW_DISK" : busy ? "BUSY" : "READY",
    storages: [...troubled, ...rest].slice(0, HEALTH_STORAGES_MAX),
    storageCount: storages.length,
    sessions,
    ...(certificateDaysLeft === undefined ? {} : { certificateDaysLeft }),
  };
}
