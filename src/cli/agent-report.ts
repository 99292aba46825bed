/** What `nbackup-agent status` prints for people. Values in, text out; times are those of the schedules' time zone. */
import { safeText } from "#base/safe-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import type { AgentEntryView, AgentStatus, ControlView, RunningView, RunView } from "#observe/views.ts";
import { textTable } from "./text-table.ts";

export function agentStatusText(status: AgentStatus, nowWallMs: number): string {
  const { software, pid, uptimeMs, stopping, agent, server, zone, configFile, configWallMs } = status;
  const time = timesIn(zone);
  const lines = [
    `${software}, process ${pid}, ${stopping ? "stopping, " : ""}up ${formatDuration(uptimeMs)}`,
    `agent ${agent}, server ${server}, times in ${zone}`,
    `configuration ${safeText(configFile)}, read ${time(configWallMs)}`,
    `certificate until ${time(status.certificateNotAfterMs)}`,
    controlText(status.control, time),
    ...troubles(status, time),
  ];
  const rows = status.entries.map((entry) => [
    ...[entry.backup, entry.storage, entry.schedule ?? "-", nextText(entry, time)],
    ...[lastText(entry.last, time), committedText(entry.lastCommitted, nowWallMs)],
  ]);
  const columns = ["BACKUP", "STORAGE", "SCHEDULE", "NEXT", "LAST", "LAST COMMITTED"];
  const table = textTable(
    columns.map((heading) => ({ heading })),
    rows,
  );
  const details = status.entries.flatMap((entry) => detailsOf(entry, nowWallMs, time));
  return `${lines.map((line) => `${line}\n`).join("")}\n${table}${details.map((line) => `${line}\n`).join("")}`;
}

/** The control channel in one line. */
function controlText(control: ControlView, time: TimeText): string {
  const { enabled, connectedSinceWallMs, rttMs, rttDeviationMs, serverLoad, serverCpus, lastFailure } = control;
  if (!enabled) return "control channel off (daemon.control_channel.enabled)";
  const why =
    lastFailure === null
      ? ""
      : `; last failure ${time(lastFailure.wallMs)}: ${lastFailure.code}: ${safeText(lastFailure.message)}`;
  if (connectedSinceWallMs === null) return `control channel down${why}`;
  const rtt = rttMs === null ? "" : `, RTT ${rttMs.toFixed(1)} ± ${(rttDeviationMs ?? 0).toFixed(1)} ms`;
  const load = serverLoad === null ? "" : `, server load ${serverLoad.toFixed(2)} on ${serverCpus ?? "?"} processors`;
  return `control channel up since ${time(connectedSinceWallMs)}${rtt}${load}${why}`;
}

type TimeText = (wallMs: number) => string;

/** `2026-02-12 02:00:00`. */
function timesIn(zone: string): TimeText {
  const format = new Intl.DateTimeFormat("sv", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
  return (wallMs) => format.format(wallMs);
}

function troubles({ reloadFailure, stateFailing }: AgentStatus, time: TimeText): string[] {
  return [
    ...(reloadFailure === null
      ? []
      : [`not used, as read ${time(reloadFailure.wallMs)}: ${reloadFailure.code}: ${safeText(reloadFailure.message)}`]),
    ...(stateFailing ? ["what was run cannot be remembered: see the log and the disk of state_dir"] : []),
  ];
}

function nextText({ activity, nextWallMs }: AgentEntryView, time: TimeText): string {
  if (activity !== "idle") return activity;
  return nextWallMs === null ? "-" : time(nextWallMs);
}

function lastText(last: RunView | null, time: TimeText): string {
  if (last === null) return "-";
  const problems = last.problemCount > 0 ? `, ${last.problemCount} files with problems` : "";
  return `${last.result === "committed" ? "committed" : (last.code ?? "failed")} ${time(last.startedWallMs)}${problems}`;
}

function committedText(run: RunView | null, nowWallMs: number): string {
  if (run === null) return "never";
  const agoMs = Math.max(0, nowWallMs - run.startedWallMs - run.durationMs);
  return `${formatDuration(agoMs)} ago, ${formatSize(run.archiveBytes)} in ${formatDuration(run.durationMs)}`;
}

function detailsOf(entry: AgentEntryView, nowWallMs: number, time: TimeText): string[] {
  const { backup, running, last } = entry;
  if (running !== null) return [`${backup}: ${runningText(running, nowWallMs)}${limitText(entry, time)}`];
  if (last === null || last.code === null) return [];
  return [`${backup}: ${last.code}: ${safeText(last.message ?? "")}`, `  ${safeText(last.hint ?? "")}`];
}

/** `, limited to 2.0 MB/s until 2026-02-12 18:00:00`. */
function limitText({ limitBytesPerSecond, limitUntilWallMs }: AgentEntryView, time: TimeText): string {
  const until = limitUntilWallMs === null ? "" : ` until ${time(limitUntilWallMs)}`;
  if (limitBytesPerSecond !== null) return `, limited to ${formatSize(limitBytesPerSecond)}/s${until}`;
  return until === "" ? "" : `, without a bandwidth limit${until}`;
}

function streamsText({ streamsUp, autoscaler }: RunningView): string {
  return autoscaler === null || autoscaler.max === 1 ? "" : `, ${streamsUp}/${autoscaler.max} streams`;
}

function runningText(running: RunningView, nowWallMs: number): string {
  const { stage, position, startedWallMs, rawBytes, lastRawBytes, storedBytes, durableBytes, retries } = running;
  const since = `for ${formatDuration(Math.max(0, nowWallMs - startedWallMs))}`;
  const place = position === null ? "" : `, ${position}. in the server's line`;
  const tried = retries > 0 ? `, tried again ${retries} times` : "";
  const last = lastRawBytes > 0 ? ` (last time ${formatSize(lastRawBytes)})` : "";
  const bytes =
    rawBytes === 0
      ? ""
      : `, ${formatSize(rawBytes)} read${last}, ${formatSize(storedBytes)} compressed, ${formatSize(durableBytes)} safe on the server`;
  const path = running.currentPath === null ? "" : `, at ${running.currentPath}`;
  return `${stage} ${since}${place}${tried}${bytes}${streamsText(running)}${path}`;
}
