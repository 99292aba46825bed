/** What came over each slot of a session: counted as it comes, its rate from one look to the next. It judges nothing. */
import { must } from "#base/assert.ts";

export interface SlotCounts {
  /** Stored bytes, those of chunks that were here already too. */
  readonly bytes: number;
  readonly chunks: number;
  /** Chunks that were here already. */
  readonly duplicateChunks: number;
  /** Between the last two looks. */
  readonly bytesPerSecond: number;
  /** On the monotonic clock; undefined before the first byte. */
  readonly lastByteAtMs: number | undefined;
}

interface Meter {
  bytes: number;
  chunks: number;
  duplicateChunks: number;
  bytesPerSecond: number;
  lastByteAtMs: number | undefined;
  lookedBytes: number;
}

export class SlotMeters {
  readonly #meters: readonly Meter[];
  #lookedAtMs: number | undefined;

  constructor(count: number) {
    this.#meters = Array.from({ length: count }, () => ({
      ...{ bytes: 0, chunks: 0, duplicateChunks: 0, bytesPerSecond: 0, lastByteAtMs: undefined, lookedBytes: 0 },
    }));
  }

  arrived(slot: number, bytes: number, nowMs: number): void {
    const meter = this.#meter(slot);
    meter.bytes += bytes;
    meter.lastByteAtMs = nowMs;
  }

  chunk(slot: number, fate: "received" | "duplicate"): void {
    if (fate === "received") this.#meter(slot).chunks += 1;
    else this.#meter(slot).duplicateChunks += 1;
  }

  /** Measures the rates anew. */
  look(nowMs: number): void {
    const elapsedMs = nowMs - (this.#lookedAtMs ?? nowMs);
    this.#lookedAtMs = nowMs;
    for (const meter of this.#meters) {
      if (elapsedMs > 0) meter.bytesPerSecond = ((meter.bytes - meter.lookedBytes) * 1000) / elapsedMs;
      meter.lookedBytes = meter.bytes;
    }
  }

  of(slot: number): SlotCounts {
    return this.#meter(slot);
  }

  #meter(slot: number): Meter {
    return must(this.#meters[slot], `meter of slot ${slot}`);
  }
}
