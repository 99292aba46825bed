/** One session: while it runs, live; when it is over, what is remembered of it. */
import { useEffect, useMemo, useState } from "preact/hooks";
import type { ApiPoint, SessionDetail } from "#web/api-types.ts";
import { EventLine } from "./event-line.tsx";
import { freshOnly } from "./filters.ts";
import { AutoscalerGauge } from "./gauge.tsx";
import { format, t } from "./i18n.ts";
import { freshEnds, freshEvents, running, sessionSignals, watched } from "./live.ts";
import { Asking, Empty, Panel, Title } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { pathOf } from "./routes.ts";
import { Phases, SessionCharts } from "./session-charts.tsx";
import { EndFacts, LiveFacts } from "./session-facts.tsx";
import { withPoint } from "./shapes.ts";
import { Slots } from "./slots.tsx";
import { watchSession } from "./stream.ts";

/** As many points as the server keeps. */
const POINTS_MAX = 600;
const LOG_AT_FIRST = 25;

/** The answer's points, and those that came live since. */
function useSeries(detail: SessionDetail): readonly ApiPoint[] {
  const [series, setSeries] = useState(detail.series);
  useEffect(() => setSeries(detail.series), [detail]);
  const point = watched.value?.session === detail.session ? watched.value.point : null;
  useEffect(() => {
    if (point !== null) setSeries((before) => withPoint(before, point, POINTS_MAX));
  }, [point]);
  return series;
}

/** Newest first, as every list of events: what it failed of stands at the top. */
function Log({ detail }: { detail: SessionDetail }) {
  const [all, setAll] = useState(false);
  const failed = detail.record !== null && detail.record.outcome !== "committed";
  const own = freshEvents.value.filter((event) => event.fields["session"] === detail.session);
  const older = [...detail.events].reverse();
  const events = [...freshOnly(own, older), ...older];
  const shown = all ? events : events.slice(0, LOG_AT_FIRST);
  return (
    <Panel title={failed ? t("session.logFailed") : t("session.log")}>
      {events.length === 0 ? (
        <Empty title={t("events.empty")} />
      ) : (
        <ol class="list events log">
          {shown.map((event, i) => (
            <EventLine key={`${event.wallMs} ${events.length - i}`} event={event} own />
          ))}
        </ol>
      )}
      {shown.length === events.length ? null : (
        <button type="button" class="more" onClick={() => setAll(true)}>
          {t("showAll", { n: format.value.count(events.length) })}
        </button>
      )}
    </Panel>
  );
}

function Body({ detail }: { detail: SessionDetail }) {
  const series = useSeries(detail);
  // The last live message of one that is over says that it goes on.
  const live = detail.record === null && watched.value?.session === detail.session ? watched.value : null;
  const runs = running.value.includes(detail.session);
  // Between its last tick and its record, what was seen last.
  const view = sessionSignals(detail.session)?.view.value ?? detail.live;
  const phases = live?.phases ?? detail.phases;
  const slots = live?.slots ?? detail.slots;
  const autoscaler = live === null ? detail.autoscaler : live.autoscaler;
  return (
    <>
      {!runs && detail.record !== null ? <EndFacts end={detail.record} detail={detail} /> : null}
      {(runs || detail.record === null) && view !== null ? <LiveFacts view={view} /> : null}
      {!runs && detail.record === null && view === null ? <Empty title={t("session.forgotten")} /> : null}
      <Phases phases={phases} endWallMs={detail.record?.endWallMs ?? null} />
      <SessionCharts series={series} windowBytes={detail.windowBytes} over={!runs} />
      <div class="columns">
        {slots.length === 0 && !runs ? null : <Slots slots={slots} />}
        <div class="side">
          {autoscaler === null ? null : <AutoscalerGauge row={autoscaler} />}
          <Log detail={detail} />
        </div>
      </div>
    </>
  );
}

export function Session({ session }: { session: string }) {
  const url = `/api/v1/sessions/${encodeURIComponent(session)}`;
  const asked = useResource<SessionDetail>(url, { routes: ["archives"] });
  useEffect(() => {
    watchSession(session);
    return () => watchSession(null);
  }, [session]);
  const ended = useMemo(() => freshEnds.value.some((end) => end.session === session), [freshEnds.value, session]);
  useEffect(() => {
    if (ended) asked.refresh();
  }, [ended]);
  const detail = asked.value.value;
  return (
    <>
      <nav class="trail" aria-label={t("archives.where")}>
        <a href="/sessions">{t("nav.sessions")}</a> › <span class="mono">{session}</span>
      </nav>
      <Title aside={detail === null ? null : <Links detail={detail} />}>
        {detail === null ? t("session.title") : `${detail.agent} / ${detail.backup}`}
      </Title>
      <Asking asked={asked} rows={6} />
      {detail === null ? null : <Body detail={detail} />}
    </>
  );
}

function Links({ detail: { agent, backup, storage } }: { detail: SessionDetail }) {
  return (
    <div class="tools">
      <span class="muted">
        {t("session.storage")} {storage}
      </span>
      <a class="button" href={pathOf({ view: "agent", agent })}>
        {t("col.agent")}
      </a>
      <a class="button" href={pathOf({ view: "backup", storage, agent, backup })}>
        {t("nav.archives")}
      </a>
    </div>
  );
}
