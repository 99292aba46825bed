/** The numbers of one session: of one that runs as they move, of one that is over as they ended. */
import type { ApiEnd, LiveSession, SessionDetail } from "#web/api-types.ts";
import { access } from "./api.ts";
import { format, t } from "./i18n.ts";
import { now } from "./live.ts";
import { EndBadge } from "./marks.tsx";
import { Fact, When } from "./parts.tsx";
import { pathOf } from "./routes.ts";
import { PhaseText, Progress, streamsText } from "./sessions.tsx";

/** Connections that are named; of more the first. */
const ADDRESSES_SHOWN = 3;

export function LiveFacts({ view }: { view: LiveSession }) {
  const f = format.value;
  const hosts = [...new Set(view.connections.map((address) => address.replace(/:\d+$/, "")))];
  const addresses = hosts.slice(0, ADDRESSES_SHOWN).join(", ");
  return (
    <div class="panel hero">
      <div class="split">
        <PhaseText view={view} />
        <b class="number big">{f.rate(view.receivedRate)}</b>
      </div>
      <Progress view={view} />
      <dl class="facts">
        <Fact name={t("session.started")}>
          <When wallMs={view.startWallMs} />
        </Fact>
        <Fact name={t("session.time")}>{f.duration(Math.max(view.durationMs, now.value - view.startWallMs))}</Fact>
        <Fact name={t("session.files")}>{f.count(view.entries)}</Fact>
        <Fact name={t("session.raw")}>{f.bytes(view.rawBytes)}</Fact>
        <Fact name={t("session.streams")}>{streamsText(view)}</Fact>
        <Fact name={t("session.chunks")}>{f.count(view.chunks)}</Fact>
        <Fact name={t("session.resent")}>{f.bytes(view.duplicateBytes)}</Fact>
        <Fact name={t("session.damagedChunks")}>{f.count(view.damagedChunks)}</Fact>
        <Fact name={t("session.breaks")}>{f.count(view.breaks)}</Fact>
        <Fact name={t("session.backlog")}>{f.bytes(view.backlogBytes)}</Fact>
        {addresses === "" ? null : (
          <Fact name={t("session.address")}>{`${addresses}${hosts.length > ADDRESSES_SHOWN ? " …" : ""}`}</Fact>
        )}
      </dl>
    </div>
  );
}

/** Its archive, as a link where it may be looked into. */
function ArchiveName({ end, detail }: { end: ApiEnd; detail: SessionDetail }) {
  const { archive } = detail;
  const { storage, agent, backup } = end;
  if (archive === null) return <span class="mono break">{`${end.archive ?? ""} (${t("session.archiveGone")})`}</span>;
  if (access.value?.download !== true) return <span class="mono break">{archive.name}</span>;
  return (
    <a class="mono break" href={pathOf({ view: "archive", storage, agent, backup, archive: archive.name })}>
      {archive.name}
    </a>
  );
}

export function EndFacts({ end, detail }: { end: ApiEnd; detail: SessionDetail }) {
  const f = format.value;
  const rate = end.durationMs > 0 && end.bytes > 0 ? (end.bytes * 1000) / end.durationMs : null;
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
        <Fact name={t("session.started")}>
          <When wallMs={end.startWallMs} />
        </Fact>
        <Fact name={t("col.duration")}>{f.duration(end.durationMs)}</Fact>
        <Fact name={t("session.files")}>{f.count(end.entries)}</Fact>
        <Fact name={t("session.raw")}>{f.bytes(end.rawBytes)}</Fact>
        <Fact name={t("col.stored")}>{f.bytes(end.archiveBytes === 0 ? end.bytes : end.archiveBytes)}</Fact>
        <Fact name={t("session.rate")}>{f.rate(rate)}</Fact>
        <Fact name={t("session.problems")}>{f.count(end.problems)}</Fact>
        <Fact name={t("session.streams")}>{f.count(end.streams)}</Fact>
        <Fact name={t("session.chunks")}>{f.count(end.chunks)}</Fact>
        <Fact name={t("session.resent")}>{f.bytes(end.duplicateBytes)}</Fact>
        <Fact name={t("session.damagedChunks")}>{f.count(end.damagedChunks)}</Fact>
        <Fact name={t("session.breaks")}>{f.count(end.breaks)}</Fact>
        {end.verify === "none" ? null : <Fact name={t("session.verify")}>{t(`verify.${end.verify}`)}</Fact>}
        {end.archive === null ? null : (
          <Fact name={t("session.archive")} wide>
            <ArchiveName end={end} detail={detail} />
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
