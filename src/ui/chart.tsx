/** A chart over time: uPlot in the page's colours and language. For who cannot see it the extremes are said in words. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { dark, format, t } from "./i18n.ts";
import { extremes } from "./shapes.ts";

export interface ChartLine {
  readonly label: string;
  /** A custom property of the style sheet: `--line-1`. */
  readonly color: string;
  readonly fill?: boolean;
}

interface ChartProps {
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

function shown(unit: ChartProps["unit"], value: number | null): string {
  return unit === "rate" ? format.value.rate(value) : format.value.bytes(value);
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

function axes(unit: ChartProps["unit"], spanMs: number): uPlot.Axis[] {
  const common = { stroke: color("--muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
  return [
    {
      ...common,
      grid: { show: false },
      space: spanMs > 2 * 86_400_000 ? 70 : 56,
      size: 24,
      incrs: TIME_STEPS,
      values: (_, ticks) => ticks.map((tick) => format.value.tick(tick * 1000, spanMs)),
    },
    {
      ...common,
      grid: { stroke: color("--line"), width: 1 },
      size: 74,
      space: 30,
      incrs: STEPS,
      values: (_, ticks) => ticks.map((tick) => `${format.value.roundBytes(tick)}${unit === "rate" ? "/s" : ""}`),
    },
  ];
}

function spanOf(data: ChartProps["data"]): number {
  const times = data[0] ?? [];
  return ((times.at(-1) ?? 0) - (times[0] ?? 0)) * 1000;
}

function makeOptions(props: ChartProps, width: number): uPlot.Options {
  const { limit } = props;
  return {
    width,
    height: props.height ?? 160,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (_, _low, high) => [0, Math.max(high ?? 0, limit ?? 0, 1) * 1.05] } },
    axes: axes(props.unit, spanOf(props.data)),
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

function readout(props: ChartProps, index: number | null | undefined): string[] {
  const at = index ?? (props.data[0]?.length ?? 0) - 1;
  return props.lines.map((_, i) => shown(props.unit, props.data[i + 1]?.[at] ?? null));
}

function described(props: ChartProps): string {
  const parts = props.lines.map((line, i) => {
    const found = extremes(props.data[i + 1] ?? []);
    if (found === undefined) return `${line.label}: ${t("chart.nothing")}`;
    const { low, high, last } = found;
    const [a, b, c] = [low, high, last].map((value) => shown(props.unit, value));
    return `${line.label}: ${t("chart.extremes", { low: a ?? "", high: b ?? "", last: c ?? "" })}`;
  });
  return `${props.label}. ${parts.join(". ")}`;
}

/** Draws into `box` until the returned function is called. The numbers under the pointer are written beside the names. */
function draw(
  box: HTMLElement,
  props: ChartProps,
  current: { readonly current: ChartProps },
  write: (at: number | null) => void,
) {
  const options = makeOptions(props, Math.max(120, box.clientWidth));
  const plot = new uPlot(
    {
      ...options,
      hooks: {
        setCursor: [(self): void => write(self.cursor.idx ?? null)],
        draw: [(self): void => drawLimit(self, current.current.limit)],
      },
    },
    props.data as uPlot.AlignedData,
    box,
  );
  const sized = new ResizeObserver(() => {
    plot.setSize({ width: Math.max(120, box.clientWidth), height: options.height });
  });
  sized.observe(box);
  const stop = (): void => {
    sized.disconnect();
    plot.destroy();
  };
  return { plot, stop };
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

export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const values = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  const drawn = useRef<uPlot | null>(null);
  const pointed = useRef<number | null>(null);
  latest.current = props;
  const write = (at: number | null): void => {
    pointed.current = at;
    const places = values.current?.querySelectorAll("b") ?? [];
    const texts = readout(latest.current, at);
    for (const [i, place] of [...places].entries()) place.textContent = texts[i] ?? "";
  };
  const language = format.value.language;
  const isDark = dark.value;
  // The axis shows other texts for another span, and is made anew when that changes its kind.
  const spanKind = Math.round(Math.log2(spanOf(props.data) + 1) / 2);
  useEffect(() => {
    if (box.current === null) return undefined;
    const { plot, stop } = draw(box.current, latest.current, latest, write);
    drawn.current = plot;
    return () => {
      drawn.current = null;
      stop();
    };
  }, [language, isDark, spanKind, props.lines.length, props.unit, props.limit]);
  useEffect(() => {
    drawn.current?.setData(props.data as uPlot.AlignedData);
    write(pointed.current);
  }, [props.data, language]);
  return (
    <figure class="chart">
      <figcaption class="legend" ref={values} aria-hidden="true">
        {props.lines.map((line) => (
          <span key={line.label}>
            <i class="swatch" style={{ background: `var(${line.color})` }} />
            {line.label} <b class="number" />
          </span>
        ))}
        {props.limit === undefined || props.limit <= 0 || props.limitLabel === undefined ? null : (
          <span>
            <i class="swatch dashed" />
            {props.limitLabel} <span class="number strong">{format.value.bytes(props.limit)}</span>
          </span>
        )}
      </figcaption>
      <div role="img" aria-label={described(props)} ref={box} style={{ minHeight: `${props.height ?? 160}px` }} />
    </figure>
  );
}
