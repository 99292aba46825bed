/**
 * Progress of one run as text: a line for a terminal of any width, and a plain line for logs and pipes. Pure; when to print is
 * progress-display.ts's business.
 */
import { pathText } from "#base/path-text.ts";
import { safeText } from "#base/safe-text.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import { grouped } from "./once-report.ts";
import { columnsOf, cutEnd, cutStart } from "./terminal-text.ts";

export type ProgressPhase =
  | { readonly kind: "connecting" }
  | { readonly kind: "queued"; readonly position: number }
  | { readonly kind: "deferred"; readonly why: string; readonly inMs: number }
  | { readonly kind: "retrying"; readonly inMs: number }
  | { readonly kind: "sending" }
  /** An archive of known size is read: `restoring`, `verifying`. The raw bytes are the archive's, and their total is exact. */
  | { readonly kind: "reading"; readonly what: string }
  /** Everything was read; what was sent becomes durable. */
  | { readonly kind: "draining" }
  /** The server's own part, for instance `hashing`; done and total in bytes, total 0 where unknown. */
  | { readonly kind: "finishing"; readonly what: string; readonly done: number; readonly total: number };

export interface ProgressSnapshot {
  readonly phase: ProgressPhase;
  readonly elapsedMs: number;
  readonly entries: number;
  /** Of the last committed session; undefined or 0 when there was none. Always an estimate. */
  readonly entriesTotalEstimate?: number | undefined;
  readonly rawBytes: number;
  readonly rawBytesTotalEstimate?: number | undefined;
  /** Compressed bytes made so far, and how many of them are durable on the server. */
  readonly sentBytes: number;
  readonly ackedBytes: number;
  /** Smoothed. */
  readonly rawBytesPerSecond: number;
  readonly entriesPerSecond: number;
  readonly retries: number;
  /** Streams that are up, and the most there may be. */
  readonly streams: number;
  readonly streamsMax?: number | undefined;
  /** Raw bytes; empty when there is none. */
  readonly currentPath: Uint8Array;
}

export const COLUMNS_MIN = 20;
const BAR_CELLS = 16;
const PATH_COLUMNS_MIN = 12;
/** A guess of more than that says nothing. */
const ETA_MS_MAX = 30 * 86_400_000;

/** Part of the estimated total that was read, in [0, 0.99]: only the end is the end. undefined without an estimate. */
export function fractionDone(snapshot: ProgressSnapshot): number | undefined {
  const total = snapshot.rawBytesTotalEstimate ?? 0;
  return total > 0 ? Math.min(0.99, snapshot.rawBytes / total) : undefined;
}

/** Milliseconds until the estimated total is read at the present rate; undefined when nobody can tell. */
export function etaMs(snapshot: ProgressSnapshot): number | undefined {
  const left = (snapshot.rawBytesTotalEstimate ?? 0) - snapshot.rawBytes;
  if (left <= 0 || snapshot.rawBytesPerSecond <= 0 || !isFlowing(snapshot)) return undefined;
  const ms = (left / snapshot.rawBytesPerSecond) * 1000;
  return ms <= ETA_MS_MAX ? ms : undefined;
}

/** A piece of the line; the ones of the highest rank go first when there is no room. */
interface Piece {
  readonly rank: number;
  readonly text: string;
}

/** One line of less than `columns` columns (a terminal wraps at the last one), without a line end. */
export function barLine(snapshot: ProgressSnapshot, columns: number): string {
  const room = Math.max(COLUMNS_MIN, columns) - 1;
  let pieces = barPieces(snapshot).filter(({ text }) => text !== "");
  const joined = (): string => pieces.map(({ text }) => text).join("  ");
  while (pieces.length > 1 && columnsOf(joined()) > room) {
    const worst = Math.max(...pieces.map(({ rank }) => rank));
    pieces = pieces.filter(({ rank }) => rank !== worst);
  }
  const line = joined();
  const left = room - columnsOf(line) - 2;
  const path = pathText(snapshot.currentPath);
  return left >= PATH_COLUMNS_MIN && path !== "" ? `${line}  ${cutStart(path, left)}` : cutEnd(line, room);
}

