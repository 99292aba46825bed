/** A chart over time: uPlot in the page's colours and language. For who cannot see it the extremes are said in words. */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { dark, format, t } from "./i18n.ts";
import type { ChartProps, Draw, Drawing } from "./plot.ts";
import { extremes, spanOf } from "./shapes.ts";

/** What draws: loaded after the first view, which does not wait for it, and before a chart comes as part of an update. */
const drawing = signal<Draw | null>(null);
/** It could not be loaded: the server went away, or is another version by now that has another file. It is tried again. */
const missing = signal(false);
const AGAIN_MS = 1_000;
const AGAIN_MS_MAX = 60_000;
let attempts = 0;

/** Begins to load what draws, once. */
export function prepareCharts(): void {
  if (attempts === 0) load();
}

function load(): void {
  const script = document.createElement("script");
  script.type = "module";
  // A browser may remember of an address that nothing came from it.
  const again = attempts === 0 ? "" : `?${attempts}`;
  attempts += 1;
  const over = (): void => {
    drawing.value = globalThis.nbackupDraw ?? null;
    missing.value = drawing.value === null;
    script.remove();
    if (missing.value) setTimeout(load, Math.min(AGAIN_MS_MAX, AGAIN_MS * 2 ** attempts));
  };
  script.addEventListener("load", over);
  script.addEventListener("error", over);
  script.src = `${document.querySelector<HTMLMetaElement>('meta[name="drawing"]')?.content ?? ""}${again}`;
  document.head.append(script);
}

function useDraw(): Draw | null {
  useEffect(prepareCharts, []);
  return drawing.value;
}

function shown(unit: ChartProps["unit"], value: number | null): string {
  return unit === "rate" ? format.value.rate(value) : format.value.bytes(value);
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

export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const values = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  const drawn = useRef<Drawing | null>(null);
  const draw = useDraw();
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
    if (box.current === null || draw === null) return undefined;
    const texts = { format: format.value, spanMs: spanOf(latest.current.data) };
    const one = draw(box.current, latest, texts, write);
    drawn.current = one;
    return () => {
      drawn.current = null;
      one.stop();
    };
  }, [draw, language, isDark, spanKind, props.lines.length, props.unit, props.limit]);
  useEffect(() => {
    drawn.current?.show(props.data);
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
      {draw === null && missing.value ? (
        <p class="muted small" role="status">
          {t("chart.missing")}
        </p>
      ) : null}
      <div role="img" aria-label={described(props)} ref={box} style={{ minHeight: `${props.height ?? 160}px` }} />
    </figure>
  );
}
