/**
 * Events: what happened to sessions, storages and agents, as plain values. Here they go to the log; keeping and serving
 * them comes with the read model.
 */
import type { Logger, LogLevel } from "#base/log.ts";

/** One event. `kind` is stable: `session.ended`, `storage.failed` … */
export interface ObservedEvent {
  readonly kind: string;
  readonly level: LogLevel;
  /** A sentence for people, lower case without a final stop. */
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
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
