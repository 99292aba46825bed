/**
 * `logging.stream_stats`: a line for each session with the figures of its streams, of agent and server alike. What passed since the line
 * before is worked out here; who has the counters, and when a line is due, is the caller's.
 */
import type { Logger } from "#base/log.ts";

/** Of a whole session: a stream that reconnects goes on counting. */
export interface StreamCount {
  readonly slot: number;
  readonly up: boolean;
  readonly bytes: number;
}

export interface StreamsOfSession {
  readonly session: string;
  readonly backup: string;
  /** On the server. */
  readonly agent?: string;
  readonly streams: readonly StreamCount[];
}

/** Often enough to see a stream that falls behind, and no more than a screen in a few minutes. */
export const STREAM_STATS_MS = 15_000;

/** Streams named in one line: a line of the log takes a hundred items. */
const STREAMS_NAMED_MAX = 99;

export class StreamStats {
  readonly #log: Logger;
  #last = new Map<string, readonly StreamCount[]>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `elapsedMs` since the last call. Unless it is `wanted` nothing is said, but a line that is later has the right rate. */
  tell(sessions: readonly StreamsOfSession[], elapsedMs: number, wanted: boolean): void {
    const last = this.#last;
    this.#last = new Map(sessions.map(({ session, streams }) => [session, streams]));
    if (!wanted) return;
    for (const { streams, ...names } of sessions) {
      const before = new Map((last.get(names.session) ?? []).map(({ slot, bytes }) => [slot, bytes]));
      const told = streams.map(({ slot, up, bytes }) => ({
        ...{ slot, up, bytes },
        bytesPerSecond: Math.round(((bytes - (before.get(slot) ?? 0)) * 1000) / elapsedMs),
      }));
      const bytesPerSecond = told.reduce((sum, stream) => sum + stream.bytesPerSecond, 0);
      const upCount = told.filter(({ up }) => up).length;
      const more = Math.max(0, told.length - STREAMS_NAMED_MAX);
      this.#log.info(`${upCount} of ${told.length} streams are up`, {
        ...{ event: "stream.stats", ...names, bytesPerSecond },
        streams: told.slice(0, STREAMS_NAMED_MAX),
        ...(more > 0 ? { more } : {}),
      });
    }
  }
}
