/** Sessions that are over, newest first: filtered by the server, paged while one scrolls, with those that end now on top. */
import { useEffect, useMemo } from "preact/hooks";
import type { ApiEnd } from "#web/api-types.ts";
import { END_NAMES, endTest } from "#web/matches.ts";
import { fromOfPeriod, outcomesOf, queryText } from "./filters.ts";
import { MoreFilters, Search, Select } from "./fields.tsx";
import { format, language, t, tn, word } from "./i18n.ts";
import { OUTCOMES, type Tone } from "./judge.ts";
import { FRESH_MANY, freshEnds, now } from "./live.ts";
import { EndBadge } from "./marks.tsx";
import { Badge, Empty, Failed, Loading, Panel, When } from "./parts.tsx";
import { useExact, usePages } from "./pages.ts";
import { query } from "./router.ts";
import { pathOf } from "./routes.ts";
import { type Column, Table } from "./table.tsx";

const PAGE_ROWS = 200;
const AGENTS_MAX = 500;

interface Note {
  readonly tone: Tone;
  readonly text: string;
}

/** What is worth knowing of a session that was committed all the same. */
function notesOf(end: ApiEnd): readonly Note[] {
  const f = format.value;
  const notes: (Note | null)[] = [
    end.verify === "ok" ? { tone: "ok", text: t("badge.verified") } : null,
    end.verify === "damaged" ? { tone: "bad", text: t("badge.damaged") } : null,
    end.verify === "pending" ? { tone: "busy", text: t("badge.pending") } : null,
    end.breaks > 0 ? { tone: "none", text: tn("badge.breaks", end.breaks) } : null,
    end.duplicateBytes > 0 ? { tone: "none", text: t("badge.resent", { bytes: f.bytes(end.duplicateBytes) }) } : null,
    end.repeats > 0 ? { tone: "none", text: `×${f.count(end.repeats + 1)}` } : null,
  ];
  return notes.filter((note) => note !== null);
}

function Badges({ end }: { end: ApiEnd }) {
  const notes = notesOf(end);
  const message = end.outcome === "committed" ? "" : end.message;
  return (
    <span class="badges" title={[...notes.map(({ text }) => text), message].filter((text) => text !== "").join(" · ")}>
      {notes.map(({ tone, text }) => (
        <Badge key={text} tone={tone}>
          {text}
        </Badge>
      ))}
      {message === "" ? null : <span class="small muted">{message}</span>}
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

/** An agent that was refused, or left the line, sent nothing, and took no time for it. */
function began(end: ApiEnd): boolean {
  return end.session !== null;
}

function storedBytes(end: ApiEnd): number | null {
  if (!began(end)) return null;
  return end.outcome === "committed" ? end.archiveBytes : end.bytes;
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
      width: "minmax(10.5rem, 0.9fr)",
      narrow: "end",
      cell: (end) => <EndBadge end={end} />,
    },
    {
      key: "end",
      label: t("col.ended"),
      width: "minmax(13.4rem, 0.8fr)",
      narrow: "line",
      cell: (end) => <When wallMs={end.endWallMs} />,
    },
    {
      key: "time",
      label: t("col.duration"),
      width: "6.4rem",
      number: true,
      drop: 2,
      narrow: "line",
      cell: (end) => format.value.duration(began(end) ? end.durationMs : null),
    },
    {
      key: "bytes",
      label: t("col.stored"),
      width: "5rem",
      number: true,
      drop: 1,
      narrow: "line",
      cell: (end) => format.value.bytes(storedBytes(end)),
    },
    {
      key: "rate",
      label: t("col.rate"),
      width: "6rem",
      number: true,
      drop: 5,
      narrow: "none",
      cell: (end) => format.value.rate(rate(end)),
    },
    {
      key: "files",
      label: t("col.files"),
      width: "5.5rem",
      number: true,
      drop: 6,
      narrow: "none",
      cell: (end) => format.value.count(began(end) ? end.entries : null),
    },
    {
      key: "storage",
      label: t("col.storage"),
      width: "minmax(7.8rem, 0.5fr)",
      drop: 4,
      narrow: "none",
      cell: (end) => end.storage,
    },
    {
      key: "badges",
      label: t("col.notes"),
      width: "minmax(8rem, 1.6fr)",
      drop: 3,
      narrow: "none",
      cell: (end) => <Badges end={end} />,
    },
  ];
}

function endKey(end: ApiEnd): string {
  return `${end.session ?? end.run} ${end.endWallMs} ${end.agent} ${end.backup}`;
}

/** The newest first, none twice. A record that was counted up replaces the old one. */
function merged(fresh: readonly ApiEnd[], rows: readonly ApiEnd[]): readonly ApiEnd[] {
  // Older ones are on a page that is not loaded, or were there before the list was asked for.
  const oldest = rows.at(-1)?.endWallMs ?? 0;
  const newer = fresh.filter((end) => end.endWallMs >= oldest);
  if (newer.length === 0) return rows;
  const keys = new Set(newer.map(endKey));
  return [...newer, ...rows.filter((row) => !keys.has(endKey(row)))].sort((a, b) => b.endWallMs - a.endWallMs);
}

/** The agents of rows, to complete a name by. */
function agentsOf(rows: readonly ApiEnd[] | null): readonly string[] {
  return [...new Set((rows ?? []).map((row) => row.agent))].sort().slice(0, AGENTS_MAX);
}

function Filters({ agents }: { agents: readonly string[] }) {
  return (
    <div class="tools">
      <MoreFilters
        names={[
          { name: "backup", label: t("filter.backup") },
          { name: "storage", label: t("col.storage") },
        ]}
      />
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
  const paged = usePages<ApiEnd>(url);
  const { rows, total, failure, busy, more, again } = paged;
  const columns = useMemo(endColumns, [language.value]);
  const ends = freshEnds.value;
  const named = useExact(paged, END_NAMES, ends);
  const shown = useMemo(() => {
    const isMeant = endTest({ agent, backup, storage, outcome: outcomesOf(outcome, OUTCOMES) }, named);
    return rows === null ? null : merged(ends.filter(isMeant), rows);
  }, [rows, ends, url, named]);
  const newest = rows?.[0]?.endWallMs ?? Number.POSITIVE_INFINITY;
  const many = ends.filter((end) => end.endWallMs > newest).length >= FRESH_MANY;
  useEffect(() => {
    if (many) again();
  }, [many]);
  const agents = useMemo(() => agentsOf(shown), [shown]);
  return (
    <Panel title={t("sessions.history")} flush aside={<Filters agents={agents} />}>
      {failure === null ? null : <Failed failure={failure} again={again} />}
      {shown === null && failure === null ? <Loading rows={6} /> : null}
      {shown?.length === 0 ? (
        <Empty
          title={(outcome ?? agent ?? backup ?? storage ?? period) ? t("filter.nothing") : t("sessions.noHistory")}
        />
      ) : null}
      {shown === null || shown.length === 0 ? null : (
        <Table
          label={t("sessions.history")}
          columns={columns}
          rows={shown}
          rowKey={endKey}
          total={Math.max(total, shown.length)}
          onEnd={more}
          busy={busy}
        />
      )}
    </Panel>
  );
}
