/** Sessions that are over, newest first: filtered by the server, paged while one scrolls, with those that end now on top. */
import { useMemo } from "preact/hooks";
import type { ApiEnd } from "#web/api-types.ts";
import { endMatches, fromOfPeriod, outcomesOf, queryText } from "./filters.ts";
import { Search, Select } from "./fields.tsx";
import { format, language, t, word } from "./i18n.ts";
import { OUTCOMES } from "./judge.ts";
import { freshEnds, now } from "./live.ts";
import { EndBadge } from "./marks.tsx";
import { Badge, Empty, Failed, Loading, Panel, When } from "./parts.tsx";
import { usePages } from "./pages.ts";
import { query } from "./router.ts";
import { pathOf } from "./routes.ts";
import { type Column, Table } from "./table.tsx";

const PAGE_ROWS = 200;
const AGENTS_MAX = 500;

/** Further badges: what is worth knowing of a session that was committed all the same. */
function Badges({ end }: { end: ApiEnd }) {
  return (
    <span class="badges">
      {end.verify === "ok" ? <Badge tone="ok">{t("badge.verified")}</Badge> : null}
      {end.verify === "damaged" ? <Badge tone="bad">{t("badge.damaged")}</Badge> : null}
      {end.verify === "pending" ? <Badge tone="busy">{t("badge.pending")}</Badge> : null}
      {end.breaks > 0 ? <Badge tone="none">{t("badge.breaks", { n: format.value.count(end.breaks) })}</Badge> : null}
      {end.duplicateBytes > 0 ? (
        <Badge tone="none">{t("badge.resent", { bytes: format.value.bytes(end.duplicateBytes) })}</Badge>
      ) : null}
      {end.repeats > 0 ? <Badge tone="none">×{format.value.count(end.repeats + 1)}</Badge> : null}
      {end.outcome === "committed" || end.message === "" ? null : (
        <span class="small muted" title={end.message}>
          {end.message}
        </span>
      )}
    </span>
  );
}

function Name({ end }: { end: ApiEnd }) {
  const name = (
    <>
      <span>{end.agent}</span>
      <span class="muted"> / </span>
      <b>{end.backup}</b>
    </>
  );
  if (end.session === null) return <span class="name">{name}</span>;
  return (
    <a class="name" href={pathOf({ view: "session", session: end.session })} title={`${end.agent} / ${end.backup}`}>
      {name}
    </a>
  );
}

function rate(end: ApiEnd): number | null {
  return end.durationMs > 0 && end.bytes > 0 ? (end.bytes * 1000) / end.durationMs : null;
}

function endColumns(): readonly Column<ApiEnd>[] {
  return [
    {
      key: "name",
      label: t("col.backup"),
      width: "minmax(10rem, 1.5fr)",
      narrow: "main",
      cell: (end) => <Name end={end} />,
    },
    {
      key: "result",
      label: t("col.result"),
      width: "minmax(8.5rem, 0.9fr)",
      narrow: "end",
      cell: (end) => <EndBadge end={end} />,
    },
    {
      key: "end",
      label: t("col.ended"),
      width: "minmax(11.4rem, 0.8fr)",
      narrow: "line",
      cell: (end) => <When wallMs={end.endWallMs} />,
    },
    {
      key: "time",
      label: t("col.duration"),
      width: "6.5rem",
      number: true,
      narrow: "line",
      cell: (end) => format.value.duration(end.durationMs),
    },
    {
      key: "bytes",
      label: t("col.stored"),
      width: "5rem",
      number: true,
      narrow: "line",
      cell: (end) => format.value.bytes(end.outcome === "committed" ? end.archiveBytes : end.bytes),
    },
    {
      key: "rate",
      label: t("col.rate"),
      width: "6rem",
      number: true,
      narrow: "none",
      cell: (end) => format.value.rate(rate(end)),
    },
    {
      key: "files",
      label: t("col.files"),
      width: "5.5rem",
      number: true,
      narrow: "none",
      cell: (end) => format.value.count(end.entries),
    },
    {
      key: "storage",
      label: t("col.storage"),
      width: "minmax(4rem, 0.5fr)",
      narrow: "none",
      cell: (end) => end.storage,
    },
    {
      key: "badges",
      label: t("col.notes"),
      width: "minmax(8rem, 1.6fr)",
      narrow: "none",
      cell: (end) => <Badges end={end} />,
    },
  ];
}

function endKey(end: ApiEnd): string {
  return `${end.session ?? end.run} ${end.endWallMs} ${end.agent} ${end.backup}`;
}

/** New ones above, none twice. A record that was counted up replaces the old one. */
function merged(fresh: readonly ApiEnd[], rows: readonly ApiEnd[]): readonly ApiEnd[] {
  if (fresh.length === 0) return rows;
  const newest = [...fresh].reverse();
  const keys = new Set(newest.map(endKey));
  return [...newest, ...rows.filter((row) => !keys.has(endKey(row)))];
}

/** The agents of rows, to complete a name by. */
function agentsOf(rows: readonly ApiEnd[] | null): readonly string[] {
  return [...new Set((rows ?? []).map((row) => row.agent))].sort().slice(0, AGENTS_MAX);
}

function Filters({ agents }: { agents: readonly string[] }) {
  return (
    <div class="tools">
      <Search name="agent" label={t("filter.agent")} options={agents} />
      <Select
        name="outcome"
        label={t("col.result")}
        choices={[
          { value: "", label: t("filter.allResults") },
          { value: "good", label: t("filter.good") },
          { value: "bad", label: t("filter.bad") },
          ...OUTCOMES.filter((outcome) => outcome !== "committed").map((outcome) => ({
            value: outcome,
            label: word("outcome", outcome),
          })),
        ]}
      />
      <Select name="period" label={t("filter.period")} choices={periodChoices()} />
    </div>
  );
}

export function periodChoices() {
  return [
    { value: "", label: t("filter.anyTime") },
    { value: "day", label: t("filter.day") },
    { value: "week", label: t("filter.week") },
    { value: "month", label: t("filter.month") },
    { value: "year", label: t("filter.year") },
  ];
}

export function History() {
  const { agent, backup, storage, outcome, period } = query.value;
  const from = useMemo(() => fromOfPeriod(period, now.peek()), [period]);
  const url = `/api/v1/sessions/history${queryText({ limit: String(PAGE_ROWS), agent, backup, storage, outcome: outcomesOf(outcome, OUTCOMES), from })}`;
  const { rows, total, failure, more, again } = usePages<ApiEnd>(url);
  const columns = useMemo(endColumns, [language.value]);
  const fresh = freshEnds.value.filter((end) => endMatches(end, query.value, OUTCOMES));
  const shown = useMemo(() => (rows === null ? null : merged(fresh, rows)), [rows, fresh.length, url]);
  const agents = useMemo(() => agentsOf(shown), [shown]);
  return (
    <Panel title={t("sessions.history")} flush aside={<Filters agents={agents} />}>
      {failure === null ? null : <Failed failure={failure} again={again} />}
      {shown === null && failure === null ? <Loading rows={6} /> : null}
      {shown?.length === 0 ? (
        <Empty title={(outcome ?? agent ?? period) ? t("filter.nothing") : t("sessions.noHistory")} />
      ) : null}
      {shown === null || shown.length === 0 ? null : (
        <Table
          label={t("sessions.history")}
          columns={columns}
          rows={shown}
          rowKey={endKey}
          total={Math.max(total, shown.length)}
          onEnd={more}
        />
      )}
    </Panel>
  );
}
