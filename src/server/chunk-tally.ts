/** What became of the chunks of one session: counted, acknowledged, and too many damaged ones are its end. */
import { Failure } from "#base/errors.ts";
import { FLAG_PUSH, type FrameHeader } from "#wire/frame.ts";
import type { Acknowledger } from "./acknowledger.ts";
import { type ChunkFate, storedLengthOf } from "./chunk-receiver.ts";
import { DAMAGED_CHUNKS_MAX } from "./limits.ts";
import type { ServerMetrics } from "./server-metrics.ts";
import type { SessionTotals } from "./session-types.ts";

export interface TallyHost {
  readonly acks: Acknowledger;
  readonly metrics: ServerMetrics;
  /** The last chunk of a file came: what was received should be durable soon. */
  push(): void;
  /** A chunk arrived damaged; so many did so far. */
  damaged(count: number): void;
  fail(failure: Failure): void;
}

export class ChunkTally {
  readonly #totals: SessionTotals;
  readonly #host: TallyHost;

  constructor(totals: SessionTotals, host: TallyHost) {
    this.#totals = totals;
    this.#host = host;
  }

  take(fate: ChunkFate, header: FrameHeader): void {
    if (fate === "dropped") return;
    if (fate === "damaged") {
      this.#damaged();
      return;
    }
    const storedLength = storedLengthOf(header);
    const { acks, metrics } = this.#host;
    if (fate === "duplicate") {
      this.#totals.duplicateBytes += storedLength;
      metrics.chunkDuplicate(storedLength);
    } else {
      this.#totals.chunks += 1;
      this.#totals.bytes += storedLength;
      metrics.chunkReceived(storedLength);
    }
    acks.received(header.file, header.sequence);
    if ((header.flags & FLAG_PUSH) === 0) return;
    this.#host.push();
    acks.urgent();
  }

  #damaged(): void {
    this.#totals.damagedChunks += 1;
    this.#host.damaged(this.#totals.damagedChunks);
    if (this.#totals.damagedChunks < DAMAGED_CHUNKS_MAX) return;
    this.#host.fail(new Failure("E_CHUNK_DAMAGED", `${DAMAGED_CHUNKS_MAX} chunks arrived damaged`));
  }
}
