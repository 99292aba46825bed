/** Storages: how full, since when, until when; and what is being read again. */
import { useMemo } from "preact/hooks";
import type { StorageRow, StoragesAnswer } from "#web/api-archives.ts";
import { Chart } from "./chart.tsx";
import { format, language, t } from "./i18n.ts";
import { forecastView, storageTone } from "./judge.ts";
import { now } from "./live.ts";
import { ForecastText, StorageBadge } from "./marks.tsx";
import { Asking, Badge, Bar, Empty, Fact, Meter, Title, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { columns } from "./shapes.ts";
import { SortChoice, useSorted } from "./sorting.tsx";

function FreeChart({ storage }: { storage: StorageRow }) {
  const data = useMemo(
    () =>
      columns(
        storage.freeHistory,
        (one) => one.wallMs,
        (one) => one.bytes,
      ),
    [storage],
  );
  const lines = useMemo(() => [{ label: t("storage.free"), color: "--line-1", fill: true }], [language.value]);
  if (storage.freeHistory.length < 2) return <p class="muted small">{t("chart.soon")}</p>;
  return (
    <Chart
      label={t("storage.freeHistory", { name: storage.name })}
      data={data}
      lines={lines}
      unit="bytes"
      height={140}
      limit={storage.reserveBytes ?? undefined}
      limitLabel={t("storage.reserveLine")}
    />
  );
}

function Usage({ storage }: { storage: StorageRow }) {
  const f = format.value;
  const { totalBytes, freeBytes } = storage;
  const ratio = totalBytes === null || freeBytes === null || totalBytes === 0 ? null : 1 - freeBytes / totalBytes;
  const forecast = forecastView(storage, now.value).tone;
  const tone = storage.state === "ok" ? forecast : storageTone(storage);
  return (
    <>
      <div class="split">
        <b class="number big">{t("disk.free", { free: f.bytes(freeBytes) })}</b>
        <ForecastText storage={storage} full />
      </div>
      <Meter ratio={ratio ?? 0} tone={tone === "none" ? "busy" : tone} label={t("disk.used", { name: storage.name })} />
      <div class="split small">
        <span class="number">{t("disk.of", { used: f.percent(ratio), total: f.bytes(totalBytes) })}</span>
        <span class="muted">{t("storage.reserve", { bytes: f.bytes(storage.reserveBytes) })}</span>
      </div>
    </>
  );
}

function Verifying({ storage }: { storage: StorageRow }) {
  const { verifying } = storage;
  if (verifying === null)
    return storage.verifyingCount === 0 ? null : (
      <p class="muted small">{t("storage.willVerify", { n: storage.verifyingCount })}</p>
    );
  return (
    <div class="progress">
      <p class="small">
        {t("storage.verifying")} <span class="mono">{verifying.archive}</span>
      </p>
      <Bar ratio={verifying.total === 0 ? null : verifying.done / verifying.total} label={t("storage.verifying")} />
    </div>
  );
}

function Card({ storage }: { storage: StorageRow }) {
  const f = format.value;
  const { scan } = storage;
  return (
    <article class="card storage" aria-label={storage.name}>
      <header>
        <h2>{storage.name}</h2>
        <StorageBadge storage={storage} />
      </header>
      <p class="mono small muted break">{storage.baseDir}</p>
      {storage.message === null ? null : (
        <div class={storage.state === "failed" ? "wrong" : "wrong warn"} role="note">
          <p>
            <code>{storage.code}</code> {storage.message}
          </p>
          <p class="muted small">
            <When wallMs={storage.sinceWallMs} />
          </p>
        </div>
      )}
      <Usage storage={storage} />
      <FreeChart storage={storage} />
      <Verifying storage={storage} />
      <dl class="facts">
        <Fact name={t("archives.count")}>{f.count(scan?.archiveCount ?? null)}</Fact>
        <Fact name={t("archives.bytes")}>{f.bytes(scan?.archiveBytes ?? null)}</Fact>
        <Fact name={t("nav.agents")}>{f.count(scan?.agentCount ?? null)}</Fact>
        <Fact name={t("storage.entries")}>{f.count(scan?.backupCount ?? null)}</Fact>
        <Fact name={t("storage.keeps")}>{f.count(storage.maxBackups)}</Fact>
        <Fact name={t("numbers.running")}>{f.count(storage.sessionCount)}</Fact>
        <Fact name={t("archives.damaged")}>
          {(scan?.damagedCount ?? 0) > 0 ? (
            <Badge tone="bad">{f.count(scan?.damagedCount ?? 0)}</Badge>
          ) : (
            f.count(scan?.damagedCount ?? null)
          )}
        </Fact>
        <Fact name={t("archives.scanned")}>
          <When wallMs={scan?.atWallMs ?? null} ageOnly />
        </Fact>
      </dl>
      {scan?.failure == null ? null : <p class="tone-warn small">{scan.failure}</p>}
    </article>
  );
}

/** More than these are not seen at a glance. */
const CARDS_UNSORTED = 3;
const NONE: readonly StorageRow[] = [];

function cardOrders() {
  return [
    { key: "name", label: t("col.storage"), sort: ({ name }: StorageRow) => name },
    { key: "state", label: t("col.state"), sort: ({ state }: StorageRow) => STATES.indexOf(state) },
    { key: "free", label: t("storage.free"), sort: ({ freeBytes }: StorageRow) => freeBytes },
    { key: "full", label: t("storage.full"), sort: ({ forecast }: StorageRow) => forecast?.fullWallMs ?? null },
    {
      ...{ key: "archives", label: t("archives.bytes"), largestFirst: true },
      sort: ({ scan }: StorageRow) => scan?.archiveBytes ?? null,
    },
  ];
}

/** The worst first. */
const STATES: readonly StorageRow["state"][] = ["failed", "low", "unknown", "ok"];

export function Storages() {
  const asked = useResource<StoragesAnswer>("/api/v1/storages", { routes: ["storages"], everyMs: 15_000 });
  const answer = asked.value.value;
  const orders = useMemo(cardOrders, [language.value]);
  const { rows, sorting } = useSorted(answer?.rows ?? NONE, orders);
  return (
    <>
      <Title aside={rows.length > CARDS_UNSORTED ? <SortChoice columns={orders} sorting={sorting} /> : undefined}>
        {t("nav.storages")}
      </Title>
      <Asking asked={asked} rows={6} />
      {answer?.rows.length === 0 ? <Empty title={t("storages.empty")} /> : null}
      <div class="cards wide">
        {rows.map((storage) => (
          <Card key={storage.name} storage={storage} />
        ))}
      </div>
    </>
  );
}
