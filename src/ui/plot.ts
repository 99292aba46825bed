/**
 * What draws a chart: uPlot in the page's colours and language. It is bundled by itself and loaded after the first view (chart.tsx): values of the
 * page's modules, its signals above all, would be others here, so that the page hands over what is needed.
 */
import uPlot from "uplot";
import type { Format } from "./format.ts";

export interface ChartLine {
  readonly label: string;
  /** A custom property of the style sheet: `--line-1`. */
  readonly color: string;
  readonly fill?: boolean;
}

export interface ChartProps {
  readonly label: string;
  /** x in seconds, then a column for each line. */
  readonly data: readonly (readonly (number | null)[])[];
  readonly lines: readonly ChartLine[];
  readonly unit: "bytes" | "rate";
  readonly height?: number;
  /** A level that means something: the reserve, the size of the window. */
  readonly limit?: number | undefined;
  /** What the dashed line of it is. */
  readonly limitLabel?: string;
  /** Values stand each for itself: draw their points. */
  readonly points?: boolean;
}

function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Steps of an axis that are round in powers of 1024. */
const STEPS = Array.from({ length: 6 }, (_, power) =>
  [1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * 1024 ** power),
).flat();

const DAY_S = 86_400;
/** As uPlot's own, without parts of a second: no label shows them. */
const TIME_STEPS = [
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800],
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * 3600),
  ...[1, 2, 3, 4, 5, 7, 10, 15, 30, 60, 90, 120, 180, 365, 730, 1825].map((days) => days * DAY_S),
];

/** As the texts of its axis are to be. */
export interface ChartTexts {
  readonly format: Pick<Format, "tick" | "roundBytes">;
  readonly spanMs: number;
}

function axes(unit: ChartProps["unit"], { format, spanMs }: ChartTexts): uPlot.Axis[] {
  const common = { stroke: color("--muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
  return [
    {
      ...common,
      grid: { show: false },
      space: spanMs > 2 * 86_400_000 ? 70 : 56,
      size: 24,
      incrs: TIME_STEPS,
      values: (_, ticks) => ticks.map((tick) => format.tick(tick * 1000, spanMs)),
    },
    {
      ...common,
      grid: { stroke: color("--line"), width: 1 },
      size: 74,
      space: 30,
      incrs: STEPS,
      values: (_, ticks) => ticks.map((tick) => `${format.roundBytes(tick)}${unit === "rate" ? "/s" : ""}`),
    },
  ];
}

function makeOptions(props: ChartProps, texts: ChartTexts, width: number): uPlot.Options {
  const { limit } = props;
  return {
    width,
    height: props.height ?? 160,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (_, _low, high) => [0, Math.max(high ?? 0, limit ?? 0, 1) * 1.05] } },
    axes: axes(props.unit, texts),
    series: [
      {},
      ...props.lines.map((line) => ({
        label: line.label,
        stroke: color(line.color),
        width: 1.5,
        spanGaps: true,
        points: { show: props.points === true, size: 5, fill: color(line.color) },
        ...(line.fill === true ? { fill: color(`${line.color}-area`) } : {}),
      })),
    ],
  };
}

export interface Drawing {
  show(data: ChartProps["data"]): void;
  stop(): void;
}

export type Draw = typeof draw;

declare global {
  /** Set by plot-main.ts. */
  var nbackupDraw: Draw | undefined;
}

/** Draws into `box` until it is stopped. `write` hears which point is under the pointer. */
export function draw(
  box: HTMLElement,
  latest: { readonly current: ChartProps },
  texts: ChartTexts,
  write: (at: number | null) => void,
): Drawing {
  const props = latest.current;
  const options = makeOptions(props, texts, Math.max(120, box.clientWidth));
  const plot = new uPlot(
    {
      ...options,
      hooks: {
        setCursor: [(self): void => write(self.cursor.idx ?? null)],
        draw: [(self): void => drawLimit(self, latest.current.limit)],
      },
    },
    props.data as uPlot.AlignedData,
    box,
  );
  const sized = new ResizeObserver(() => {
    plot.setSize({ width: Math.max(120, box.clientWidth), height: options.height });
  });
  sized.observe(box);
  return {
    show: (data) => plot.setData(data as uPlot.AlignedData),
    stop: () => {
      sized.disconnect();
      plot.destroy();
    },
  };
}

function drawLimit(plot: uPlot, limit: number | undefined): void {
  if (limit === undefined || limit <= 0) return;
  const y = Math.round(plot.valToPos(limit, "y", true));
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = color("--warn");
  ctx.setLineDash([4, 4]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}
