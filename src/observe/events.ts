/**
 * Events: what happened to sessions, storages and agents, as plain values. Who emits them knows nothing of where they go:
 * recorder.ts writes them to the log, keeps them, and counts repeated ones.
 */
import type { Logger, LogLevel } from "#base/log.ts";
import type { SessionEnd } from "./records.ts";

/** One event. `kind` is stable: `session.ended`, `storage.failed` … */
export interface ObservedEvent {
  readonly kind: string;
  readonly level: LogLevel;
  /** A sentence for people, lower case without a final stop. */
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
  /** A session ended, or an agent was refused: the history keeps this. */
  readonly end?: SessionEnd;
  /** An agent may cause it as often as it likes: of the same kind and key one is told at once, then one a minute. */
  readonly repeatKey?: string;
  /**
   * Whose doing it is, where that agent may cause it as often as it likes with ever new keys: after hundreds of a kind one a
   * minute is told, so that no certificate can push what others did out of the history.
   */
  readonly byAgent?: string;
}

export interface EventSink {
  /** Never throws. */
  emit(event: ObservedEvent): void;
}

/** Writes each event as one line of the log. */
export function logEvents(log: Logger): EventSink {
  return {
    emit(event: ObservedEvent): void {
      log[event.level](event.message, { event: event.kind, ...event.fields });
    },
  };
}
