/** Archives: every backup entry that has some; of one entry, its archives with their size over time. */
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { ArchivesAnswer, ArchiveSummary, BackupRow } from "#web/api-archives.ts";

import { access } from "./api.ts";
import { Chart } from "./chart.tsx";
import { Search } from "./fields.tsx";
import { backupsLeft, queryText } from "./filters.ts";
import { format, language, t, tn } from "./i18n.ts";
import { BackupName, Reason, StateBadge } from "./marks.tsx";
import { usePages } from "./pages.ts";
import { Badge, Empty, Failed, Loading, Panel, Spark, Title, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { query } from "./router.ts";
import { type ArchivePlace, pathOf } from "./routes.ts";
import { columns } from "./shapes.ts";
import { type Column, Table } from "./table.tsx";

function listColumns(): readonly Column<BackupRow>[] {
  const f = format.value;
  return [
    {
      key: "name",
      label: t("col.backup"),
      width: "minmax(10rem, 1.8fr)",
      narrow: "main",
      cell: (row) => <BackupName row={row} />,
    },
    {
      key: "storage",
      label: t("col.storage"),
      width: "minmax(5rem, 0.7fr)",
      narrow: "none",
      cell: (row) => row.storage,
    },
    {
      key: "state",
      label: t("col.state"),
      width: "minmax(7.5rem, 0.9fr)",
      narrow: "end",
      cell: (row) => <StateBadge row={row} />,
    },
    {
      key: "count",
      label: t("archives.count"),
      width: "5rem",
      number: true,
      narrow: "none",
      cell: (row) => f.count(row.archiveCount),
    },
    {
      key: "bytes",
      label: t("archives.bytes"),
      width: "6rem",
      number: true,
      narrow: "line",
      cell: (row) => f.bytes(row.archiveBytes),
    },
    {
      key: "newest",
      label: t("archives.newest"),
      width: "minmax(11.4rem, 0.8fr)",
      narrow: "line",
      cell: (row) => <When wallMs={row.lastSuccessWallMs} />,
    },
    {
      key: "size",
      label: t("col.size"),
      width: "5rem",
      number: true,
      narrow: "none",
      cell: (row) => f.bytes(row.lastBytes),
    },
    {
      key: "trend",
      label: t("col.trend"),
      width: "6rem",
      narrow: "none",
      cell: (row) => <Spark values={row.sizes.map((size) => size.bytes)} area />,
    },
    {
      key: "damaged",
      label: t("archives.damaged"),
      width: "6rem",
      narrow: "none",
      cell: (row) => (row.damagedCount === 0 ? null : <Badge tone="bad">{f.count(row.damagedCount)}</Badge>),
    },
  ];
}

export function Archives() {
  const { value, failure, refresh } = useResource<ArchivesAnswer>("/api/v1/archives?limit=1", "archives");
  const answer = value.value;
  const table = useMemo(listColumns, [language.value]);
  const text = query.value["text"];
  const rows = useMemo(() => backupsLeft(answer?.backups ?? [], undefined, text), [answer, text]);
  return (
    <>
      <Title
        aside={
          answer?.scannedWallMs == null ? null : (
            <span class="muted">
              {t("archives.scanned")} <When wallMs={answer.scannedWallMs} />
            </span>
          )
        }
      >
        {t("nav.archives")}
      </Title>
      {answer === null && failure.value === null ? <Loading rows={6} /> : null}
      {answer === null && failure.value !== null ? <Failed failure={failure.value} again={refresh} /> : null}
      {answer === null ? null : (
        <Panel
          title={tn("archives.entries", answer.backups.length)}
          flush
          aside={<Search name="text" label={t("filter.name")} />}
        >
          {rows.length === 0 ? (
            <Empty title={text === undefined ? t("archives.empty") : t("filter.nothing")} />
          ) : (
            <Table
              label={t("nav.archives")}
              columns={table}
              rows={rows}
              rowKey={(row) => `${row.storage}/${row.agent}/${row.backup}`}
            />
          )}
        </Panel>
      )}
    </>
  );
}

function archiveColumns(): readonly Column<ArchiveSummary>[] {
  const f = format.value;
  return [
    {
      key: "time",
      label: t("archive.begun"),
      width: "minmax(11rem, 1.1fr)",
      narrow: "main",
      cell: (row) => (
        <a
          class="name"
          href={pathOf({
            view: "archive",
            storage: row.storage,
            agent: row.agent,
            backup: row.backup,
            archive: row.name,
          })}
          title={row.name}
        >
          <When wallMs={row.timeWallMs} />
        </a>
      ),
    },
    {
      key: "state",
      label: t("col.state"),
      width: "minmax(7rem, 0.8fr)",
      narrow: "end",
      cell: (row) =>
        row.damage === null ? (
          <Badge tone={(row.problems ?? 0) > 0 ? "warn" : "ok"}>
            {(row.problems ?? 0) > 0 ? tn("outcome.warned", row.problems ?? 0) : t("archive.fine")}
          </Badge>
        ) : (
          <Badge tone="bad" title={row.damage}>
            {t("badge.damaged")}
          </Badge>
        ),
    },
    {
      key: "bytes",
      label: t("col.size"),
      width: "5rem",
      number: true,
      narrow: "line",
      cell: (row) => f.bytes(row.bytes),
    },
    {
      key: "raw",
      label: t("session.raw"),
      width: "7.5rem",
      number: true,
      narrow: "line",
      cell: (row) => f.bytes(row.rawBytes),
    },
    {
      key: "entries",
      label: t("col.files"),
      width: "6rem",
      number: true,
      narrow: "line",
      cell: (row) => f.count(row.entries),
    },
    {
      key: "duration",
      label: t("col.duration"),
      width: "7rem",
      number: true,
      narrow: "none",
      cell: (row) => f.duration(row.durationMs),
    },
    {
      key: "name",
      label: t("archive.file"),
      width: "minmax(12rem, 1.6fr)",
      narrow: "none",
      cell: (row) => <span class="mono">{row.name}</span>,
    },
    {
      key: "index",
      label: t("archive.index"),
      width: "5rem",
      narrow: "none",
      cell: (row) => (row.hasIndex ? t("yes") : t("no")),
    },
  ];
}

/** Agents / backup, with links back. */
export function Trail({ place, archive }: { place: ArchivePlace; archive?: string }) {
  return (
    <nav class="trail" aria-label={t("archives.where")}>
      <a href="/archives">{t("nav.archives")}</a> › <span class="muted">{place.storage}</span> ›{" "}
      <a href={pathOf({ view: "agent", agent: place.agent })}>{place.agent}</a> ›{" "}
      {archive === undefined ? (
        <span>{place.backup}</span>
      ) : (
        <a href={pathOf({ view: "backup", ...place })}>{place.backup}</a>
      )}
      {archive === undefined ? null : (
        <>
          {" "}
          › <span class="mono">{archive}</span>
        </>
      )}
    </nav>
  );
}

export function Backup(place: ArchivePlace) {
  const { storage, agent, backup } = place;
  const url = `/api/v1/archives${queryText({ storage, agent, backup, limit: "200" })}`;
  const { value } = useResource<ArchivesAnswer>(url, "archives");
  const { rows, total, failure, more, again } = usePages<ArchiveSummary>(url);
  const table = useMemo(archiveColumns, [language.value]);
  const row = value.value?.backups.find(
    (one) => one.agent === agent && one.backup === backup && one.storage === storage,
  );
  const known = row === undefined ? "" : `${row.archiveCount} ${row.lastArchive}`;
  const shown = useRef("");
  useEffect(() => {
    if (shown.current !== "" && known !== shown.current) again();
    shown.current = known;
  }, [known]);
  const data = useMemo(() => {
    const oldestFirst = [...(rows ?? [])].reverse();
    return columns(
      oldestFirst,
      (one) => one.timeWallMs,
      (one) => one.bytes,
      (one) => one.rawBytes,
    );
  }, [rows]);
  const lines = useMemo(
    () => [
      { label: t("archive.stored"), color: "--line-1", fill: true },
      { label: t("session.raw"), color: "--line-2" },
    ],
    [language.value],
  );
  return (
    <>
      <Trail place={place} />
      <Title
        aside={
          <div class="tools">
            {row === undefined ? null : <StateBadge row={row} />}
            {row === undefined ? null : (
              <span class="muted">
                <Reason row={row} />
              </span>
            )}
            <a class="button" href={pathOf({ view: "find", ...place })}>
              {t("find.title")}
            </a>
            <a class="button" href={`/sessions${queryText({ agent, backup })}`}>
              {t("sessions.history")}
            </a>
          </div>
        }
      >
        {agent} / {backup}
      </Title>
      {rows !== null && rows.length > 1 ? (
        <Panel title={t("archives.sizes")}>
          <Chart label={t("archives.sizes")} data={data} lines={lines} unit="bytes" height={180} points />
        </Panel>
      ) : null}
      <Panel title={tn("archives.archives", total)} flush>
        {failure === null ? null : <Failed failure={failure} again={again} />}
        {rows === null && failure === null ? <Loading rows={5} /> : null}
        {rows?.length === 0 ? (
          <Empty title={t("archives.none")}>{row === undefined ? undefined : <Reason row={row} />}</Empty>
        ) : null}
        {rows === null || rows.length === 0 ? null : (
          <Table
            label={t("nav.archives")}
            columns={table}
            rows={rows}
            rowKey={(one) => one.name}
            total={total}
            onEnd={more}
          />
        )}
      </Panel>
      {access.value?.download === true ? null : <p class="muted note">{t("archive.closed")}</p>}
    </>
  );
}