function barPieces(snapshot: ProgressSnapshot): readonly Piece[] {
  const { phase } = snapshot;
  const waiting = ["connecting", "queued", "deferred", "retrying"].includes(phase.kind);
  const elapsed = { rank: 4, text: shortDuration(snapshot.elapsedMs) };
  const retries = { rank: 6, text: retriesText(snapshot) };
  if (waiting) return [{ rank: 0, text: phaseText(snapshot) }, elapsed, retries];
  const fraction = phaseFraction(snapshot);
  const eta = etaMs(snapshot);
  const flowing = isFlowing(snapshot);
  const guess = phase.kind === "reading" ? "" : "~";
  return [
    { rank: 5, text: fraction === undefined ? "" : bar(fraction) },
    { rank: 2, text: fraction === undefined ? "" : percentText(snapshot, fraction) },
    { rank: 0, text: flowing ? amountText(snapshot) : phaseText(snapshot) },
    { rank: 1, text: flowing ? `${formatSize(snapshot.rawBytesPerSecond)}/s` : "" },
    { rank: 3, text: eta === undefined ? "" : `ETA ${guess}${shortDuration(eta)}` },
    elapsed,
    { rank: 7, text: `${grouped(snapshot.entries)} objects` },
    { rank: 8, text: flowing ? `${grouped(snapshot.entriesPerSecond)} objects/s` : "" },
    retries,
    { rank: 9, text: streamsText(snapshot) },
    { rank: 10, text: eta === undefined || guess === "" ? "" : "(~ estimated)" },
  ];
}

/** One line without line end, for logs and pipes: everything, in words. */
export function plainLine(snapshot: ProgressSnapshot): string {
  const fraction = phaseFraction(snapshot);
  const eta = etaMs(snapshot);
  const path = pathText(snapshot.currentPath);
  const sending = snapshot.phase.kind !== "reading";
  const parts = [
    phaseText(snapshot),
    fraction === undefined
      ? ""
      : `${percentText(snapshot, fraction)}${snapshot.phase.kind === "sending" ? " (estimated)" : ""}`,
    `${formatSize(snapshot.rawBytes)} read`,
    sending ? `${formatSize(snapshot.sentBytes)} compressed` : "",
    sending ? `${formatSize(snapshot.ackedBytes)} safe on the server` : "",
    `${formatSize(snapshot.rawBytesPerSecond)}/s`,
    `${grouped(snapshot.entries)} objects`,
    `${grouped(snapshot.entriesPerSecond)} objects/s`,
    `elapsed ${shortDuration(snapshot.elapsedMs)}`,
    eta === undefined ? "" : `ETA ${shortDuration(eta)}${sending ? " (estimated)" : ""}`,
    retriesText(snapshot),
    streamsText(snapshot),
    path === "" ? "" : `at ${path}`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function phaseText({ phase, sentBytes, ackedBytes }: ProgressSnapshot): string {
  switch (phase.kind) {
    case "connecting":
      return "connecting";
    case "queued":
      return `waiting, number ${phase.position} in the queue`;
    case "deferred":
      return `${safeText(phase.why)}; asking again in ${shortDuration(phase.inMs)}`;
    case "retrying":
      return `trying again in ${shortDuration(phase.inMs)}`;
    case "sending":
      return "sending";
    case "reading":
      return phase.what;
    case "draining":
      return `sending the last ${formatSize(Math.max(0, sentBytes - ackedBytes))}`;
    case "finishing":
      return safeText(phase.what);
  }
}

/** Bytes go by, and say how far it is. */
function isFlowing({ phase }: ProgressSnapshot): boolean {
  return phase.kind === "sending" || phase.kind === "reading";
}

/** Of what the phase is about. */
function phaseFraction(snapshot: ProgressSnapshot): number | undefined {
  const { phase, sentBytes, ackedBytes } = snapshot;
  if (isFlowing(snapshot)) return fractionDone(snapshot);
  if (phase.kind === "draining") return sentBytes > 0 ? Math.min(1, ackedBytes / sentBytes) : undefined;
  if (phase.kind === "finishing") return phase.total > 0 ? Math.min(1, phase.done / phase.total) : undefined;
  return undefined;
}

function percentText({ phase }: ProgressSnapshot, fraction: number): string {
  return `${phase.kind === "sending" ? "~" : ""}${Math.floor(fraction * 100)}%`;
}

function amountText(snapshot: ProgressSnapshot): string {
  const total = snapshot.rawBytesTotalEstimate ?? 0;
  const done = formatSize(snapshot.rawBytes);
  const guess = snapshot.phase.kind === "reading" ? "" : "~";
  return total > snapshot.rawBytes ? `${done} of ${guess}${formatSize(total)}` : done;
}

function retriesText({ retries }: ProgressSnapshot): string {
  if (retries === 0) return "";
  return retries === 1 ? "1 retry" : `${grouped(retries)} retries`;
}

function streamsText({ streams, streamsMax = streams }: ProgressSnapshot): string {
  if (streamsMax > streams) return `${streams}/${streamsMax} streams`;
  return streams > 1 ? `${streams} streams` : "";
}

function bar(fraction: number): string {
  const filled = Math.round(fraction * BAR_CELLS);
  return `[${"#".repeat(filled)}${"-".repeat(BAR_CELLS - filled)}]`;
}

/** Without tenths of seconds, which would flicker. */
function shortDuration(ms: number): string {
  return ms < 60_000 ? `${Math.floor(ms / 1000)}s` : formatDuration(ms);
}
