/** Events as the server emits them, for tests of what observes them. */
import type { ObservedEvent } from "#observe/events.ts";
import type { SessionEnd } from "#observe/records.ts";

export function sessionEnd(changes: Partial<SessionEnd> = {}): SessionEnd {
  return {
    ...{ session: "0a0a0a0a-0000-4000-8000-00000000000a", agent: "web-1", backup: "home", storage: "main" },
    ...{ run: "0c0c0c0c-0000-4000-8000-00000000000c", outcome: "committed", code: null, message: "committed" },
    ...{ hint: null, startWallMs: 1000, durationMs: 500, streams: 1, chunks: 3, bytes: 300, duplicateBytes: 0 },
    ...{ damagedChunks: 0, breaks: 0, entries: 7, rawBytes: 900, problems: 0 },
    ...{ archive: "web-1/home/2026-01-01T00-00-00-000Z.tar.gz", archiveBytes: 300, sha256: "ab", removed: [] },
    verify: "none",
    ...changes,
  };
}

export function endedEvent(changes: Partial<SessionEnd> = {}): ObservedEvent {
  const end = sessionEnd(changes);
  const kind = end.outcome === "committed" ? "session.committed" : "session.ended";
  return { kind, level: "info", message: end.message, fields: { agent: end.agent, backup: end.backup }, end };
}

export function refusedEvent(agent: string, code: string): ObservedEvent {
  const end = sessionEnd({ session: null, agent, outcome: "refused", code, message: "no", archive: null });
  const fields = { agent, code };
  return { kind: "admission.refused", level: "warn", message: "no", fields, end, repeatKey: `${agent} ${code}` };
}
