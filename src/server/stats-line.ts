/** Lines in the log while something runs: one a minute, how much came, how the disk does; and of each stream. It counts nothing itself. */
import { type Clock, every, type Timer } from "#base/clock.ts";
import type { Logger } from "#base/log.ts";
import { formatSize } from "#base/units.ts";
import { STREAM_STATS_MS, StreamStats } from "#observe/stream-stats.ts";
import type { Registry } from "./registry.ts";
import type { ServerGauges, ServerMetrics } from "./server-metrics.ts";

const PERIOD_MS = 60_000;

export function everyMinute(clock: Clock, log: Logger, metrics: ServerMetrics, gauges: ServerGauges): Timer {
  let last = valuesOf(metrics);
  return every(clock, PERIOD_MS, () => {
    const now = valuesOf(metrics);
    const bytesPerSecond = Math.round(((now.bytes - last.bytes) * 1000) / PERIOD_MS);
    const fsyncs = now.fsyncs - last.fsyncs;
    const fsyncMeanMs = fsyncs === 0 ? 0 : Math.round(((now.fsyncSeconds - last.fsyncSeconds) * 10_000) / fsyncs) / 10;
    const chunks = now.chunks - last.chunks;
    last = now;
    const [sessions, waiting] = [gauges.sessionCount(), gauges.waitingCount()];
    if (sessions === 0 && waiting === 0) return;
    log.info(`${sessions} sessions run, ${waiting} wait: ${formatSize(bytesPerSecond)}/s`, {
      ...{ event: "server.stats", sessions, waiting, connections: gauges.connectionCount() },
      ...{ bytesPerSecond, chunks, fsyncs, fsyncMeanMs },
      ...{ backlogBytes: gauges.backlogBytes(), memoryBytes: gauges.memory().usedBytes },
      ...{ chunkBufferBytes: gauges.chunkBuffer().usedBytes, chunkBufferBytesMax: gauges.chunkBuffer().bytesMax },
    });
  });
}

/** `logging.stream_stats`, which is asked for each time. */
export function everyStream(clock: Clock, log: Logger, registry: Registry, wanted: () => boolean): Timer {
  const stats = new StreamStats(log);
  return every(clock, STREAM_STATS_MS, () => {
    const sessions = [...registry.sessions()].map(({ plan, slots }) => ({
      ...{ session: plan.id, agent: plan.agent, backup: plan.backup },
      streams: slots.views(clock.now()).map(({ slot, state, bytes }) => ({ slot, up: state === "receiving", bytes })),
    }));
    stats.tell(sessions, STREAM_STATS_MS, wanted());
  });
}

function valuesOf(metrics: ServerMetrics): { bytes: number; chunks: number; fsyncs: number; fsyncSeconds: number } {
  const { bytesReceived: bytes, chunksReceived: chunks, fsyncs } = metrics;
  return { bytes, chunks, fsyncs: fsyncs.count, fsyncSeconds: fsyncs.sum };
}
