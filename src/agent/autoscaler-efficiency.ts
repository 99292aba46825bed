/**
 * The autoscaler's mode `efficiency`: one more while there is more to be sent than the streams can take, one less while there
 * is much less. Pure. A growth that brings nothing is taken back, so that a limit elsewhere does not collect streams.
 */
import {
  after,
  drainRate,
  grow,
  hold,
  HYSTERESIS_WINDOWS,
  producedRate,
  saysNothing,
  type ScaleSample,
  type ScaleState,
  tryOn,
  windowsBeforeGrowth,
} from "./autoscaler.ts";

/** Produced to drained: above this more streams are wanted. */
const MORE_ABOVE = 1;
/** Below this fewer are. */
const LESS_BELOW = 0.7;

export function efficiencyStep(state: ScaleState, sample: ScaleSample, max: number): ScaleState {
  if (saysNothing(state, sample)) return hold(state);
  if (state.trial !== undefined) return tryOn(state, state.trial, sample);
  const { active } = state;
  const ratio = producedRate(sample) / drainRate(sample, active);
  // One that would be missed at once stays: with few streams each is a large part.
  const spare = active > 1 && ratio < LESS_BELOW && (ratio * active) / (active - 1) <= MORE_ABOVE;
  const next: ScaleState = {
    ...after(state, sample),
    more: ratio > MORE_ABOVE ? state.more + 1 : 0,
    less: spare ? state.less + 1 : 0,
  };
  if (next.more >= windowsBeforeGrowth(next) && next.coolWindows === 0 && active < max) return grow(next, max);
  if (next.less < HYSTERESIS_WINDOWS) return next;
  return { ...next, active: active - 1, less: 0, rates: [], phase: "shrinking" };
}
