/** The autoscaler as a gauge: how many streams carry data of those that may, and what it is doing about it. */
import type { AutoscalerRow } from "#web/api-types.ts";
import { UNKNOWN } from "./format.ts";
import { format, t, word } from "./i18n.ts";
import { Fact, Panel } from "./parts.tsx";

/** Half a circle around (50, 50) of radius 40: `pathLength` makes its length 100. */
const ARC = "M10 50A40 40 0 0 1 90 50";

export function AutoscalerGauge({ row }: { row: AutoscalerRow }) {
  const ratio = row.max <= 0 ? 0 : Math.min(1, row.active / row.max);
  return (
    <Panel title={t("scaler")}>
      <div class="gauge">
        <svg viewBox="0 0 100 56" role="img" aria-label={t("scaler.active", { active: row.active, max: row.max })}>
          <path class="track" d={ARC} pathLength={100} />
          <path class="level" d={ARC} pathLength={100} style={{ strokeDasharray: `${ratio * 100} 100` }} />
          <text x="50" y="47" text-anchor="middle">
            {row.active}
          </text>
        </svg>
        <dl class="facts">
          <Fact name={t("scaler.streams")}>{t("scaler.of", { active: row.active, max: row.max })}</Fact>
          <Fact name={t("scaler.mode")}>{word("scaler", row.mode)}</Fact>
          <Fact name={t("scaler.state")}>{row.state === null ? UNKNOWN : word("scaler", row.state)}</Fact>
          <Fact name={t("scaler.rate")}>{format.value.decimal(row.rate, 2)}</Fact>
        </dl>
      </div>
    </Panel>
  );
}
