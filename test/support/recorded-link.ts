/**
 * The autoscaler's windows on a link as an agent saw them, in a form that is kept under test/fixtures/links: a head, then one
 * row of numbers for each window. scripts/record-links.ts makes them; what they are used for is
 * test/unit/agent-autoscaler-recorded.test.ts.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { SCALE_START, type ScaleSample } from "#agent/autoscaler.ts";
import { STEPS } from "#agent/stream-director.ts";

export interface RecordedWindow {
  readonly sample: ScaleSample;
  /** Streams in the window, and those that were concluded from it. */
  readonly active: number;
  readonly next: number;
}

export interface RecordedLink {
  readonly name: string;
  /** What the link and the producer are like. */
  readonly about: string;
  readonly mode: keyof typeof STEPS;
  readonly max: number;
  readonly windows: readonly RecordedWindow[];
}

const DIRECTORY = path.join(import.meta.dir, "../fixtures/links");
const COLUMNS = [
  ...["durationMs", "producedBytes", "waitingBytes", "blockedMs", "acknowledgedBytes", "acknowledgedChunks"],
  ...["busyMs", "heldMs", "up", "stalled", "active", "next"],
];

export function recordedPath(name: string): string {
  return path.join(DIRECTORY, `${name}.json`);
}

export function encodeLink({ windows, ...head }: RecordedLink): string {
  const rows = windows.map(({ sample, active, next }) => {
    const { durationMs, producedBytes, waitingBytes, blockedMs, acknowledgedBytes, acknowledgedChunks } = sample;
    const flow = [durationMs, producedBytes, waitingBytes, blockedMs, acknowledgedBytes, acknowledgedChunks];
    const streams = [sample.busyMs, sample.heldMs, sample.up, sample.stalled ? 1 : 0, active, next];
    return `  [${[...flow, ...streams].map((n) => Math.round(n)).join(", ")}]`;
  });
  const fields = Object.entries({ ...head, columns: COLUMNS }).map(
    ([key, value]) => `"${key}": ${JSON.stringify(value)}`,
  );
  return `{\n${fields.join(",\n")},\n"windows": [\n${rows.join(",\n")}\n]\n}\n`;
}

export function readLink(name: string): RecordedLink {
  // Written by this file.
  const read = JSON.parse(readFileSync(recordedPath(name), "utf8")) as Omit<RecordedLink, "windows"> & {
    readonly columns: readonly string[];
    readonly windows: readonly (readonly number[])[];
  };
  if (read.columns.join() !== COLUMNS.join()) throw new Error(`${name} has other columns: record it again`);
  return { ...read, windows: read.windows.map(windowOf) };
}

function windowOf(row: readonly number[]): RecordedWindow {
  const [durationMs = 0, producedBytes = 0, waitingBytes = 0, blockedMs = 0, acknowledgedBytes = 0] = row;
  const [acknowledgedChunks = 0, busyMs = 0, heldMs = 0, up = 0, stalled = 0, active = 0, next = 0] = row.slice(5);
  const flow = { durationMs, producedBytes, waitingBytes, blockedMs, acknowledgedBytes, acknowledgedChunks };
  return { sample: { ...flow, busyMs, heldMs, up, stalled: stalled === 1 }, active, next };
}

/** How many streams the rules conclude from each window, whatever was concluded when it was recorded. */
export function replay({ windows, max }: RecordedLink, mode: RecordedLink["mode"]): number[] {
  let state = SCALE_START;
  return windows.map(({ sample, active }) => {
    state = STEPS[mode]({ ...state, active }, sample, max);
    return state.active;
  });
}
