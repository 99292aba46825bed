/** Sessions that run, as cards and the live stream show them: progress and time left from what was read and what the last archive was. */
import type { LiveView } from "#observe/live-view.ts";
import type { SessionSeries } from "#observe/session-series.ts";
import type { AgentChannel, AutoscalerRow, LiveSession } from "./api-types.ts";

const NO_RATES = { receivedRate: 0, writtenRate: 0, rawRate: 0 };

export function liveSession(live: LiveView, series: Pick<SessionSeries, "of">): LiveSession {
  const { phase, phaseDone, phaseTotal, slots } = live;
  const { slots: _slots, ...view } = live.view;
  const { receivedRate, writtenRate, rawRate } = series.of(view.session)?.rates ?? NO_RATES;
  return {
    ...view,
    ...{ phase, phaseDone, phaseTotal, ...aheadOf(live, rawRate) },
    ...{ receivedRate: Math.round(receivedRate), writtenRate: Math.round(writtenRate) },
    streamsUp: slots.filter(({ state }) => state === "receiving").length,
    slotCount: slots.length,
  };
}

/** By raw bytes against the last archive's; where there was none nobody can say. */
function aheadOf(
  { view, phase, phaseDone, phaseTotal, lastRawBytes }: LiveView,
  rawRate: number,
): Pick<LiveSession, "progress" | "etaMs"> {
  if (phase !== "receiving" && phaseDone !== null && phaseTotal !== null && phaseTotal > 0) {
    return { progress: Math.min(1, phaseDone / phaseTotal), etaMs: null };
  }
  if (lastRawBytes === 0) return { progress: null, etaMs: null };
  const progress = Math.min(1, view.rawBytes / lastRawBytes);
  const leftBytes = lastRawBytes - view.rawBytes;
  const isGoingOn = phase === "receiving" && rawRate > 0 && leftBytes > 0;
  return { progress, etaMs: isGoingOn ? Math.round((leftBytes / rawRate) * 1000) : null };
}

/** What the agent tells of its streams' number, on its control channel. */
export function autoscalerOf(session: string, agents: readonly AgentChannel[]): AutoscalerRow | null {
  for (const { backups } of agents) {
    for (const backup of backups) if (backup.session === session) return backup.autoscaler;
  }
  return null;
}
