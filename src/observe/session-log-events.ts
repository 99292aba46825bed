/** When a session's log begins and ends, by the server's events. It passes them on, and keeps nothing. */
import type { EventSink, ObservedEvent } from "./events.ts";
import type { SessionLogEnd, SessionLogs } from "./session-log.ts";

const BEGINNINGS = new Set(["session.admitted", "session.recovered"]);
const ENDS: ReadonlyMap<string, SessionLogEnd> = new Map([
  ["session.committed", "good"],
  ["session.ended", "failed"],
  ["session.suspended", "paused"],
]);

export function withSessionLogs(events: EventSink, logs: SessionLogs): EventSink {
  return {
    emit(event: ObservedEvent): void {
      const { session, agent, backup } = event.fields;
      if (typeof session !== "string") {
        events.emit(event);
        return;
      }
      if (BEGINNINGS.has(event.kind)) logs.begin({ session, agent: String(agent), backup: String(backup) });
      events.emit(event);
      const end = ENDS.get(event.kind);
      if (end !== undefined) logs.end(session, end);
    },
  };
}
