/** Sessions that run, as cards and the live stream show them: progress and time left from what has arrived and what the last archive was. */
import type { LiveView } from "#observe/live-view.ts";
import type { SessionSeries } from "#observe/session-series.ts";
import type { AgentChannel, AutoscalerRow, LiveSession } from "./api-types.ts";

const NO_RATES = { receivedRate: 0, writtenRate: 0 };

export function liveSession(live: LiveView, series: Pick<SessionSeries, "of">): LiveSession {
  const { phase, phaseDone, phaseTotal, slots } = live;
  const { slots: _slots, ...view } = live.view;
  const { receivedRate, writtenRate } = series.of(view.session)?.rates ?? NO_RATES;
  return {
    ...view,
    ...{ phase, phaseDone, phaseTotal, ...aheadOf(live, receivedRate) },
    ...{ receivedRate: Math.round(receivedRate), writtenRate: Math.round(writtenRate) },
    streamsUp: slots.filter(({ state }) => state === "receiving").length,
    slotCount: slots.length,
  };
}

/** By raw bytes that have arrived against the last archive's; where there was none nobody can say. */
function aheadOf(live: LiveView, receivedRate: number): Pick<LiveSession, "progress" | "etaMs"> {
  const { view, phase, phaseDone, phaseTotal, lastRawBytes } = live;
  if (phase !== "receiving" && phaseDone !== null && phaseTotal !== null && phaseTotal > 0) {
    return { progress: Math.min(1, phaseDone / phaseTotal), etaMs: null };
  }
  if (lastRawBytes === 0) return { progress: null, etaMs: null };
  const arrivedBytes = arrivedRawBytes(live);
  const leftBytes = lastRawBytes - arrivedBytes;
  // A stored byte stands for as many raw ones as those that came so far.
  const rate = view.bytes === 0 ? 0 : (receivedRate * arrivedBytes) / view.bytes;
  const isGoingOn = phase === "receiving" && rate > 0 && leftBytes > 0;
  return {
    progress: Math.min(1, arrivedBytes / lastRawBytes),
    etaMs: isGoingOn ? Math.round((leftBytes / rate) * 1000) : null,
  };
}

/**
 * Raw bytes of the archive that have arrived, as far as anyone can tell: the agent says what it has read, and of that holds up to a
 * window full, which with a slow line or a limit is yet to come. How the archive compresses is taken from the last one; if it is
 * other this time, the window still bounds how much is not here.
 */
function arrivedRawBytes({ view, lastRawBytes, windowBytes }: LiveView): number {
  const { bytes, rawBytes, expectedBytes } = view;
  if (expectedBytes === 0) return rawBytes;
  const rawPerStored = lastRawBytes / expectedBytes;
  const heldBytesMax = windowBytes * rawPerStored;
  return Math.min(rawBytes, Math.max(bytes * rawPerStored, rawBytes - heldBytesMax));
}

/** What the agent tells of its streams' number, on its control channel. */
export function autoscalerOf(session: string, agents: readonly AgentChannel[]): AutoscalerRow | null {
  for (const { backups } of agents) {
    for (const backup of backups) if (backup.session === session) return backup.autoscaler;
  }
  return null;
}
