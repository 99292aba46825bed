/** What runs, what waits, and what has been. */
import { useEffect } from "preact/hooks";
import type { LiveSession, SessionsAnswer } from "#web/api-types.ts";
import { History } from "./history.tsx";
import { format, t, tn, word } from "./i18n.ts";
import { boot, now, running, sessionSignals, takePast, takeSessions, waiting } from "./live.ts";
import { Asking, Badge, Bar, Empty, Fact, Panel, Spark, Title } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { pathOf } from "./routes.ts";

/** What a session does, and how far it is in that. */
export function PhaseText({ view }: { view: LiveSession }) {
  const ratio =
    view.phaseDone === null || view.phaseTotal === null || view.phaseTotal === 0
      ? null
      : view.phaseDone / view.phaseTotal;
  const inPhase = view.phase !== "receiving" && ratio !== null ? ` ${format.value.percent(Math.min(1, ratio))}` : "";
  return (
    <Badge tone={view.phase === "parked" || view.stalled ? "warn" : "busy"}>
      {word("phase", view.phase)}
      {inPhase}
      {view.stalled ? ` · ${t("session.stalled")}` : ""}
    </Badge>
  );
}

/** Progress of the whole run, or the bytes where nobody knows how many there will be. */
export function Progress({ view }: { view: LiveSession }) {
  const f = format.value;
  // Nobody can say how long it stays parked.
  const known = view.etaMs !== null && view.phase !== "parked";
  const left = known ? t("session.eta", { eta: f.duration(view.etaMs) }) : t("session.noEta");
  return (
    <div class="progress">
      <Bar ratio={view.progress} label={t("session.progress")} />
      <div class="split small">
        <span class="number">
          {view.progress === null ? "" : `${f.percent(Math.min(1, view.progress))} · `}
          {f.bytes(view.bytes)}
          {view.expectedBytes > 0 ? ` / ~${f.bytes(view.expectedBytes)}` : ""}
        </span>
        <span class="muted">{left}</span>
      </div>
    </div>
  );
}

/** Streams that are up, of those there are. */
export function streamsText({ streamsUp, slotCount }: LiveSession): string {
  return slotCount === 0 ? "1" : `${format.value.count(streamsUp)} / ${format.value.count(slotCount)}`;
}

function Card({ session }: { session: string }) {
  const signals = sessionSignals(session);
  if (signals === undefined) return null;
  const view = signals.view.value;
  const f = format.value;
  return (
    <article class="card" aria-label={`${view.agent} ${view.backup}`}>
      <header>
        <h3>
          <a class="name" href={pathOf({ view: "session", session })} title={`${view.agent} / ${view.backup}`}>
            <span>{view.agent}</span>
            <span class="muted"> / </span>
            <b>{view.backup}</b>
          </a>
        </h3>
        <PhaseText view={view} />
      </header>
      <Progress view={view} />
      <div class="rate">
        <b class="number">{f.rate(view.receivedRate)}</b>
        <Spark values={signals.rates.value} area />
      </div>
      <dl class="facts">
        <Fact name={t("session.streams")}>{streamsText(view)}</Fact>
        <Fact name={t("session.files")}>{f.count(view.entries)}</Fact>
        <Fact name={t("session.rawShort")}>{f.bytes(view.rawBytes)}</Fact>
        <Fact name={t("session.time")}>{f.duration(Math.max(view.durationMs, now.value - view.startWallMs))}</Fact>
        <Fact name={t("session.storage")}>{view.storage}</Fact>
        <Fact name={t("session.breaksShort")}>{f.count(view.breaks)}</Fact>
      </dl>
    </article>
  );
}

function Waiting() {
  const rows = waiting.value;
  if (rows.length === 0) return null;
  return (
    <Panel title={tn("sessions.waiting", rows.length)} label={t("numbers.waiting")}>
      <ol class="list waiting">
        {rows.map((row) => (
          <li key={`${row.position} ${row.agent} ${row.backup}`}>
            <span class="position number">{row.position}</span>
            <a class="name" href={pathOf({ view: "agent", agent: row.agent })}>
              {row.agent}
              <span class="muted"> / </span>
              <b>{row.backup}</b>
            </a>
            <span class="muted">
              {row.storage} · {row.remote}
            </span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

function Running() {
  const asked = useResource<SessionsAnswer>("/api/v1/sessions");
  const answer = asked.value.value;
  useEffect(() => {
    // The stream's ticks are newer than this answer, but they do not have the minute before.
    if (answer === null) return;
    if (boot.value === null) {
      takeSessions(answer.running);
      waiting.value = answer.waiting;
    } else {
      takePast(answer.running);
    }
  }, [answer]);
  if (answer === null && boot.value === null) return <Asking asked={asked} rows={2} />;
  const ids = running.value;
  return (
    <>
      <section aria-label={t("numbers.running")}>
        <h2 class="section">{ids.length === 0 ? t("numbers.running") : tn("sessions.running", ids.length)}</h2>
        {ids.length === 0 ? (
          <div class="panel">
            <Empty title={t("sessions.none")}>{t("sessions.noneHint")}</Empty>
          </div>
        ) : (
          <div class="cards">
            {ids.map((session) => (
              <Card key={session} session={session} />
            ))}
          </div>
        )}
      </section>
      <Waiting />
    </>
  );
}

export function Sessions() {
  return (
    <>
      <Title>{t("nav.sessions")}</Title>
      <Running />
      <History />
    </>
  );
}
