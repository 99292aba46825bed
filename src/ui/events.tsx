/** What happened: filtered by the server, paged, with what happens now on top, and saved as JSON. */
import { useEffect, useMemo, useState } from "preact/hooks";
import type { ApiEvent, EventsAnswer } from "#web/api-types.ts";
import { EVENT_NAMES, eventTest } from "#web/matches.ts";
import { ask } from "./api.ts";
import { saveText } from "./browser.ts";
import { EventLinks } from "./event-line.tsx";
import { MoreFilters, Search, Select } from "./fields.tsx";
import { freshOnly, fromOfPeriod, queryText } from "./filters.ts";
import { format, language, t } from "./i18n.ts";
import { periodChoices } from "./history.tsx";
import { levelTone } from "./judge.ts";
import { FRESH_MANY, freshEvents, now } from "./live.ts";
import { useExact, usePages } from "./pages.ts";
import { Badge, Empty, Failed, Loading, Panel, Title, When } from "./parts.tsx";
import { query } from "./router.ts";
import { type Column, Table } from "./table.tsx";

const PAGE_ROWS = "200";
/** More than this is the log's business. */
const EXPORT_MAX = 20_000;
const EXPORT_PAGE = "500";
const AGENTS_MAX = 500;

/** Fields that have a column or a link of their own. */
const SHOWN_FIELDS = new Set(["agent", "session"]);

function Fields({ event }: { event: ApiEvent }) {
  const rest = Object.entries(event.fields).filter(([name]) => !SHOWN_FIELDS.has(name));
  const text = rest
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("  ");
  return (
    <span class="mono small muted" title={text}>
      {text}
    </span>
  );
}

function eventColumns(): readonly Column<ApiEvent>[] {
  return [
    {
      key: "when",
      label: t("events.when"),
      width: "minmax(14.4rem, 0.6fr)",
      narrow: "line",
      cell: (event) => <When wallMs={event.wallMs} seconds />,
    },
    {
      key: "level",
      label: t("events.level"),
      width: "7rem",
      narrow: "end",
      cell: (event) => <Badge tone={levelTone(event.level)}>{t(`level.${event.level}`)}</Badge>,
    },
    {
      key: "message",
      label: t("events.message"),
      width: "minmax(22rem, 2.4fr)",
      narrow: "main",
      cell: (event) => <span title={event.message}>{event.message}</span>,
    },
    {
      key: "who",
      label: t("events.who"),
      width: "minmax(12rem, 0.9fr)",
      drop: 1,
      narrow: "line",
      cell: (event) => (
        <span class="links">
          <EventLinks event={event} />
        </span>
      ),
    },
    {
      key: "kind",
      label: t("events.kind"),
      width: "minmax(10.6rem, 0.7fr)",
      drop: 2,
      narrow: "none",
      cell: (event) => (
        <span class="mono small" title={event.kind}>
          {event.kind}
        </span>
      ),
    },
    {
      key: "fields",
      label: t("events.fields"),
      width: "minmax(8rem, 1.4fr)",
      drop: 3,
      narrow: "none",
      cell: (event) => <Fields event={event} />,
    },
  ];
}

/** The agents of events, to complete a name by. */
function agentsOf(events: readonly ApiEvent[] | null): readonly string[] {
  const names = (events ?? []).map(({ fields }) => fields["agent"]).filter((name) => typeof name === "string");
  return [...new Set(names)].sort().slice(0, AGENTS_MAX);
}

function Filters({ url, agents }: { url: string; agents: readonly string[] }) {
  return (
    <div class="tools">
      <MoreFilters names={[{ name: "session", label: t("session.title") }]} />
      <Search name="text" label={t("filter.text")} />
      <Search name="agent" label={t("filter.agent")} options={agents} />
      <Select
        name="level"
        label={t("events.level")}
        choices={[
          { value: "", label: t("filter.anyLevel") },
          { value: "info", label: t("filter.info") },
          { value: "warn", label: t("filter.warn") },
          { value: "error", label: t("filter.error") },
        ]}
      />
      <Select
        name="kind"
        label={t("events.kind")}
        choices={[
          { value: "", label: t("filter.anyKind") },
          ...["session.", "admission.", "agent.", "storage.", "archive.", "server.", "page.", "certificate."].map(
            (kind) => ({
              value: kind,
              label: `${kind}*`,
            }),
          ),
        ]}
      />
      <Select name="period" label={t("filter.period")} choices={periodChoices()} />
      <Export url={url} />
    </div>
  );
}

