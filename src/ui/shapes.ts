/** Numbers to shapes: the rows of a long list that are on the screen, the line of a sparkline, the columns of a chart. Pure. */
import type { ApiPhase, ApiPoint } from "#web/api-types.ts";

export interface RowRange {
  readonly first: number;
  /** One behind the last. */
  readonly end: number;
}

/** Rows outside the screen that are drawn all the same, so that a short scroll and the tab key find them. */
const SPARE_ROWS = 10;

/**
 * Which rows of a list show. `top` is where the list begins, relative to the upper edge of the screen: negative when it is scrolled.
 */
export function rowsOnScreen(top: number, screenHeight: number, rowHeight: number, count: number): RowRange {
  if (count === 0 || rowHeight <= 0) return { first: 0, end: 0 };
  const first = Math.floor(-top / rowHeight) - SPARE_ROWS;
  const end = Math.ceil((screenHeight - top) / rowHeight) + SPARE_ROWS;
  const clamp = (row: number): number => Math.min(count, Math.max(0, row));
  return { first: clamp(first), end: Math.max(clamp(end), Math.min(count, SPARE_ROWS)) };
}

/** Whether what is drawn must change: not for every row, only before an edge shows. */
export function rangeIsStale(drawn: RowRange, wanted: RowRange): boolean {
  const slack = SPARE_ROWS / 2;
  if (drawn.end < drawn.first || wanted.end === 0) return true;
  const above = wanted.first < drawn.first - slack || (wanted.first === 0 && drawn.first > 0);
  return above || wanted.end > drawn.end + slack || wanted.first > drawn.first + 4 * SPARE_ROWS;
}

interface Droppable {
  readonly width: string;
  readonly drop?: number;
}

/** What a column needs at least, in rem: the first number of its track. */
function remOf(width: string): number {
  return Number(/([\d.]+)rem/.exec(width)?.[1] ?? 0);
}

/** The columns for which a table of this width has room: those with the highest `drop` go first, those without one never. */
export function columnsThatFit<T extends Droppable>(
  columns: readonly T[],
  widthPx: number,
  { remPx, gapPx }: { readonly remPx: number; readonly gapPx: number },
): readonly T[] {
  const needs = (column: T): number => remOf(column.width) * remPx + gapPx;
  let left = columns.reduce((sum, column) => sum + needs(column), 0);
  const gone = new Set<T>();
  const first = columns.filter(({ drop }) => drop !== undefined).sort((a, b) => (b.drop ?? 0) - (a.drop ?? 0));
  for (const column of first) {
    if (left <= widthPx) break;
    gone.add(column);
    left -= needs(column);
  }
  return gone.size === 0 ? columns : columns.filter((column) => !gone.has(column));
}

/** `M0 10L5 3…` of values over a box, the highest at the top, 0 at the bottom unless `fit`. Fewer than two values draw nothing. */
export function sparkPath(values: readonly number[], width: number, height: number, fit = false): string {
  if (values.length < 2) return "";
  const highest = Math.max(...values);
  const lowest = fit ? Math.min(...values) : 0;
  const span = highest - lowest;
  const y = (value: number): number => (span <= 0 ? height / 2 : height - ((value - lowest) / span) * height);
  return values
    .map((value, i) => `${i === 0 ? "M" : "L"}${round((i / (values.length - 1)) * width)} ${round(y(value))}`)
    .join("");
}

const round = (value: number): number => Math.round(value * 10) / 10;

/** x in seconds, then a column for each reader: what uPlot draws. */
export function columns<T>(
  points: readonly T[],
  wallMs: (point: T) => number,
  ...readers: readonly ((point: T) => number | null)[]
): [number[], ...(number | null)[][]] {
  return [points.map((point) => wallMs(point) / 1000), ...readers.map((read) => points.map(read))];
}

/** Milliseconds from the first to the last of such columns. */
export function spanOf(data: readonly (readonly (number | null)[])[]): number {
  const times = data[0] ?? [];
  return ((times.at(-1) ?? 0) - (times[0] ?? 0)) * 1000;
}

/** Adds a live point; the same one again changes nothing, and of too many every second of the older half goes. */
export function withPoint(series: readonly ApiPoint[], point: ApiPoint, pointsMax: number): readonly ApiPoint[] {
  const last = series.at(-1);
  if (last !== undefined && point.wallMs <= last.wallMs) return series;
  if (series.length < pointsMax) return [...series, point];
  const half = Math.floor(series.length / 2);
  return [...series.slice(0, half).filter((_, i) => i % 2 === 0), ...series.slice(half), point];
}

export interface PhaseBar {
  readonly phase: string;
  readonly startWallMs: number;
  readonly durationMs: number;
  readonly running: boolean;
  /** Of the whole, 0 to 1. */
  readonly left: number;
  readonly width: number;
}

/** The phases of a session on one line. */
export function phaseBars(phases: readonly ApiPhase[], nowWallMs: number): readonly PhaseBar[] {
  const start = phases[0]?.startWallMs;
  if (start === undefined) return [];
  const end = Math.max(...phases.map((phase) => phase.endWallMs ?? nowWallMs), start + 1);
  return phases.map((phase) => {
    const until = Math.max(phase.endWallMs ?? nowWallMs, phase.startWallMs);
    return {
      phase: phase.phase,
      startWallMs: phase.startWallMs,
      durationMs: until - phase.startWallMs,
      running: phase.endWallMs === null,
      left: (phase.startWallMs - start) / (end - start),
      width: (until - phase.startWallMs) / (end - start),
    };
  });
}

export interface PhaseTotal {
  readonly phase: string;
  readonly durationMs: number;
  /** How often it was in that phase. */
  readonly count: number;
  readonly running: boolean;
}

/** Each phase once, in the order in which they first came: a session that breaks a hundred times is parked a hundred times. */
export function phaseTotals(bars: readonly PhaseBar[]): readonly PhaseTotal[] {
  return [...Map.groupBy(bars, ({ phase }) => phase)].map(([phase, same]) => ({
    phase,
    durationMs: same.reduce((sum, { durationMs }) => sum + durationMs, 0),
    count: same.length,
    running: same.some(({ running }) => running),
  }));
}

/** For who cannot see a chart: lowest, highest and last of what it draws. */
export function extremes(values: readonly (number | null)[]): { low: number; high: number; last: number } | undefined {
  const known = values.filter((value) => value !== null);
  const last = known.at(-1);
  return last === undefined ? undefined : { low: Math.min(...known), high: Math.max(...known), last };
}
