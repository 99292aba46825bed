/**
 * How one session went: points over time in bounded memory, the finer the shorter it runs, its rates now, and its phases. Values in,
 * values out; when to sample is session-series.ts's.
 */
import type { LiveView } from "./live-view.ts";
import type { ActiveSnapshot, PhaseSpan, SeriesPoint } from "./session-points.ts";

/** Points of one session: ten minutes by the second, a day by 2.4 minutes. About 100 bytes each. */
export const POINTS_MAX = 600;
/** Samples behind rates and sparkline, one a second. */
const RECENT_MAX = 61;
/** Rates are over so many seconds: one would jump with every sync of the disk. */
const RATE_SAMPLES = 5;
/** A session that is parked and comes back again and again has so many; the middle ones go. */
const PHASES_MAX = 200;

export interface TrackFacts {
  readonly session: string;
  readonly agent: string;
  readonly backup: string;
  readonly storage: string;
  readonly startWallMs: number;
}

interface Sample {
  readonly nowMs: number;
  readonly bytes: number;
  readonly writtenBytes: number;
}

export interface TrackRates {
  readonly receivedRate: number;
  readonly writtenRate: number;
}

const NO_RATES: TrackRates = { receivedRate: 0, writtenRate: 0 };

export class SessionTrack {
  readonly facts: TrackFacts;
  /** Bytes; null where an earlier start of the server knew them. */
  windowBytes: number | null = null;
  #points: SeriesPoint[] = [];
  #stepMs = 1_000;
  #recent: Sample[] = [];
  #phases: PhaseSpan[] = [];
  /** What the last sample of a point has begun from. */
  #pointFrom: Sample | undefined;
  #last: ActiveSnapshot | undefined;

  constructor(facts: TrackFacts) {
    this.facts = facts;
  }

  /** From the lines of an earlier start, oldest first. */
  static from(snapshots: readonly [ActiveSnapshot, ...ActiveSnapshot[]]): SessionTrack {
    const [first] = snapshots;
    const track = new SessionTrack(first);
    for (const snapshot of snapshots) {
      track.#addPoint(snapshot.point);
      track.#phases = [...snapshot.phases];
      track.#last = snapshot;
    }
    track.windowBytes = track.#last?.windowBytes ?? null;
    return track;
  }

  get points(): readonly SeriesPoint[] {
    return this.#points;
  }

  get stepMs(): number {
    return this.#stepMs;
  }

  get phases(): readonly PhaseSpan[] {
    return this.#phases;
  }

  /** What the last sample was; undefined before the first. */
  get last(): ActiveSnapshot | undefined {
    return this.#last === undefined ? undefined : { ...this.#last, phases: [...this.#phases] };
  }

  get rates(): TrackRates {
    return ratesBetween(this.#recent.at(-1 - RATE_SAMPLES) ?? this.#recent[0], this.#recent.at(-1));
  }

  /** Received rates of the last minute, oldest first. */
  get sparkline(): readonly number[] {
    return this.#recent
      .slice(1)
      .map((sample, index) => Math.round(ratesBetween(this.#recent[index], sample).receivedRate));
  }

  sample({ view, windowBytes, durableBytes, slots }: LiveView, nowMs: number, wallMs: number): void {
    const { bytes, backlogBytes, rawBytes } = view;
    const now: Sample = { nowMs, bytes, writtenBytes: bytes - backlogBytes };
    this.#recent.push(now);
    if (this.#recent.length > RECENT_MAX) this.#recent.shift();
    this.windowBytes = windowBytes;
    const from = this.#pointFrom ?? now;
    this.#pointFrom ??= now;
    const rates = ratesBetween(from, now);
    const rtts = slots.flatMap(({ rttMs }) => (rttMs === null ? [] : [rttMs]));
    const point: SeriesPoint = {
      wallMs,
      ...{ receivedRate: Math.round(rates.receivedRate), writtenRate: Math.round(rates.writtenRate) },
      ...{ bytes, backlogBytes, windowUsedBytes: Math.max(0, bytes - durableBytes) },
      streamsUp: slots.filter(({ state }) => state === "receiving").length,
      rttMs: rtts.length === 0 ? null : Math.min(...rtts),
    };
    const { session, agent, backup, storage, state, startWallMs, chunks, duplicateBytes, entries, expectedBytes } =
      view;
    this.#last = {
      ...{ wallMs, session, agent, backup, storage, state, startWallMs, windowBytes, chunks, duplicateBytes },
      ...{ entries, rawBytes, expectedBytes, point, phases: [] },
    };
    if (this.#points.length > 0 && nowMs - from.nowMs < this.#stepMs - TOLERANCE_MS) return;
    this.#pointFrom = now;
    this.#addPoint(point);
  }

  /** It is in this phase from now on. The same again changes nothing. */
  enter(phase: string, wallMs: number): void {
    const last = this.#phases.at(-1);
    if (last !== undefined && last.endWallMs === null) {
      if (last.phase === phase) return;
      this.#phases[this.#phases.length - 1] = { ...last, endWallMs: wallMs };
    }
    this.#addPhase({ phase, startWallMs: wallMs, endWallMs: null });
  }

  /** A phase that is over already: the archive was read again. */
  add(span: PhaseSpan): void {
    this.#addPhase(span);
  }

  /** It is over. */
  end(wallMs: number): void {
    const last = this.#phases.at(-1);
    if (last?.endWallMs === null) this.#phases[this.#phases.length - 1] = { ...last, endWallMs: wallMs };
    this.#recent = [];
  }

  #addPhase(span: PhaseSpan): void {
    this.#phases.push(span);
    if (this.#phases.length > PHASES_MAX) this.#phases.splice(PHASES_MAX / 2, 1);
  }

  #addPoint(point: SeriesPoint): void {
    this.#points.push(point);
    if (this.#points.length <= POINTS_MAX) return;
    this.#points = merged(this.#points);
    this.#stepMs *= 2;
  }
}

/** Timers fire a little early or late. */
const TOLERANCE_MS = 100;

/** Each two as one: rates by the middle, the rest as it was in the end. */
function merged(points: readonly SeriesPoint[]): SeriesPoint[] {
  const half: SeriesPoint[] = [];
  for (let at = 0; at < points.length; at += 2) {
    const [a, b] = [points[at], points[at + 1]];
    if (a === undefined || b === undefined) {
      if (a !== undefined) half.push(a);
      continue;
    }
    const middle = (x: number, y: number): number => Math.round((x + y) / 2);
    half.push({
      ...b,
      receivedRate: middle(a.receivedRate, b.receivedRate),
      writtenRate: middle(a.writtenRate, b.writtenRate),
    });
  }
  return half;
}

function ratesBetween(from: Sample | undefined, to: Sample | undefined): TrackRates {
  if (from === undefined || to === undefined || to.nowMs <= from.nowMs) return NO_RATES;
  const per = (count: number): number => Math.max(0, (count * 1000) / (to.nowMs - from.nowMs));
  return {
    receivedRate: per(to.bytes - from.bytes),
    writtenRate: per(to.writtenBytes - from.writtenBytes),
  };
}
