/** One backup entry: its archives with their size over time. */
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { ArchivesAnswer, ArchiveSummary } from "#web/api-archives.ts";
import { access } from "./api.ts";
import { Chart } from "./chart.tsx";
import { queryText } from "./filters.ts";
import { format, language, t, tn } from "./i18n.ts";
import { Reason, StateBadge } from "./marks.tsx";
import { usePages } from "./pages.ts";
import { Badge, Empty, Failed, Loading, Panel, Title, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { type ArchivePlace, pathOf } from "./routes.ts";
import { columns } from "./shapes.ts";
import { useSorted } from "./sorting.tsx";
import { type Column, Table } from "./table.tsx";
import { Trail } from "./trail.tsx";

/** As many as the server gives at once: of most entries these are all, and can be sorted. */
const PAGE_ROWS = "500";
const NONE: readonly ArchiveSummary[] = [];

function ArchiveState({ problems }: { problems: number }) {
  if (problems === 0) return <Badge tone="ok">{t("archive.fine")}</Badge>;
  return (
    <Badge tone="warn" title={tn("reason.warned", problems)}>
      {tn("outcome.warned", problems)}
    </Badge>
  );
}

function archiveColumns(): readonly Column<ArchiveSummary>[] {
  const f = format.value;
  return [
    {
      key: "time",
      label: t("archive.begun"),
      width: "minmax(13rem, 1.1fr)",
      narrow: "main",
      cell: (row) =>
        access.value?.download !== true ? (
          <When wallMs={row.timeWallMs} />
        ) : (
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
      sort: (row) => row.timeWallMs,
      largestFirst: true,
    },
    {
      key: "state",
      label: t("col.state"),
      width: "minmax(11.5rem, 0.8fr)",
      narrow: "end",
      cell: (row) =>
        row.damage === null ? (
          <ArchiveState problems={row.problems ?? 0} />
        ) : (
          <Badge tone="bad" title={row.damage}>
            {t("badge.damaged")}
          </Badge>
        ),
      sort: (row) => (row.damage === null ? -(row.problems ?? 0) : Number.MIN_SAFE_INTEGER),
    },
    {
      key: "bytes",
      label: t("col.size"),
      width: "5rem",
      number: true,
      narrow: "line",
      cell: (row) => f.bytes(row.bytes),
      sort: (row) => row.bytes,
      largestFirst: true,
    },
    {
      key: "raw",
      label: t("session.rawShort"),
      width: "7.5rem",
      number: true,
      drop: 1,
      named: true,
      narrow: "line",
      cell: (row) => f.bytes(row.rawBytes),
      sort: (row) => row.rawBytes,
      largestFirst: true,
    },
    {
      key: "entries",
      label: t("col.files"),
      width: "6rem",
      number: true,
      drop: 2,
      named: true,
      narrow: "line",
      cell: (row) => f.count(row.entries),
      sort: (row) => row.entries,
      largestFirst: true,
    },
    {
      key: "duration",
      label: t("col.duration"),
      width: "7rem",
      number: true,
      drop: 3,
      narrow: "none",
      cell: (row) => f.duration(row.durationMs),
      sort: (row) => row.durationMs,
      largestFirst: true,
    },
    {
      key: "name",
      label: t("archive.file"),
      width: "minmax(15rem, 1.6fr)",
      drop: 4,
      narrow: "none",
      cell: (row) => <span class="mono">{row.name}</span>,
    },
    {
      key: "index",
      label: t("archive.index"),
      width: "5rem",
      drop: 5,
      narrow: "none",
      cell: (row) => (row.hasIndex ? t("yes") : t("no")),
    },
  ];
}

export function Backup(place: ArchivePlace) {
  const { storage, agent, backup } = place;
  const url = `/api/v1/archives${queryText({ storage, agent, backup, limit: PAGE_ROWS })}`;
  const { value } = useResource<ArchivesAnswer>(url, { routes: ["archives"], everyMs: 60_000 });
  const { rows, total, failure, more, again } = usePages<ArchiveSummary>(url);
  const table = useMemo(archiveColumns, [language.value]);
  const sorted = useSorted(rows ?? NONE, table);
  const isWhole = rows !== null && rows.length >= total;
  const row = value.value?.backups.find(
    (one) => one.agent === agent && one.backup === backup && one.storage === storage,
  );
  // The list has pages and is not asked for whole each time that something changes anywhere.
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
            {access.value?.download === true ? (
              <a class="button" href={pathOf({ view: "find", ...place })}>
                {t("find.title")}
              </a>
            ) : null}
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
            rows={isWhole ? sorted.rows : rows}
            rowKey={(one) => one.name}
            total={total}
            onEnd={more}
            sorting={isWhole ? sorted.sorting : undefined}
          />
        )}
      </Panel>
      {access.value?.download === true ? null : <p class="muted note">{t("archive.closed")}</p>}
    </>
  );
}
