/** One session: while it runs, live; when it is over, what is remembered of it. */
import { useEffect, useMemo, useState } from "preact/hooks";
import type { ApiEnd, ApiPoint, SessionDetail } from "#web/api-types.ts";
import { EventLine } from "./event-line.tsx";
import { format, t } from "./i18n.ts";
import { freshEnds, freshEvents, now, sessionSignals, running, watched } from "./live.ts";
import { EndBadge } from "./marks.tsx";
import { Empty, Fact, Failed, Loading, Panel, Title, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { pathOf } from "./routes.ts";
import { AutoscalerGauge } from "./gauge.tsx";
import { Phases, SessionCharts } from "./session-charts.tsx";
import { Slots } from "./slots.tsx";
import { PhaseText, Progress } from "./sessions.tsx";
import { withPoint } from "./shapes.ts";
import { watchSession } from "./stream.ts";

/** As many points as the server keeps. */
const POINTS_MAX = 600;

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

function LiveFacts({ session }: { session: string }) {
  const view = sessionSignals(session)?.view.value;
  if (view === undefined) return null;
  const f = format.value;
  return (
    <div class="panel hero">
      <div class="split">
        <PhaseText view={view} />
        <b class="number big">{f.rate(view.receivedRate)}</b>
      </div>
      <Progress view={view} />
      <dl class="facts">
        <Fact name={t("session.time")}>{f.duration(Math.max(view.durationMs, now.value - view.startWallMs))}</Fact>
        <Fact name={t("session.files")}>{f.count(view.entries)}</Fact>
        <Fact name={t("session.raw")}>{f.bytes(view.rawBytes)}</Fact>
        <Fact name={t("session.chunks")}>{f.count(view.chunks)}</Fact>
        <Fact name={t("session.resent")}>{f.bytes(view.duplicateBytes)}</Fact>
        <Fact name={t("session.damagedChunks")}>{f.count(view.damagedChunks)}</Fact>
        <Fact name={t("session.breaks")}>{f.count(view.breaks)}</Fact>
        <Fact name={t("session.backlog")}>{f.bytes(view.backlogBytes)}</Fact>
      </dl>
    </div>
  );
}

function EndFacts({ end, detail }: { end: ApiEnd; detail: SessionDetail }) {
  const f = format.value;
  const { archive } = detail;
  const place = { storage: end.storage, agent: end.agent, backup: end.backup };
  return (
    <div class="panel hero">
      <div class="split">
        <EndBadge end={end} />
        <When wallMs={end.endWallMs} />
      </div>
      {end.outcome === "committed" ? null : (
        <div class="wrong" role="note">
          <p>
            {end.code === null ? null : <code>{end.code}</code>} {end.message}
          </p>
          {end.hint === null ? null : <p class="muted">{end.hint}</p>}
        </div>
      )}
      <dl class="facts">
        <Fact name={t("session.time")}>{f.duration(end.durationMs)}</Fact>
        <Fact name={t("session.files")}>{f.count(end.entries)}</Fact>
        <Fact name={t("session.raw")}>{f.bytes(end.rawBytes)}</Fact>
        <Fact name={t("col.stored")}>{f.bytes(end.archiveBytes === 0 ? end.bytes : end.archiveBytes)}</Fact>
        <Fact name={t("session.problems")}>{f.count(end.problems)}</Fact>
        <Fact name={t("session.streams")}>{f.count(end.streams)}</Fact>
        <Fact name={t("session.resent")}>{f.bytes(end.duplicateBytes)}</Fact>
        <Fact name={t("session.breaks")}>{f.count(end.breaks)}</Fact>
        {end.verify === "none" ? null : <Fact name={t("session.verify")}>{t(`verify.${end.verify}`)}</Fact>}
        {end.archive === null ? null : (
          <Fact name={t("session.archive")} wide>
            {archive === null ? (
              <span class="mono">{`${end.archive} (${t("session.archiveGone")})`}</span>
            ) : (
              <a class="mono" href={pathOf({ view: "archive", ...place, archive: archive.name })}>
                {archive.name}
              </a>
            )}
          </Fact>
        )}
        {end.sha256 === null ? null : (
          <Fact name="SHA-256" wide>
            <span class="mono break">{end.sha256}</span>
          </Fact>
        )}
      </dl>
    </div>
  );
}

function Log({ detail }: { detail: SessionDetail }) {
  const failed = detail.record !== null && detail.record.outcome !== "committed";
  const last = detail.events.at(-1)?.wallMs ?? 0;
  const fresh = freshEvents.value.filter((event) => event.fields["session"] === detail.session && event.wallMs > last);
  const events = [...detail.events, ...fresh];
  return (
    <Panel title={failed ? t("session.logFailed") : t("session.log")}>
      {events.length === 0 ? (
        <Empty title={t("events.empty")} />
      ) : (
        <ul class="list events log">
          {events.map((event, i) => (
            <EventLine key={`${event.wallMs} ${i}`} event={event} />
          ))}
        </ul>
      )}
    </Panel>
  );
}

function Body({ detail }: { detail: SessionDetail }) {
  const series = useSeries(detail);
  // The last live message of one that is over says that it goes on.
  const live = detail.record === null && watched.value?.session === detail.session ? watched.value : null;
  const runs = running.value.includes(detail.session);
  const phases = live?.phases ?? detail.phases;
  const slots = live?.slots ?? detail.slots;
  const autoscaler = live === null ? detail.autoscaler : live.autoscaler;
  return (
    <>
      {runs || detail.record === null ? (
        <LiveFacts session={detail.session} />
      ) : (
        <EndFacts end={detail.record} detail={detail} />
      )}
      {!runs && detail.record === null && detail.live === null ? <Empty title={t("session.forgotten")} /> : null}
      <Phases phases={phases} endWallMs={detail.record?.endWallMs ?? null} />
      <SessionCharts series={series} windowBytes={detail.windowBytes} />
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
  const { value, failure, refresh } = useResource<SessionDetail>(url);
  useEffect(() => {
    watchSession(session);
    return () => watchSession(null);
  }, [session]);
  const ended = useMemo(() => freshEnds.value.some((end) => end.session === session), [freshEnds.value, session]);
  useEffect(() => {
    if (ended) refresh();
  }, [ended]);
  const detail = value.value;
  return (
    <>
      <Title
        aside={
          detail === null ? null : (
            <span class="muted">
              <a href={pathOf({ view: "agent", agent: detail.agent })}>{detail.agent}</a> ·{" "}
              <a href={pathOf({ view: "backup", storage: detail.storage, agent: detail.agent, backup: detail.backup })}>
                {t("session.archives")}
              </a>{" "}
              · {detail.storage} · <span class="mono">{detail.session}</span>
            </span>
          )
        }
      >
        {detail === null ? t("session.title") : `${detail.agent} / ${detail.backup}`}
      </Title>
      {detail === null && failure.value === null ? <Loading rows={6} /> : null}
      {detail === null && failure.value !== null ? <Failed failure={failure.value} again={refresh} /> : null}
      {detail === null ? null : <Body detail={detail} />}
    </>
  );
}
