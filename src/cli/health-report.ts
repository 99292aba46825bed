/** How `health` reports what a server said of itself: a table for people, one JSON object for programs, an exit status. */
import type { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import { formatSize } from "#base/units.ts";
import { EXIT } from "./exit-codes.ts";
import { columnsOf } from "./terminal-text.ts";

/** What the server said. */
export interface HealthReport {
  /** `nbackup-server 0.1.0` */
  readonly software: string;
  readonly state: "READY" | "BUSY" | "LOW_DISK" | "MAINTENANCE";
  readonly storages: readonly HealthOfStorage[];
  /** All of them; more than `storages` when there are too many to be told. */
  readonly storageCount: number;
  readonly sessions: { readonly running: number; readonly max: number; readonly waiting: number };
  /** Of the server's own; undefined when it does not say. */
  readonly certificateDaysLeft?: number | undefined;
}

interface HealthOfStorage {
  readonly name: string;
  readonly freeBytes: number;
  readonly reserveBytes: number;
  readonly state: "ok" | "low" | "full" | "failed";
  readonly reason?: string | undefined;
}

const EXITS = {
  READY: EXIT.done,
  BUSY: EXIT.busy,
  LOW_DISK: EXIT.lowDisk,
  MAINTENANCE: EXIT.maintenance,
} as const;

export function healthExit({ state }: HealthReport): number {
  return EXITS[state];
}

/** `server` is `HOST:PORT`. */
export function healthText(server: string, report: HealthReport): string {
  const { state, sessions, storages, storageCount, software, certificateDaysLeft } = report;
  const rows = storages.map((storage) => [
    safeText(storage.name),
    storage.state,
    ...(known(storage) ? [formatSize(storage.freeBytes), formatSize(storage.reserveBytes)] : ["-", "-"]),
    safeText(storage.reason ?? ""),
  ]);
  const more = storageCount - storages.length;
  return [
    `${server}: ${state.replace("_", " ")} (${safeText(software)})`,
    `sessions: ${sessions.running} of ${sessions.max} running, ${sessions.waiting} waiting`,
    ...(certificateDaysLeft === undefined ? [] : [`certificate: ${daysText(certificateDaysLeft)}`]),
    ...table([["STORAGE", "STATE", "FREE", "RESERVE", ""], ...rows]),
    ...(more > 0 ? [`and ${more} more storages, all of them ok`] : []),
    "",
  ].join("\n");
}

function daysText(days: number): string {
  if (days === 0) return "less than a day left";
  return days === 1 ? "1 day left" : `${days} days left`;
}

/** One line of JSON: server, state, software, sessions, certificateDaysLeft, storages[], storageCount. What is not known is null. */
export function healthJson(server: string, report: HealthReport): string {
  const { state, software, sessions, storageCount, certificateDaysLeft = null } = report;
  const storages = report.storages.map((storage) => ({
    name: storage.name,
    state: storage.state,
    freeBytes: known(storage) ? storage.freeBytes : null,
    reserveBytes: known(storage) ? storage.reserveBytes : null,
    reason: storage.reason ?? null,
  }));
  return `${JSON.stringify({ server, state, software, sessions, certificateDaysLeft, storages, storageCount })}\n`;
}

/** The same when there was no answer. */
export function unreachableJson(server: string, failure: Failure): string {
  const { code, message, hint } = failure;
  return `${JSON.stringify({ server, state: "UNREACHABLE", code, message, hint })}\n`;
}

/** Whether anything is known of its disk. */
function known({ state, reason }: HealthOfStorage): boolean {
  return state !== "failed" && reason === undefined;
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => columnsOf(row[column] ?? ""))));
  return rows.map((row) =>
    row
      .map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - columnsOf(cell)))
      .join("  ")
      .trimEnd(),
  );
}
