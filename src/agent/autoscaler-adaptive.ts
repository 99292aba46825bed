/**
 * The autoscaler's mode `adaptive`: a stream more is tried for three windows and kept if throughput rose, else dropped, and
 * then nothing is tried for a while. Pure. Streams that are mostly idle need no trial.
 */
import {
  after,
  grow,
  hold,
  saysNothing,
  type ScaleSample,
  type ScaleState,
  tryOn,
  windowsBeforeGrowth,
} from "./autoscaler.ts";

/** Streams that are busy for less than this part of the time could take more as they are. */
const BUSY_SHARE_MIN = 0.5;

export function adaptiveStep(state: ScaleState, sample: ScaleSample, max: number): ScaleState {
  if (saysNothing(state, sample)) return hold(state);
  if (state.trial !== undefined) return tryOn(state, state.trial, sample);
  const busy = sample.busyMs >= BUSY_SHARE_MIN * state.active * sample.durationMs;
  const next: ScaleState = { ...after(state, sample), more: busy ? state.more + 1 : 0 };
  if (next.more < windowsBeforeGrowth(next) || next.coolWindows > 0 || state.active >= max) return next;
  return grow(next, max);
}
