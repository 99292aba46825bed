/** What the commands that ask a running server print for people. Values in, text out. */
import { safeText } from "#base/safe-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import type { PruneView, ServerStatus, SessionsView, SessionView, StorageView } from "#observe/views.ts";
import { maintenanceLine } from "./order-commands.ts";
import { timeText } from "./time-text.ts";
import { textTable } from "./text-table.ts";

function configurationLines({ configuration: { readWallMs, failure } }: ServerStatus): string[] {
  const lines = [`configuration read at ${timeText(readWallMs)}`];
  if (failure === null) return lines;
  return [
    ...lines,
    `a newer one was not taken at ${timeText(failure.wallMs)}: ${safeText(`${failure.code}: ${failure.reason}`)}`,
  ];
}

export function statusText(status: ServerStatus, nowWallMs: number): string {
  const { software, pid, uptimeMs, stopping, sessionCount, sessionsMax, waitingCount, connectionCount } = status;
  const { memoryBytes, memoryBytesMax, storages, lostRecords } = status;
  const lines = [
    `${software}, process ${pid}, ${stopping ? "stopping, " : ""}up ${formatDuration(uptimeMs)}`,
    `${sessionCount} of ${sessionsMax} sessions run, ${waitingCount} agents wait, ${connectionCount} connections, ` +
      `${formatSize(memoryBytes)} of ${formatSize(memoryBytesMax)} memory`,
  ];
  if (status.maintenance !== null) lines.push(maintenanceLine(status.maintenance, nowWallMs));
  if (status.verifying !== null) lines.push(verifyingText(status));
  lines.push(...configurationLines(status));
  if (lostRecords.failing) lines.push("events and history cannot be written: see the log and the disk of state_dir");
  const table = textTable(
    [
      ...[{ heading: "STORAGE" }, { heading: "STATE" }, { heading: "FREE", right: true }],
      ...[
        { heading: "OF", right: true },
        { heading: "RESERVE", right: true },
        { heading: "KEEP", right: true },
      ],
      ...[{ heading: "SESSIONS", right: true }, { heading: "DIRECTORY" }],
    ],
    storages.map((storage) => [
      ...[storage.name, storage.state, sizeOrDash(storage.freeBytes), sizeOrDash(storage.totalBytes)],
      ...[sizeOrDash(storage.reserveBytes), String(storage.maxBackups), String(storage.sessionCount)],
      safeText(storage.baseDir),
    ]),
  );
  return `${lines.map((line) => `${line}\n`).join("")}\n${table}${storages.map((one) => trouble(one, nowWallMs)).join("")}`;
}

function verifyingText({ verifying, storages }: ServerStatus): string {
  if (verifying === null) return "";
  const { storage, archive, done, total, by } = verifying;
  const waiting = storages.reduce((sum, one) => sum + one.verifyingCount, 0) - 1;
  const part = total > 0 ? `${Math.floor((100 * done) / total)} % of ${formatSize(total)}` : formatSize(done);
  return `reads ${storage}: ${safeText(archive)} again (${by}): ${part}${waiting > 0 ? `, ${waiting} more to be read` : ""}`;
}

function trouble({ name, code, message, sinceWallMs }: StorageView, nowWallMs: number): string {
  if (code === null) return "";
  const since = sinceWallMs === null ? "" : ` (for ${formatDuration(Math.max(0, nowWallMs - sinceWallMs))})`;
  return `${name}: ${code}: ${safeText(message ?? "")}${since}\n`;
}

export function sessionsText({ running, waiting }: SessionsView): string {
  if (running.length === 0 && waiting.length === 0) return "no sessions\n";
  const rows = running.map((session) => [
    ...[session.session, session.agent, session.backup, session.storage],
    ...[session.stalled ? `${session.state}, disk behind` : session.state, formatDuration(session.durationMs)],
    ...[formatSize(session.bytes), session.expectedBytes === 0 ? "-" : formatSize(session.expectedBytes)],
    String(session.connections.length),
  ]);
  const queued = waiting.map(({ agent, backup, storage, position }) => [
    ...["-", agent, backup, storage, `waits, ${position}. in line`, "-", "-", "-", "1"],
  ]);
  const table = textTable(
    [
      ...[{ heading: "SESSION" }, { heading: "AGENT" }, { heading: "BACKUP" }, { heading: "STORAGE" }],
      ...[{ heading: "STATE" }, { heading: "FOR", right: true }, { heading: "RECEIVED", right: true }],
      ...[
        { heading: "EXPECTED", right: true },
        { heading: "CONNECTIONS", right: true },
      ],
    ],
    [...rows, ...queued],
  );
  return `${table}${running.map(slotsText).join("")}`;
}

