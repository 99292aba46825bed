/** Archives: every backup entry that has some. */
import { useMemo } from "preact/hooks";
import type { ArchivesAnswer, BackupRow } from "#web/api-archives.ts";
import { Search } from "./fields.tsx";
import { backupsLeft } from "./filters.ts";
import { format, language, t, tn } from "./i18n.ts";
import { stateRank } from "./judge.ts";
import { BackupName, backupSort, StateBadge } from "./marks.tsx";
import { Asking, Badge, Empty, Panel, Spark, Title, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { query } from "./router.ts";
import { useSorted } from "./sorting.tsx";
import { type Column, Table } from "./table.tsx";

function listColumns(hasDamage: boolean): readonly Column<BackupRow>[] {
  const f = format.value;
  const all: readonly Column<BackupRow>[] = [
    {
      key: "name",
      label: t("col.backup"),
      width: "minmax(10rem, 1.8fr)",
      narrow: "main",
      cell: (row) => <BackupName row={row} />,
      sort: backupSort,
    },
    {
      key: "storage",
      label: t("col.storage"),
      width: "minmax(7.2rem, 0.7fr)",
      drop: 2,
      narrow: "none",
      cell: (row) => row.storage,
      sort: (row) => row.storage,
    },
    {
      key: "state",
      label: t("col.state"),
      width: "minmax(8.6rem, 0.9fr)",
      narrow: "end",
      cell: (row) => <StateBadge row={row} />,
      sort: stateRank,
    },
    {
      key: "count",
      label: t("archives.count"),
      width: "5rem",
      number: true,
      drop: 4,
      narrow: "none",
      cell: (row) => f.count(row.archiveCount),
      sort: (row) => row.archiveCount,
      largestFirst: true,
    },
    {
      key: "bytes",
      label: t("archives.bytes"),
      width: "7.4rem",
      number: true,
      drop: 1,
      narrow: "line",
      cell: (row) => f.bytes(row.archiveBytes),
      sort: (row) => row.archiveBytes,
      largestFirst: true,
    },
    {
      key: "newest",
      label: t("archives.newest"),
      width: "minmax(13.4rem, 0.8fr)",
      narrow: "line",
      cell: (row) => <When wallMs={row.lastSuccessWallMs} />,
      sort: (row) => row.lastSuccessWallMs,
      largestFirst: true,
    },
    {
      key: "size",
      label: t("col.size"),
      width: "5rem",
      number: true,
      drop: 3,
      narrow: "none",
      cell: (row) => f.bytes(row.lastBytes),
      sort: (row) => row.lastBytes,
      largestFirst: true,
    },
    {
      key: "trend",
      label: t("col.trend"),
      width: "5rem",
      drop: 5,
      narrow: "none",
      cell: (row) => <Spark values={row.sizes.map((size) => size.bytes)} area />,
    },
    {
      key: "damaged",
      label: t("archives.damaged"),
      width: "6rem",
      narrow: "none",
      cell: (row) => (row.damagedCount === 0 ? null : <Badge tone="bad">{f.count(row.damagedCount)}</Badge>),
      sort: (row) => row.damagedCount,
      largestFirst: true,
    },
  ];
  return hasDamage ? all : all.filter(({ key }) => key !== "damaged");
}

export function Archives() {
  const asked = useResource<ArchivesAnswer>("/api/v1/archives?limit=1", { routes: ["archives"], everyMs: 60_000 });
  const answer = asked.value.value;
  const hasDamage = answer?.backups.some((row) => row.damagedCount > 0) === true;
  const table = useMemo(() => listColumns(hasDamage), [language.value, hasDamage]);
  const text = query.value["text"];
  const left = useMemo(() => backupsLeft(answer?.backups ?? [], undefined, text), [answer, text]);
  const { rows, sorting } = useSorted(left, table);
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
      <Asking asked={asked} rows={6} />
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
              sorting={sorting}
            />
          )}
        </Panel>
      )}
    </>
  );
}
