/** Beside the entries: disks, traffic, and what happened last. */
import { useEffect, useMemo, useState } from "preact/hooks";
import type { StorageRow } from "#web/api-archives.ts";
import type { ApiEvent, TrafficPoint } from "#web/api-types.ts";
import { Chart } from "./chart.tsx";
import { EventLine } from "./event-line.tsx";
import { freshOnly } from "./filters.ts";
import { format, language, t } from "./i18n.ts";
import { forecastView, storageTone } from "./judge.ts";
import { freshEvents, lastTraffic, now } from "./live.ts";
import { ForecastText, StorageBadge } from "./marks.tsx";
import { Empty, Meter, Panel } from "./parts.tsx";
import { columns } from "./shapes.ts";

const EVENTS_SHOWN = 7;
/** An hour of a point every 10 s. */
const TRAFFIC_POINTS_MAX = 360;
const TRAFFIC_STEP_MS = 10_000;

function usedRatio(storage: StorageRow): number | null {
  const { totalBytes, freeBytes } = storage;
  return totalBytes === null || freeBytes === null || totalBytes === 0 ? null : 1 - freeBytes / totalBytes;
}

function Disk({ storage }: { storage: StorageRow }) {
  const f = format.value;
  const forecast = forecastView(storage, now.value);
  const tone = storage.state === "ok" ? forecast.tone : storageTone(storage);
  const ratio = usedRatio(storage);
  return (
    <li class="disk">
      <div class="split">
        <a class="name" href="/storages">
          <b>{storage.name}</b>
        </a>
        {storage.state === "ok" ? (
          <span class="number muted">{t("disk.free", { free: f.bytes(storage.freeBytes) })}</span>
        ) : (
          <StorageBadge storage={storage} />
        )}
      </div>
      <Meter ratio={ratio ?? 0} tone={tone === "none" ? "busy" : tone} label={t("disk.used", { name: storage.name })} />
      <div class="split small">
        <span class="number">{t("disk.of", { used: f.percent(ratio), total: f.bytes(storage.totalBytes) })}</span>
        <ForecastText storage={storage} />
      </div>
    </li>
  );
}

export function StorageList({ rows }: { rows: readonly StorageRow[] }) {
  return (
    <Panel title={t("nav.storages")}>
      {rows.length === 0 ? (
        <Empty title={t("storages.empty")} />
      ) : (
        <ul class="list">
          {rows.map((storage) => (
            <Disk key={storage.name} storage={storage} />
          ))}
        </ul>
      )}
    </Panel>
  );
}

/** The points of the answer, and what came live since: one every 10 s, as the server keeps them. */
function useTraffic(points: readonly TrafficPoint[]): readonly TrafficPoint[] {
  const [all, setAll] = useState(points);
  useEffect(() => setAll(points), [points]);
  const latest = lastTraffic.value;
  useEffect(() => {
    if (latest === null) return;
    setAll((before) => {
      const last = before.at(-1);
      return last !== undefined && latest.wallMs - last.wallMs < TRAFFIC_STEP_MS
        ? before
        : [...before, latest].slice(-TRAFFIC_POINTS_MAX);
    });
  }, [latest]);
  return all;
}

export function Traffic({ points }: { points: readonly TrafficPoint[] }) {
  const all = useTraffic(points);
  const data = useMemo(
    () =>
      columns(
        all,
        (point) => point.wallMs,
        (point) => point.receivedRate,
        (point) => point.writtenRate,
      ),
    [all],
  );
  const lines = useMemo(
    () => [
      { label: t("numbers.received"), color: "--line-1", fill: true },
      { label: t("numbers.written"), color: "--line-2" },
    ],
    [language.value],
  );
  return (
    <Panel title={t("overview.traffic")}>
      {all.length < 2 ? (
        <Empty title={t("chart.soon")} />
      ) : (
        <Chart label={t("overview.traffic")} data={data} lines={lines} unit="rate" height={150} />
      )}
    </Panel>
  );
}

export function RecentEvents({ rows }: { rows: readonly ApiEvent[] }) {
  const newestFirst = rows.toSorted((a, b) => b.wallMs - a.wallMs);
  const live = freshEvents.value.filter((event) => event.level !== "debug");
  const shown = [...freshOnly(live, newestFirst), ...rows].slice(0, EVENTS_SHOWN);
  return (
    <Panel title={t("overview.events")} aside={<a href="/events">{t("all")}</a>}>
      {shown.length === 0 ? (
        <Empty title={t("events.empty")} />
      ) : (
        <ul class="list events">
          {shown.map((event, i) => (
            <EventLine key={`${event.wallMs} ${event.kind} ${i}`} event={event} />
          ))}
        </ul>
      )}
    </Panel>
  );
}
