/** What `nbackup-server agents` prints for people. Values in, text out. */
import { safeText } from "#base/safe-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import type { AgentBackupView, AgentView } from "#observe/agent-views.ts";
import { textTable } from "./text-table.ts";
import { timeText } from "./time-text.ts";

export function agentsText(agents: readonly AgentView[], nowWallMs: number): string {
  if (agents.length === 0) return "no agent has enrolled or has been seen yet\n";
  const rows = agents.map((agent) => [
    ...[agent.agent, stateText(agent, nowWallMs), agent.address ?? "-", safeText(agent.software ?? "-")],
    ...[rttText(agent), runningText(agent.backups), nextText(agent), lastText(agent.backups)],
  ]);
  const columns = ["AGENT", "STATE", "ADDRESS", "VERSION", "RTT", "RUNNING", "NEXT", "LAST"];
  return textTable(
    columns.map((heading) => ({ heading })),
    rows,
  );
}

const NEW_CA_TEXT = { trusted: "", missing: ", without the new CA", unknown: ", new CA unknown" } as const;

function stateText({ connected, lost, sinceWallMs, newCa }: AgentView, nowWallMs: number): string {
  if (sinceWallMs === null) return "enrolled, not seen yet";
  const ago = formatDuration(Math.max(0, nowWallMs - sinceWallMs));
  if (connected) return `connected ${ago}${newCa === undefined ? "" : NEW_CA_TEXT[newCa]}`;
  return `${lost ? "lost" : "away"}, seen ${ago} ago`;
}

function rttText({ rttMs, rttDeviationMs }: AgentView): string {
  if (rttMs === null) return "-";
  return `${rttMs.toFixed(1)} ± ${(rttDeviationMs ?? 0).toFixed(1)} ms`;
}

function runningText(backups: readonly AgentBackupView[]): string {
  const busy = backups.filter(({ activity }) => activity !== "idle");
  if (busy.length === 0) return "-";
  return busy.map((one) => (one.activity === "waiting" ? `${one.backup} (waits)` : progressText(one))).join(", ");
}

function progressText({ backup, phase = "running", rawBytes = 0 }: AgentBackupView): string {
  return rawBytes === 0 ? `${backup} (${safeText(phase)})` : `${backup} (${safeText(phase)}, ${formatSize(rawBytes)})`;
}

function nextText({ backups, connected }: AgentView): string {
  if (!connected) return "-";
  const nexts = backups.flatMap(({ backup, nextWallMs }) => (nextWallMs === undefined ? [] : [{ backup, nextWallMs }]));
  const next = nexts.sort((a, b) => a.nextWallMs - b.nextWallMs)[0];
  return next === undefined ? "-" : `${next.backup} ${timeText(next.nextWallMs)}`;
}

function lastText(backups: readonly AgentBackupView[]): string {
  const ended = backups.flatMap(({ backup, lastResult, lastWallMs }) =>
    lastResult === undefined || lastWallMs === undefined ? [] : [{ backup, lastResult, lastWallMs }],
  );
  const last = ended.sort((a, b) => b.lastWallMs - a.lastWallMs)[0];
  return last === undefined ? "-" : `${last.backup} ${safeText(last.lastResult)} ${timeText(last.lastWallMs)}`;
}
