/**
 * When and in which order a session's chunks become durable: bytes synced first, then the journal that names them, then
 * the durable point moves (PROTOCOL.md "Acknowledgement"). Cycles run one at a time, each for all chunks that were placed
 * before it began. A sync that failed is never tried again: what the kernel dropped stays lost, so the session ends.
 */
import type { Clock, Timer } from "#base/clock.ts";
import type { ChunkPlacement } from "./chunk-placement.ts";
import { type ChunkRecord, encodeChunks } from "./journal-format.ts";
import type { JournalWriter } from "./journal-writer.ts";

/** The longest a chunk that is placed waits for a sync to begin. */
export const SYNC_DELAY_MS = 1000;

export interface DurabilityParts {
  readonly placement: ChunkPlacement;
  readonly journal: JournalWriter;
  readonly clock: Clock;
  /** Received bytes after which a sync begins at once. */
  readonly syncBytes: number;
  readonly onDurable: (records: readonly ChunkRecord[]) => void;
  readonly onFailure: (error: unknown) => void;
}

export class Durability {
  readonly #parts: DurabilityParts;
  /** Placed, not yet in a cycle. */
  #placed: ChunkRecord[] = [];
  /** Received, not yet durable: placed, in a cycle, or with writes under way. */
  #outstanding = 0;
  /** Received since the last cycle began. */
  #newBytes = 0;
  #timer: Timer | undefined;
  #cycle: Promise<void> | undefined;
  /** What the cycle under way makes durable. */
  #cycling: readonly ChunkRecord[] = [];
  /** How often each chunk was taken back before it was placed: it may have come again, and been taken back again. */
  readonly #takenBack = new Map<string, number>();
  #urgent = false;
  #stopped = false;
  readonly #settled: (() => void)[] = [];

  constructor(parts: DurabilityParts) {
    this.#parts = parts;
  }

  /** True when every chunk that was received is durable. */
  get settled(): boolean {
    return this.#outstanding === 0;
  }

  /** A chunk was received; `placed` follows when its writes have returned. */
  received(bytes: number): void {
    this.#outstanding += 1;
    this.#newBytes += bytes;
  }

  placed(record: ChunkRecord): void {
    if (this.#stopped || this.#isTakenBack(keyOf(record))) return;
    this.#placed.push(record);
    this.#consider();
  }

  /** A chunk that was received is worth nothing after all. False when it is too late: it is being made durable. */
  takeBack(chunk: Pick<ChunkRecord, "file" | "sequence">): boolean {
    const key = keyOf(chunk);
    if (this.#stopped || this.#cycling.some((record) => keyOf(record) === key)) return false;
    const at = this.#placed.findIndex((record) => keyOf(record) === key);
    // The writes of its bytes have not all returned: it will be placed, and that will count for nothing.
    if (at < 0) this.#takenBack.set(key, (this.#takenBack.get(key) ?? 0) + 1);
    else this.#placed.splice(at, 1);
    this.#outstanding -= 1;
    this.#wake();
    return true;
  }

  /** Makes all that was received durable as soon as possible. */
  hurry(): void {
    if (this.settled || this.#stopped) return;
    this.#urgent = true;
    this.#consider();
  }

  /** Hurries; resolves when everything received is durable, or when stopped. */
  settle(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#settled.push(resolve);
    this.hurry();
    this.#wake();
    return promise;
  }

  /** Begins no more cycles; resolves when none is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#placed = [];
    this.#wake();
    await this.#cycle;
  }

  /** Copies of a chunk are placed in the order in which they came: the first ones are those that were taken back. */
  #isTakenBack(key: string): boolean {
    const count = this.#takenBack.get(key) ?? 0;
    if (count > 1) this.#takenBack.set(key, count - 1);
    else this.#takenBack.delete(key);
    return count > 0;
  }

  /** Begins a cycle, or sets the time for it. */
  #consider(): void {
    if (this.#stopped || this.#cycle !== undefined || this.#placed.length === 0) return;
    if (this.#urgent || this.#newBytes >= this.#parts.syncBytes) this.#begin();
    else this.#timer ??= this.#parts.clock.after(SYNC_DELAY_MS, () => this.#begin());
  }

  #begin(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#stopped || this.#cycle !== undefined || this.#placed.length === 0) return;
    const records = this.#placed;
    this.#placed = [];
    this.#newBytes = 0;
    this.#cycling = records;
    this.#cycle = this.#run(records).then(
      () => {
        this.#cycle = undefined;
        this.#cycling = [];
        this.#outstanding -= records.length;
        if (this.settled) this.#urgent = false;
        if (!this.#stopped) this.#parts.onDurable(records);
        this.#wake();
        this.#consider();
      },
      (error: unknown) => {
        this.#cycle = undefined;
        const first = !this.#stopped;
        this.#stopped = true;
        this.#placed = [];
        this.#wake();
        if (first) this.#parts.onFailure(error);
      },
    );
  }

  async #run(records: readonly ChunkRecord[]): Promise<void> {
    // A crash here loses what was not synced: no record names it, the agent still has it and sends it again.
    await this.#parts.placement.sync(records);
    // A crash here leaves bytes that no record names, or a torn record: as above.
    await this.#parts.journal.append(encodeChunks(records));
    // From here on the chunks are durable; a crash before the Sack makes the agent send them again, as duplicates.
  }

  #wake(): void {
    if (!this.settled && !this.#stopped) return;
    for (const resolve of this.#settled.splice(0)) resolve();
  }
}

function keyOf({ file, sequence }: Pick<ChunkRecord, "file" | "sequence">): string {
  return `${file}:${sequence}`;
}