/** Of a session with streams. */
function slotsText({ session, parallels, slots }: SessionView): string {
  if (parallels === 0 || slots.length === 0) return "";
  const right = true;
  const table = textTable(
    [
      ...[
        { heading: "SLOT", right },
        { heading: "STATE" },
        { heading: "PORT", right },
        { heading: "GENERATION", right },
      ],
      ...[
        { heading: "BYTES", right },
        { heading: "CHUNKS", right },
        { heading: "RATE", right },
        { heading: "RTT", right },
      ],
      ...[
        { heading: "RECONNECTS", right },
        { heading: "ROTATIONS", right },
        { heading: "LAST BYTE", right },
      ],
    ],
    slots.map((slot) => [
      ...[String(slot.slot), slot.parked ? `${slot.state}, parked` : slot.state, String(slot.remotePort ?? "-")],
      ...[String(slot.generation), formatSize(slot.bytes), String(slot.chunks), `${formatSize(slot.bytesPerSecond)}/s`],
      slot.rttMs === null ? "-" : `${Math.round(slot.rttMs)} ms`,
      ...[String(slot.reconnects), String(slot.rotations)],
      slot.lastByteAgeMs === null ? "-" : `${formatDuration(slot.lastByteAgeMs)} ago`,
    ]),
  );
  return `\nstreams of ${session}:\n${table}`;
}

/** `agent`: the only one that was asked for. */
export function historyText(records: readonly SessionRecord[], agent?: string): string {
  if (records.length === 0) return `no sessions${agent === undefined ? "" : ` of ${safeText(agent)}`} have ended yet\n`;
  return textTable(
    [
      ...[{ heading: "ENDED" }, { heading: "AGENT" }, { heading: "BACKUP" }, { heading: "OUTCOME" }],
      ...[{ heading: "TOOK", right: true }, { heading: "BYTES", right: true }, { heading: "WHAT" }],
    ],
    records.map((record) => [
      ...[timeText(record.endWallMs), record.agent, record.backup, outcomeText(record)],
      ...[record.session === null ? "-" : formatDuration(record.durationMs)],
      record.session === null ? "-" : formatSize(record.archive === null ? record.bytes : record.archiveBytes),
      safeText(record.archive ?? `${record.code ?? ""}: ${record.message}`),
    ]),
  );
}

function outcomeText({ outcome, repeats, verify }: SessionRecord): string {
  const judged = verify === "none" ? outcome : `${outcome}, verify ${verify}`;
  return repeats === 0 ? judged : `${judged} (and ${repeats} more)`;
}

export function eventsText(records: readonly EventRecord[]): string {
  if (records.length === 0) return "no events\n";
  const columns = [{ heading: "TIME" }, { heading: "LEVEL" }, { heading: "EVENT" }, { heading: "WHAT" }];
  return textTable(
    columns,
    records.map(({ wallMs, level, kind, message, fields }) => [
      ...[timeText(wallMs), level, kind, safeText(`${placeText(fields)}${message}`)],
    ]),
  );
}

function placeText(fields: EventRecord["fields"]): string {
  const parts = [fields["agent"], fields["backup"]].filter((part) => typeof part === "string");
  return parts.length === 0 ? "" : `${parts.join("/")}: `;
}

export function pruneText({ dryRun, entries }: PruneView): string {
  const lines: string[] = [];
  let [count, bytes] = [0, 0];
  for (const { storage, removed, stuck } of entries) {
    for (const archive of removed) {
      count += 1;
      bytes += archive.bytes;
      lines.push(
        `${dryRun ? "would remove" : "removed"} ${storage}: ${archive.archive} (${formatSize(archive.bytes)})`,
      );
    }
    lines.push(...stuck.map((archive) => `could not remove ${storage}: ${archive}; see the log`));
  }
  const what = count === 1 ? "1 archive" : `${count} archives`;
  lines.push(count === 0 ? "nothing to remove" : `${what}, ${formatSize(bytes)}${dryRun ? " would be" : ""} freed`);
  return lines.map((line) => `${line}\n`).join("");
}

function sizeOrDash(bytes: number | null): string {
  return bytes === null ? "-" : formatSize(bytes);
}
