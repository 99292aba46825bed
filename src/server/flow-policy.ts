/**
 * Which stream of a session is slow enough to be rotated, from samples. Pure: `flow_rotation`'s numbers and what was
 * sampled go in, at most one slot comes out; nobody is told anything here.
 *
 * A stream is judged only while it is busy: a chunk is under way at each sample, and the server reads. It is slow when it
 * stayed below min_mbps for all of eval_window, and something shows that it could be faster: another busy stream of the
 * session had at least twice its rate meanwhile, or the stream itself had since it was last rotated. So a stream that waits
 * for work, for the window or for the server's disk is not slow, nor one whose session is held to a bandwidth limit: that
 * holds all streams alike, and from the start.
 */

export interface FlowLimits {
  /** Decimal megabits a second. */
  readonly minMbps: number;
  readonly evalWindowMs: number;
  readonly cooldownMs: number;
}

export interface FlowSample {
  readonly slot: number;
  readonly generation: number;
  /** That came over the slot so far. */
  readonly bytes: number;
  /** A chunk is under way. */
  readonly busy: boolean;
}

interface Track {
  generation: number;
  /** Of the sample before. */
  atMs: number;
  bytes: number;
  busy: boolean;
  /** Since when it is busy and below min_mbps, and the bytes then; undefined when it is not. */
  slowSince: { readonly atMs: number; readonly bytes: number } | undefined;
  /** The fastest so far since it was last rotated. */
  bestBytesPerMs: number;
  lastBytesPerMs: number;
  rotatedAtMs: number;
}

/** So much faster a stream must be able to be. */
const FASTER = 2;

export class FlowPolicy {
  readonly #limits: FlowLimits;
  readonly #tracks = new Map<number, Track>();

  constructor(limits: FlowLimits) {
    this.#limits = limits;
  }

  /**
   * The streams that are up, sampled at `nowMs`. `held`: the server did not read since the sample before, or a stream is on
   * its way already. The answer is the slot to be rotated, if there is one; from then on its cooldown runs.
   */
  take(nowMs: number, samples: readonly FlowSample[], held: boolean): number | undefined {
    for (const sample of samples) this.#follow(nowMs, sample, held);
    const up = new Set(samples.map(({ slot }) => slot));
    // Its cooldown goes on, but no other one is measured by it.
    for (const [slot, track] of this.#tracks)
      if (!up.has(slot)) Object.assign(track, { busy: false, lastBytesPerMs: 0 });
    if (held) return undefined;
    const slow = samples
      .map(({ slot }) => ({ slot, track: this.#tracks.get(slot) }))
      .filter(({ slot, track }) => track !== undefined && this.#isSlow(nowMs, slot, track))
      .toSorted((a, b) => (a.track?.lastBytesPerMs ?? 0) - (b.track?.lastBytesPerMs ?? 0))[0];
    if (slow?.track === undefined) return undefined;
    Object.assign(slow.track, { rotatedAtMs: nowMs, slowSince: undefined, bestBytesPerMs: 0 });
    return slow.slot;
  }

  #follow(nowMs: number, { slot, generation, bytes, busy }: FlowSample, held: boolean): void {
    const before = this.#tracks.get(slot);
    const track: Track = before ?? {
      ...{ generation, atMs: nowMs, bytes, busy: false, slowSince: undefined },
      ...{ bestBytesPerMs: 0, lastBytesPerMs: 0, rotatedAtMs: Number.NEGATIVE_INFINITY },
    };
    const judged = track.busy && busy && !held && track.generation === generation && nowMs > track.atMs;
    if (judged) {
      const bytesPerMs = (bytes - track.bytes) / (nowMs - track.atMs);
      track.lastBytesPerMs = bytesPerMs;
      track.bestBytesPerMs = Math.max(track.bestBytesPerMs, bytesPerMs);
      if (bytesPerMs >= this.#minBytesPerMs) track.slowSince = undefined;
      else track.slowSince ??= { atMs: track.atMs, bytes: track.bytes };
    } else {
      track.slowSince = undefined;
      track.lastBytesPerMs = 0;
    }
    Object.assign(track, { generation, atMs: nowMs, bytes, busy });
    this.#tracks.set(slot, track);
  }

  #isSlow(nowMs: number, slot: number, track: Track): boolean {
    const { slowSince } = track;
    const { evalWindowMs, cooldownMs } = this.#limits;
    if (slowSince === undefined || nowMs - slowSince.atMs < evalWindowMs) return false;
    if (nowMs - track.rotatedAtMs < cooldownMs) return false;
    const bytesPerMs = (track.bytes - slowSince.bytes) / (nowMs - slowSince.atMs);
    let bestBytesPerMs = track.bestBytesPerMs;
    for (const [other, { lastBytesPerMs }] of this.#tracks) {
      if (other !== slot) bestBytesPerMs = Math.max(bestBytesPerMs, lastBytesPerMs);
    }
    return bestBytesPerMs >= bytesPerMs * FASTER;
  }

  get #minBytesPerMs(): number {
    return (this.#limits.minMbps * 1_000_000) / 8 / 1000;
  }
}
