/**
 * A model of a backup's way to the server, for the autoscaler: a producer, one window, streams that each carry a chunk at a
 * time, and what limits them. It gives the samples that the agent would measure, and takes the number of streams that is
 * concluded. Bytes flow evenly in steps of 10 ms; nothing real is simulated.
 */
import { MiB } from "#base/units.ts";
import { SCALE_START, type ScaleSample, type ScaleState, type ScaleStep, windowIsFull } from "#agent/autoscaler.ts";

const STEP_MS = 10;

export interface ScaleLink {
  /** Bytes per second that the producer makes at a time, when there is room. */
  readonly produces: (atMs: number) => number;
  /** Bytes per second of each stream, and of all together. */
  readonly perFlow: number;
  readonly shared?: number;
  /** Of the bandwidth limit. */
  readonly limit?: number;
  /** The server reads nothing at such a time, and says so. */
  readonly stalled?: (atMs: number) => boolean;
  readonly windowBytes?: number;
  readonly chunkBytes?: number;
  /** Until a new stream carries data, and from the last byte of a chunk to its acknowledgement. */
  readonly setupMs?: number;
  readonly ackMs?: number;
}

interface Stream {
  upAtMs: number;
  /** Of the chunk in hand. */
  leftBytes: number;
}

/** What one window came to. */
export interface ModelWindow {
  readonly atMs: number;
  readonly active: number;
  readonly phase: ScaleState["phase"];
  readonly bytesPerSecond: number;
}

export class ScaleModel {
  state: ScaleState = SCALE_START;
  readonly windows: ModelWindow[] = [];
  ackedBytes = 0;
  readonly #link: ScaleLink;
  readonly #step: ScaleStep;
  readonly #max: number;
  readonly #chunkBytes: number;
  #nowMs = 0;
  #queuedChunks = 0;
  #madeBytes = 0;
  #heldBytes = 0;
  readonly #streams: Stream[] = [{ upAtMs: 0, leftBytes: 0 }];
  /** Drained: they send what they have in hand. */
  #leaving: Stream[] = [];
  readonly #acks: { readonly atMs: number; readonly bytes: number }[] = [];
  #sample: { -readonly [name in keyof ScaleSample]: ScaleSample[name] } = EMPTY(0);

  constructor(link: ScaleLink, step: ScaleStep, max: number) {
    this.#link = link;
    this.#step = step;
    this.#max = max;
    this.#chunkBytes = link.chunkBytes ?? MiB;
  }

  get active(): number {
    return this.state.active;
  }

  /** The most streams of the windows so far, or of the last ones. */
  mostActive(ofLast = this.windows.length): number {
    return Math.max(...this.windows.slice(-ofLast).map(({ active }) => active));
  }

  run(forMs: number): this {
    const endMs = this.#nowMs + forMs;
    while (this.#nowMs < endMs) this.#tick();
    return this;
  }

  #tick(): void {
    this.#nowMs += STEP_MS;
    this.#produce();
    this.#send();
    while (this.#acks[0] !== undefined && this.#acks[0].atMs <= this.#nowMs) {
      const { bytes } = this.#acks.shift() ?? { bytes: 0 };
      this.#heldBytes -= bytes;
      this.ackedBytes += bytes;
      this.#sample.acknowledgedBytes += bytes;
      this.#sample.acknowledgedChunks += 1;
    }
    this.#sample.durationMs += STEP_MS;
    this.#sample.up = this.#streams.filter(({ upAtMs }) => upAtMs <= this.#nowMs).length;
    if (windowIsFull(this.#sample, this.active)) this.#judge();
  }

  #produce(): void {
    const { produces, windowBytes = 256 * MiB } = this.#link;
    const room = windowBytes - this.#heldBytes - this.#madeBytes;
    if (room < this.#chunkBytes) {
      this.#sample.blockedMs += STEP_MS;
      return;
    }
    const bytes = (produces(this.#nowMs) * STEP_MS) / 1000;
    this.#madeBytes += bytes;
    this.#sample.producedBytes += bytes;
    while (this.#madeBytes >= this.#chunkBytes) {
      this.#madeBytes -= this.#chunkBytes;
      this.#heldBytes += this.#chunkBytes;
      this.#queuedChunks += 1;
    }
  }

  #send(): void {
    const { perFlow, shared = Number.POSITIVE_INFINITY, limit = Number.POSITIVE_INFINITY, stalled } = this.#link;
    if (stalled?.(this.#nowMs) === true) {
      this.#sample.stalled = true;
      return;
    }
    this.#leaving = this.#leaving.filter(({ leftBytes }) => leftBytes > 0);
    const staying = this.#streams.filter((stream) => stream.upAtMs <= this.#nowMs && this.#take(stream));
    const up = [...staying, ...this.#leaving];
    const seconds = STEP_MS / 1000;
    const wanted = Math.min(perFlow, shared / Math.max(1, up.length)) * seconds;
    const allowed = Math.min(wanted, (limit / Math.max(1, up.length)) * seconds);
    for (const stream of up) this.#carry(stream, allowed, allowed < wanted ? 1 - allowed / wanted : 0);
  }

  /** Whether the stream has something in hand. */
  #take(stream: Stream): boolean {
    if (stream.leftBytes === 0 && this.#queuedChunks > 0 && !this.#leaving.includes(stream)) {
      this.#queuedChunks -= 1;
      stream.leftBytes = this.#chunkBytes;
    }
    return stream.leftBytes > 0;
  }

  #carry(stream: Stream, bytes: number, heldShare: number): void {
    let left = bytes;
    while (left > 0 && this.#take(stream)) {
      const now = Math.min(left, stream.leftBytes);
      stream.leftBytes -= now;
      left -= now;
      if (stream.leftBytes === 0)
        this.#acks.push({ atMs: this.#nowMs + (this.#link.ackMs ?? 50), bytes: this.#chunkBytes });
    }
    const busyMs = STEP_MS * (1 - left / bytes);
    this.#sample.busyMs += busyMs;
    this.#sample.heldMs += busyMs * heldShare;
  }

  #judge(): void {
    const sample = this.#sample;
    this.state = this.#step(this.state, sample, this.#max);
    const { active, phase } = this.state;
    const bytesPerSecond = (sample.acknowledgedBytes * 1000) / sample.durationMs;
    this.windows.push({ atMs: this.#nowMs, active, phase, bytesPerSecond });
    this.#leaving.push(...this.#streams.splice(active));
    while (this.#streams.length < active)
      this.#streams.push({ upAtMs: this.#nowMs + (this.#link.setupMs ?? 100), leftBytes: 0 });
    this.#sample = EMPTY(this.#queuedChunks * this.#chunkBytes);
  }
}

const EMPTY = (waitingBytes: number): ScaleSample => ({
  durationMs: 0,
  producedBytes: 0,
  waitingBytes,
  blockedMs: 0,
  acknowledgedBytes: 0,
  acknowledgedChunks: 0,
  busyMs: 0,
  heldMs: 0,
  stalled: false,
  up: 0,
});
