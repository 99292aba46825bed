/** The answer first: is everything backed up, and if not, what is wrong. Then the entries, traffic, disks and what happened last. */
import { useMemo, useState } from "preact/hooks";
import type { BackupSummary, BackupState } from "#web/api-archives.ts";
import type { OverviewAnswer } from "#web/api-types.ts";
import { backupsLeft } from "./filters.ts";
import { Search } from "./fields.tsx";
import { format, language, t, tn } from "./i18n.ts";
import { Icon } from "./icons.tsx";
import { type Concern, concerns, headline, STATE_ORDER, stateRank, stateTone } from "./judge.ts";
import { now, running, server, waiting } from "./live.ts";
import { BackupName, backupSort, Reason, ScheduleAge, StateAndReason } from "./marks.tsx";
import { RecentEvents, StorageList, Traffic } from "./overview-side.tsx";
import { Asking, Empty, Panel, Spark, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { query, setQuery } from "./router.ts";
import { useSorted } from "./sorting.tsx";
import { type Column, Table } from "./table.tsx";

/** With more entries than this only the worst are shown at first. */
const ROWS_AT_FIRST = 30;

function ConcernText({ concern }: { concern: Concern }) {
  const { kind, name, count, until } = concern;
  if (kind === "warned") return <a href="/sessions">{tn("concern.warned", count)}</a>;
  if (kind === "certificate")
    return (
      <span title={until === null ? undefined : format.value.fullTime(until)}>
        {count < 0 ? t("concern.certificateOver", { name }) : tn("concern.certificate", count, { name })}
      </span>
    );
  return (
    <a href="/storages">
      {kind === "storageSoon" ? tn("concern.storageSoon", count, { name }) : t(`concern.${kind}`, { name })}
    </a>
  );
}

function Concerns({ answer }: { answer: OverviewAnswer }) {
  const found = concerns(answer, now.value);
  if (found.length === 0) return null;
  return (
    <ul class="concerns">
      {found.map((concern) => (
        <li key={`${concern.kind} ${concern.name}`} class={`tone-${concern.tone}`}>
          <Icon name={concern.tone} /> <ConcernText concern={concern} />
        </li>
      ))}
    </ul>
  );
}

function Answer({ answer }: { answer: OverviewAnswer }) {
  const head = headline(answer.counts, answer.backups, now.value);
  const text = head.kind === "none" ? t("head.none") : head.kind === "all" ? tn("head.all", head.total) : undefined;
  return (
    <div class={`answer ${head.tone}`} role="status">
      <Icon name={head.tone} />
      <div>
        <h1 tabIndex={-1}>{text ?? head.parts.map(({ state, count }) => tn(`head.${state}`, count)).join(", ")}</h1>
        <p class="muted">
          {head.kind === "some" && head.fine > 0 ? tn("head.rest", head.fine) : null}
          {head.kind === "none" ? t("head.noneHint") : null}
          {answer.scanning ? ` ${t("head.scanning")}` : null}
        </p>
        <Concerns answer={answer} />
      </div>
    </div>
  );
}

/** What moves all the time, from the live stream; before it speaks, from the first answer. */
function Numbers({ first }: { first: OverviewAnswer }) {
  const numbers = server.value ?? first.server;
  const f = format.value;
  return (
    <dl class="numbers">
      <div>
        <dt>{t("numbers.running")}</dt>
        <dd>
          <a href="/sessions">
            {f.count(server.value === null ? numbers.sessionCount : running.value.length)}
            <small> / {f.count(numbers.sessionsMax)}</small>
          </a>
        </dd>
      </div>
      <div>
        <dt>{t("numbers.waiting")}</dt>
        <dd>
          <a href="/sessions">{f.count(server.value === null ? numbers.waitingCount : waiting.value.length)}</a>
        </dd>
      </div>
      <div>
        <dt>{t("numbers.received")}</dt>
        <dd>{f.rate(numbers.receivedRate)}</dd>
      </div>
      <div>
        <dt>{t("numbers.written")}</dt>
        <dd>{f.rate(numbers.writtenRate)}</dd>
      </div>
      <div>
        <dt>{t("numbers.memory")}</dt>
        <dd>
          {f.bytes(numbers.memoryBytes)}
          <small> / {f.bytes(numbers.memoryBytesMax)}</small>
        </dd>
      </div>
    </dl>
  );
}

export function backupColumns(): readonly Column<BackupSummary>[] {
  return [
    {
      key: "name",
      label: t("col.backup"),
      width: "minmax(10.4rem, 1.6fr)",
      narrow: "main",
      cell: (row) => <BackupName row={row} />,
      sort: backupSort,
    },
    {
      key: "state",
      label: t("col.state"),
      width: "minmax(12.8rem, 1.4fr)",
      narrow: "end",
      cell: (row) => <StateAndReason row={row} />,
      sort: stateRank,
    },
    {
      key: "last",
      label: t("col.lastSuccess"),
      width: "minmax(13rem, 0.7fr)",
      narrow: "line",
      cell: (row) => <When wallMs={row.lastSuccessWallMs} />,
      known: (row) => row.lastSuccessWallMs !== null,
      sort: (row) => row.lastSuccessWallMs,
      largestFirst: true,
    },
    {
      key: "every",
      label: t("col.schedule"),
      width: "8.6rem",
      drop: 1,
      narrow: "line2",
      cell: (row) => <ScheduleAge row={row} />,
      known: (row) => row.everyMs !== null,
      sort: (row) => row.everyMs,
    },
    {
      key: "size",
      label: t("col.size"),
      width: "5rem",
      drop: 3,
      number: true,
      narrow: "line",
      cell: (row) => format.value.bytes(row.lastBytes),
      sort: (row) => row.lastBytes,
      largestFirst: true,
    },
    {
      key: "trend",
      label: t("col.trend"),
      width: "5rem",
      drop: 4,
      narrow: "none",
      cell: (row) => <Spark values={row.trend} area />,
    },
    {
      key: "next",
      label: t("col.next"),
      width: "minmax(11.8rem, 0.8fr)",
      drop: 2,
      named: true,
      narrow: "line2",
      cell: (row) => <When wallMs={row.nextWallMs} />,
      known: (row) => row.nextWallMs !== null,
      sort: (row) => row.nextWallMs,
    },
    {
      key: "reason",
      label: t("col.notes"),
      width: "0",
      narrow: "line",
      narrowOnly: true,
      cell: (row) => (row.state === "ok" && row.damagedCount === 0 ? null : <Reason row={row} />),
    },
  ];
}

function StateFilter({ counts }: { counts: Readonly<Record<BackupState, number>> }) {
  const chosen = query.value["state"];
  const shown = STATE_ORDER.filter((state) => counts[state] > 0);
  if (shown.length < 2) return null;
  return (
    <div class="chips" role="group" aria-label={t("col.state")}>
      {shown.map((state) => (
        <button
          key={state}
          type="button"
          class={`chip ${stateTone(state)}`}
          aria-pressed={chosen === state}
          onClick={() => setQuery({ state: chosen === state ? null : state })}
        >
          {t(`state.${state}`)} <b>{format.value.count(counts[state])}</b>
        </button>
      ))}
    </div>
  );
}

function Backups({ answer }: { answer: OverviewAnswer }) {
  const [all, setAll] = useState(false);
  const state = STATE_ORDER.find((name) => name === query.value["state"]);
  const text = query.value["text"];
  const left = useMemo(() => backupsLeft(answer.backups, state, text), [answer, state, text]);
  const columns = useMemo(backupColumns, [language.value]);
  const sorted = useSorted(left, columns);
  const rows = all || state !== undefined || text !== undefined ? sorted.rows : sorted.rows.slice(0, ROWS_AT_FIRST);
  return (
    <Panel
      title={t("overview.backups")}
      flush
      aside={
        <div class="tools">
          <StateFilter counts={answer.counts} />
          {answer.backups.length > 8 ? <Search name="text" label={t("filter.name")} /> : null}
        </div>
      }
    >
      {answer.backups.length === 0 ? <Empty title={t("overview.empty")}>{t("overview.emptyHint")}</Empty> : null}
      {answer.backups.length > 0 && left.length === 0 ? <Empty title={t("filter.nothing")} /> : null}
      {rows.length === 0 ? null : (
        <Table
          label={t("overview.backups")}
          columns={columns}
          rows={rows}
          rowKey={(row) => `${row.storage}/${row.agent}/${row.backup}`}
          sorting={sorted.sorting}
        />
      )}
      {rows.length < left.length ? (
        <button type="button" class="more" onClick={() => setAll(true)}>
          {t("showAll", { n: format.value.count(left.length) })}
        </button>
      ) : null}
    </Panel>
  );
}

export function Overview() {
  const asked = useResource<OverviewAnswer>("/api/v1/overview", { routes: ["overview"], everyMs: 60_000 });
  const answer = asked.value.value;
  if (answer === null) {
    return (
      <>
        <h1 class="hidden" tabIndex={-1}>
          {t("nav.overview")}
        </h1>
        <Asking asked={asked} rows={8} />
      </>
    );
  }
  return (
    <div class="overview">
      <div class="top">
        <Answer answer={answer} />
        <Numbers first={answer} />
      </div>
      <div class="main">
        <Asking asked={asked} rows={8} />
        <Backups answer={answer} />
      </div>
      <div class="side">
        <StorageList rows={answer.storages} />
        <Traffic points={answer.traffic} />
        <RecentEvents rows={answer.events} />
      </div>
    </div>
  );
}
