/**
 * Which storages can be used, and since when: told as an event once per change, however often it is found out. It hears
 * of troubles from the events that pass through it and of a good state from whoever looked (storage-watch.ts); it opens,
 * writes and mends nothing.
 */
import type { ErrorCode } from "#base/catalogue.ts";
import type { Clock } from "#base/clock.ts";
import type { Failure } from "#base/errors.ts";
import { formatSize } from "#base/units.ts";
import type { EventSink, ObservedEvent } from "#observe/events.ts";
import type { StorageState } from "#observe/views.ts";
import type { StorageSpace } from "#store/space.ts";

export interface StorageCondition {
  readonly state: StorageState;
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly sinceWallMs: number | undefined;
  /** Of the last look. */
  readonly space: StorageSpace | undefined;
}

const UNKNOWN: StorageCondition = {
  ...{ state: "unknown", code: undefined, message: undefined, sinceWallMs: undefined, space: undefined },
};

/** How a session ends for a reason that is its storage's, and the state of the storage then. */
const STORAGE_TROUBLE: ReadonlyMap<string, StorageState> = new Map<ErrorCode, StorageState>([
  ["E_DISK", "failed"],
  ["E_STORAGE_FAILED", "failed"],
  ["E_DISK_FULL", "low"],
]);

export class StorageConditions implements EventSink {
  readonly #clock: Clock;
  readonly #next: EventSink;
  readonly #conditions = new Map<string, StorageCondition>();

  /** Events go on to `next`, but for a failure that was told before. */
  constructor(clock: Clock, next: EventSink) {
    this.#clock = clock;
    this.#next = next;
  }

  of(storage: string): StorageCondition {
    return this.#conditions.get(storage) ?? UNKNOWN;
  }

  emit(event: ObservedEvent): void {
    const { kind, fields, end } = event;
    // Of a storage that is gone nothing is known; one of its name that comes later begins anew.
    if (kind === "storage.closed" && typeof fields["storage"] === "string") this.#conditions.delete(fields["storage"]);
    if (kind === "storage.failed") {
      const { storage, code } = fields;
      if (typeof storage !== "string" || typeof code !== "string") this.#next.emit(event);
      else if (this.#become(storage, { state: "failed", code, message: event.message })) this.#next.emit(event);
      return;
    }
    if (kind === "storage.recovered") {
      // It can be opened again, which says nothing of a disk that reported an error.
      const { storage } = fields;
      if (typeof storage === "string" && this.#reopened(storage)) this.#next.emit(event);
      return;
    }
    this.#next.emit(event);
    if (end === undefined) return;
    // Why it cannot be opened was told already, by the code that says it best.
    if (end.session === null && this.of(end.storage).state === "failed") return;
    // A commit proves that the disk writes, not that it has room.
    if (end.outcome === "committed" && this.of(end.storage).state !== "low") this.#mend(end.storage);
    const state = STORAGE_TROUBLE.get(end.code ?? "");
    if (state !== undefined && end.code !== null) this.#trouble(end.storage, state, end.code, end.message);
  }

  /** A look at it failed. */
  failed(storage: string, failure: Failure): void {
    this.#trouble(storage, "failed", failure.code, failure.message);
  }

  /** It is there and may be written. A disk that reported an error is believed again when a backup was committed on it. */
  works(storage: string, space: StorageSpace): void {
    const before = this.of(storage);
    this.#conditions.set(storage, { ...before, space });
    if (before.state === "failed" && before.code === "E_DISK") return;
    if (space.freeBytes < space.reserveBytes) {
      const message = `${formatSize(space.freeBytes)} free, less than the ${formatSize(space.reserveBytes)} kept in reserve`;
      // A disk that ran full stays what it is until it has room again.
      if (before.state !== "low") this.#trouble(storage, "low", "E_FULL", message);
    } else {
      this.#mend(storage);
    }
  }

  #reopened(storage: string): boolean {
    const { state, code } = this.of(storage);
    if (state !== "failed" || code === "E_DISK") return false;
    return this.#become(storage, { state: "ok", code: undefined, message: undefined });
  }

  #trouble(storage: string, state: StorageState, code: string, message: string): void {
    if (!this.#become(storage, { state, code, message })) return;
    const [kind, level, says] =
      state === "low"
        ? (["storage.low", "warn", "has little room"] as const)
        : (["storage.failed", "error", "cannot be used"] as const);
    this.#next.emit({ kind, level, message: `storage ${storage} ${says}: ${message}`, fields: { storage, code } });
  }

  #mend(storage: string): void {
    const before = this.of(storage);
    if (!this.#become(storage, { state: "ok", code: undefined, message: undefined })) return;
    if (before.state === "unknown") return;
    this.#next.emit({
      kind: "storage.recovered",
      level: "info",
      message: `storage ${storage} can be used again`,
      fields: { storage, reason: before.code, afterMs: this.#clock.wall() - (before.sinceWallMs ?? 0) },
    });
  }

  /** True when that is new; another message for the same code is not. */
  #become(storage: string, next: Pick<StorageCondition, "state" | "code" | "message">): boolean {
    const before = this.of(storage);
    const isNew = before.state !== next.state || before.code !== next.code;
    const sinceWallMs = isNew ? this.#clock.wall() : before.sinceWallMs;
    this.#conditions.set(storage, { ...before, ...next, sinceWallMs });
    return isNew;
  }
}
