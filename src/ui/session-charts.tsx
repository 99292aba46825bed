/** A session over time: throughput and disk writes, the agent's window, and the phases on one line. */
import { useMemo } from "preact/hooks";
import type { ApiPhase, ApiPoint } from "#web/api-types.ts";
import { Chart } from "./chart.tsx";
import { format, language, t, word } from "./i18n.ts";
import { now } from "./live.ts";
import { Empty, Panel } from "./parts.tsx";
import { columns, type PhaseBar, phaseBars, phaseTotals } from "./shapes.ts";

export function SessionCharts({
  series,
  windowBytes,
  over,
}: {
  series: readonly ApiPoint[];
  windowBytes: number | null;
  /** It does not run any more: no further point comes. */
  over: boolean;
}) {
  const wall = (point: ApiPoint): number => point.wallMs;
  const rates = useMemo(
    () =>
      columns(
        series,
        wall,
        (p) => p.receivedRate,
        (p) => p.writtenRate,
      ),
    [series],
  );
  const memory = useMemo(
    () =>
      columns(
        series,
        wall,
        (p) => p.windowUsedBytes,
        (p) => p.backlogBytes,
      ),
    [series],
  );
  const rateLines = useMemo(
    () => [
      { label: t("numbers.received"), color: "--line-1", fill: true },
      { label: t("numbers.written"), color: "--line-2" },
    ],
    [language.value],
  );
  const memoryLines = useMemo(
    () => [
      { label: t("session.windowUsed"), color: "--line-3", fill: true },
      { label: t("session.backlog"), color: "--line-2" },
    ],
    [language.value],
  );
  if (series.length < 2) {
    return (
      <Panel title={t("session.throughput")}>
        <Empty title={t(over ? "chart.none" : "chart.soon")} />
      </Panel>
    );
  }
  return (
    <div class="pair">
      <Panel title={t("session.throughput")}>
        <Chart label={t("session.throughput")} data={rates} lines={rateLines} unit="rate" height={190} />
      </Panel>
      <Panel title={t("session.window")}>
        <Chart
          label={t("session.window")}
          data={memory}
          lines={memoryLines}
          unit="bytes"
          height={190}
          limit={windowBytes ?? undefined}
          limitLabel={t("session.windowSize")}
        />
      </Panel>
    </div>
  );
}

/** Colour of a phase; its word stands in the list below. */
const PHASES = ["receiving", "parked", "assembling", "hashing", "committing", "rotating", "verifying"];

function phaseClass(phase: string): string {
  return PHASES.includes(phase) ? `phase-${phase}` : "phase-other";
}

function endOf(bars: readonly PhaseBar[]): number {
  return Math.max(0, ...bars.map((bar) => bar.startWallMs + bar.durationMs));
}

export function Phases({ phases, endWallMs }: { phases: readonly ApiPhase[]; endWallMs: number | null }) {
  if (phases.length === 0) return null;
  const bars = phaseBars(phases, Math.max(endWallMs ?? now.value, phases.at(-1)?.startWallMs ?? 0));
  const f = format.value;
  return (
    <Panel title={t("session.phases")}>
      <div class="timeline" aria-hidden="true">
        {bars.map((bar, i) => (
          <i
            key={i}
            class={phaseClass(bar.phase)}
            style={{ left: `${bar.left * 100}%`, width: `max(2px, ${bar.width * 100}%)` }}
            title={`${word("phase", bar.phase)} · ${f.moment(bar.startWallMs, now.value)} · ${f.duration(bar.durationMs)}`}
          />
        ))}
      </div>
      <p class="split small muted scale">
        <span>{f.moment(bars[0]?.startWallMs ?? 0, now.value)}</span>
        <span>{bars.at(-1)?.running === true ? t("session.now") : f.moment(endOf(bars), now.value)}</span>
      </p>
      <ul class="phases">
        {phaseTotals(bars).map(({ phase, durationMs, count, running }) => (
          <li key={phase}>
            <i class={`swatch ${phaseClass(phase)}`} />
            <span>{word("phase", phase)}</span> <b class="number">{f.duration(durationMs)}</b>
            {count > 1 ? <span class="muted"> ×{f.count(count)}</span> : null}
            {running ? <span class="muted"> {t("session.goesOn")}</span> : null}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
