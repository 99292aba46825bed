/**
 * What both modes of the autoscaler have in common: the sample of one window, the state that goes from window to window,
 * rates, and the trial that every growth is. Pure. Who measures, and opens and drains streams, is stream-director.ts.
 */
import { assert } from "#base/assert.ts";

const WINDOW_MS = 1_000;

/** Big chunks on a slow link are acknowledged so rarely that a window waits for some of them, but no longer than this. */
const WINDOW_MS_MAX = 16_000;
const WINDOW_CHUNKS = 8;

/** Windows in a row that say the same before a stream comes or goes, and that a trial lasts. */
export const HYSTERESIS_WINDOWS = 3;

/** After a trial that was no gain nobody asks again for so many windows: what was in the way may have gone by then. */
const COOL_WINDOWS = 30;

/** More than this part of the streams' time held back by the bandwidth limit: it is the limit that decides. */
const HELD_SHARE_MAX = 0.1;

/** What is kept at the least rise of throughput. */
const RISE_MIN = 0.05;

export interface ScaleSample {
  readonly durationMs: number;
  /** Stored bytes that were made, and those that no stream had been given when the window began. */
  readonly producedBytes: number;
  readonly waitingBytes: number;
  /** Time in which the producer waited for room in the send window. */
  readonly blockedMs: number;
  readonly acknowledgedBytes: number;
  readonly acknowledgedChunks: number;
  /** Summed over the streams: with something in hand, and held back by the bandwidth limit meanwhile. */
  readonly busyMs: number;
  readonly heldMs: number;
  /** The server did not read, its disk being behind, at some time in the window. */
  readonly stalled: boolean;
  /** Streams that were up at the end of the window. */
  readonly up: number;
}

export interface Trial {
  /** Streams and throughput (bytes per millisecond) before it. */
  readonly from: number;
  readonly rateBefore: number;
  readonly windows: number;
  /** Sum of the windows' throughput. */
  readonly rateSum: number;
  readonly durationMs: number;
}

export interface ScaleState {
  readonly active: number;
  /** A window has passed: the first one, in which everything begins, is no measure. */
  readonly begun: boolean;
  /** Growth doubles until a trial was no gain; from then on it is one stream at a time. */
  readonly refused: boolean;
  readonly trial: Trial | undefined;
  readonly coolWindows: number;
  /** Windows in a row that asked for more, and for less. */
  readonly more: number;
  readonly less: number;
  /** Throughput of the last windows with this number of streams, the newest last. */
  readonly rates: readonly number[];
  readonly phase: "steady" | "growing" | "shrinking" | "cooling";
}

/** What follows from a window; `max` is the most streams there can be. */
export type ScaleStep = (state: ScaleState, sample: ScaleSample, max: number) => ScaleState;

export const SCALE_START: ScaleState = {
  active: 1,
  begun: false,
  refused: false,
  trial: undefined,
  coolWindows: 0,
  more: 0,
  less: 0,
  rates: [],
  phase: "steady",
};

/** Whether the window has seen enough to be judged by. */
export function windowIsFull(sample: ScaleSample, active: number): boolean {
  if (sample.durationMs < WINDOW_MS) return false;
  const idle = sample.busyMs < 0.05 * sample.durationMs;
  return idle || sample.acknowledgedChunks >= Math.min(active, WINDOW_CHUNKS) || sample.durationMs >= WINDOW_MS_MAX;
}

/** Acknowledged bytes per millisecond. */
function throughput(sample: ScaleSample): number {
  return sample.acknowledgedBytes / sample.durationMs;
}

/** Bytes per millisecond that there were to be sent, as long as the window was not in the way. */
export function producedRate(sample: ScaleSample): number {
  const bytes = sample.producedBytes + sample.waitingBytes;
  const openMs = sample.durationMs - sample.blockedMs;
  // Blocked all the time: whatever the producer could, it is more than was taken.
  return openMs > 0 ? bytes / openMs : Number.POSITIVE_INFINITY;
}

/** Bytes per millisecond that the streams could have taken had they been busy all the time; infinite when none was. */
export function drainRate(sample: ScaleSample, active: number): number {
  return sample.busyMs > 0 ? (sample.acknowledgedBytes / sample.busyMs) * active : Number.POSITIVE_INFINITY;
}

/** The window says nothing about the number of streams: something else decided how much went through. */
export function saysNothing(state: ScaleState, sample: ScaleSample): boolean {
  return !state.begun || sample.stalled || sample.up === 0 || sample.heldMs > HELD_SHARE_MAX * sample.busyMs;
}

/** Nothing is concluded, and nothing that was counted goes on. */
export function hold(state: ScaleState): ScaleState {
  return {
    ...state,
    begun: true,
    more: 0,
    less: 0,
    rates: [],
    phase: state.trial === undefined ? "steady" : "growing",
  };
}

/** Begins a trial with more streams: as many more as there are, or one, and no more than `max`. */
export function grow(state: ScaleState, max: number): ScaleState {
  const added = Math.min(state.refused ? 1 : state.active, max - state.active);
  assert(added > 0, `no stream to be added to ${state.active} of ${max}`);
  const { active, rates } = state;
  const rateBefore = rates.reduce((sum, rate) => sum + rate, 0) / Math.max(1, rates.length);
  const trial = { from: active, rateBefore, windows: 0, rateSum: 0, durationMs: 0 };
  return { ...state, active: active + added, trial, more: 0, less: 0, rates: [], phase: "growing" };
}

/** One more window of the trial under way: it is kept, goes on, or was no gain. */
export function tryOn(state: ScaleState, trial: Trial, sample: ScaleSample): ScaleState {
  const rate = throughput(sample);
  const { from, rateBefore } = trial;
  const added = (state.active - from) / from;
  const windows = trial.windows + 1;
  const rateSum = trial.rateSum + rate;
  const durationMs = trial.durationMs + sample.durationMs;
  const kept: ScaleState = { ...state, trial: undefined, rates: [rate], phase: "growing" };
  // Growing fast one window is enough if it shows half of what there is to be won.
  if (!state.refused && rate >= rateBefore * (1 + 0.5 * added)) return kept;
  if (windows < HYSTERESIS_WINDOWS)
    return { ...state, trial: { ...trial, windows, rateSum, durationMs }, phase: "growing" };
  const rise = Math.min(RISE_MIN, 0.5 * added);
  const gained = rateSum / windows - rateBefore;
  // A chunk more or less in a window is chance.
  const chunkBytes = sample.acknowledgedBytes / Math.max(1, sample.acknowledgedChunks);
  if (gained >= rateBefore * rise && gained * durationMs > chunkBytes) return kept;
  return {
    ...state,
    active: from,
    trial: undefined,
    refused: true,
    coolWindows: COOL_WINDOWS,
    rates: [],
    phase: "cooling",
  };
}

/** The same state one window later, with the window's throughput. */
export function after(state: ScaleState, sample: ScaleSample): ScaleState {
  const coolWindows = Math.max(0, state.coolWindows - 1);
  const rates = [...state.rates, throughput(sample)].slice(-HYSTERESIS_WINDOWS);
  return { ...state, coolWindows, rates, phase: coolWindows > 0 ? "cooling" : "steady" };
}

/** Windows in a row that growth needs: one while it still doubles, so that a short backup does not end before it began. */
export function windowsBeforeGrowth(state: ScaleState): number {
  return state.refused ? HYSTERESIS_WINDOWS : 1;
}