/** All pages with these filters, as far as a browser should carry them. */
async function gather(
  url: string,
): Promise<{ readonly events: readonly ApiEvent[]; readonly all: boolean } | undefined> {
  const events: ApiEvent[] = [];
  let after: string | null = "";
  while (after !== null && events.length < EXPORT_MAX) {
    const page: Awaited<ReturnType<typeof ask<EventsAnswer>>> = await ask<EventsAnswer>(
      `${url.replace(`limit=${PAGE_ROWS}`, `limit=${EXPORT_PAGE}`)}${after === "" ? "" : `&after=${encodeURIComponent(after)}`}`,
    );
    if (!page.ok) return undefined;
    events.push(...page.value.rows);
    after = page.value.next;
  }
  return { events, all: after === null };
}

function Export({ url }: { url: string }) {
  const [state, setState] = useState<"idle" | "busy" | "failed" | "cut">("idle");
  const onClick = async (): Promise<void> => {
    setState("busy");
    const gathered = await gather(url);
    setState(gathered === undefined ? "failed" : gathered.all ? "idle" : "cut");
    if (gathered !== undefined)
      saveText("nbackup-events.json", "application/json", `${JSON.stringify(gathered.events, null, 2)}\n`);
  };
  return (
    <>
      <button type="button" disabled={state === "busy"} onClick={() => void onClick()}>
        {t("events.export")}
      </button>
      {state === "failed" ? (
        <span role="alert" class="tone-bad">
          {t("failed.other")}
        </span>
      ) : null}
      {state === "cut" ? (
        <span role="status" class="tone-warn">
          {t("events.cut", { n: format.value.count(EXPORT_MAX) })}
        </span>
      ) : null}
    </>
  );
}

export function Events() {
  const { level, kind, agent, session, text, period } = query.value;
  const from = useMemo(() => fromOfPeriod(period, now.peek()), [period]);
  const url = `/api/v1/events${queryText({ limit: PAGE_ROWS, level, kind, agent, session, text, from })}`;
  const paged = usePages<ApiEvent>(url);
  const { rows, total, failure, busy, more, again } = paged;
  const columns = useMemo(eventColumns, [language.value]);
  const live = freshEvents.value;
  const named = useExact(paged, EVENT_NAMES, live);
  const fresh = useMemo(
    () => freshOnly(live.filter(eventTest(query.value, named)), rows ?? []),
    [rows, live, url, named],
  );
  const shown = useMemo(() => (rows === null ? null : [...fresh, ...rows]), [rows, fresh]);
  const agents = useMemo(() => agentsOf(shown), [shown]);
  const many = fresh.length >= FRESH_MANY;
  useEffect(() => {
    if (many) again();
  }, [many]);
  const filtered = level ?? kind ?? agent ?? session ?? text ?? period;
  return (
    <>
      <Title>{t("nav.events")}</Title>
      <Panel title={t("overview.events")} flush aside={<Filters url={url} agents={agents} />}>
        {failure === null ? null : <Failed failure={failure} again={again} />}
        {shown === null && failure === null ? <Loading rows={8} /> : null}
        {shown?.length === 0 ? (
          <Empty title={filtered === undefined ? t("events.empty") : t("filter.nothing")} />
        ) : null}
        {shown === null || shown.length === 0 ? null : (
          <Table
            label={t("nav.events")}
            columns={columns}
            rows={shown}
            rowKey={(event, i) => `${event.wallMs} ${event.kind} ${shown.length - i}`}
            total={Math.max(total, shown.length)}
            onEnd={more}
            busy={busy}
          />
        )}
      </Panel>
    </>
  );
}
