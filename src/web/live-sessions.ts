/** Sessions that run, as cards and the live stream show them: progress and time left from what was read and what the last archive was. */
import type { LiveView } from "#observe/live-view.ts";
import type { SessionSeries } from "#observe/session-series.ts";
import type { TrackRates } from "#observe/session-track.ts";
import type { AgentChannel, AutoscalerRow, LiveSession } from "./api-types.ts";

const NO_RATES = { receivedRate: 0, writtenRate: 0, rawRate: 0 };

export function liveSession(live: LiveView, series: Pick<SessionSeries, "of">): LiveSession {
  const { phase, phaseDone, phaseTotal, slots } = live;
  const { slots: _slots, ...view } = live.view;
  const { receivedRate, writtenRate, rawRate } = series.of(view.session)?.rates ?? NO_RATES;
  return {
    ...view,
    ...{ phase, phaseDone, phaseTotal, ...aheadOf(live, { receivedRate, rawRate }) },
    ...{ receivedRate: Math.round(receivedRate), writtenRate: Math.round(writtenRate) },
    streamsUp: slots.filter(({ state }) => state === "receiving").length,
    slotCount: slots.length,
  };
}

/**
 * Against the last archive; where there was none nobody can say. What was read runs ahead of what has come by all that the agent's window holds,
 * and what has come says little when the files shrink better than before: whatever is further from its end counts.
 */
function aheadOf(
  { view, phase, phaseDone, phaseTotal, lastRawBytes }: LiveView,
  { receivedRate, rawRate }: Pick<TrackRates, "receivedRate" | "rawRate">,
): Pick<LiveSession, "progress" | "etaMs"> {
  if (phase !== "receiving" && phaseDone !== null && phaseTotal !== null && phaseTotal > 0) {
    return { progress: Math.min(1, phaseDone / phaseTotal), etaMs: null };
  }
  const measures = [
    { bytes: view.rawBytes, ofBytes: lastRawBytes, rate: rawRate },
    { bytes: view.bytes, ofBytes: view.expectedBytes, rate: receivedRate },
  ].filter(({ bytes, ofBytes }) => ofBytes > 0 && bytes > 0);
  const [behind] = measures.sort((a, b) => a.bytes / a.ofBytes - b.bytes / b.ofBytes);
  if (behind === undefined) return { progress: lastRawBytes === 0 ? null : 0, etaMs: null };
  const { bytes, ofBytes, rate } = behind;
  const isGoingOn = phase === "receiving" && rate > 0 && bytes < ofBytes;
  return {
    progress: Math.min(1, bytes / ofBytes),
    etaMs: isGoingOn ? Math.round(((ofBytes - bytes) / rate) * 1000) : null,
  };
}

/** What the agent tells of its streams' number, on its control channel. */
export function autoscalerOf(session: string, agents: readonly AgentChannel[]): AutoscalerRow | null {
  for (const { backups } of agents) {
    for (const backup of backups) if (backup.session === session) return backup.autoscaler;
  }
  return null;
}
