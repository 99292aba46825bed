/** One agent: its machine, its control channel, its backup entries. */
import { useMemo } from "preact/hooks";
import type { AgentChannel, AgentRow, AgentsAnswer } from "#web/api-types.ts";
import { ChannelBadge, percentText } from "./agents.tsx";
import { queryText } from "./filters.ts";
import { UNKNOWN } from "./format.ts";
import { format, language, t, word } from "./i18n.ts";
import { now } from "./live.ts";
import { backupColumns } from "./overview.tsx";
import { Asking, Empty, Fact, Meter, Panel, Title, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { pathOf } from "./routes.ts";
import { Table } from "./table.tsx";

function Gauge({ name, percent }: { name: string; percent: number | null }) {
  const ratio = percent === null ? 0 : percent / 100;
  return (
    <div class="meter">
      <div class="split">
        <span>{name}</span>
        <b class="number">{percentText(percent)}</b>
      </div>
      <Meter ratio={ratio} tone={ratio > 0.9 ? "warn" : "busy"} label={name} />
    </div>
  );
}

function Channel({ channel }: { channel: AgentChannel }) {
  const f = format.value;
  const { uptimeMs: told, sinceWallMs, connected } = channel;
  // It tells that now and then; connected it runs at least as long.
  const uptimeMs = told === null || sinceWallMs === null || !connected ? told : Math.max(told, now.value - sinceWallMs);
  return (
    <Panel title={t("agent.machine")}>
      <div class="meters">
        <Gauge name={t("agent.cpuAgent")} percent={channel.cpuPercent} />
        <Gauge name={t("agent.cpuMachine")} percent={channel.machineCpuPercent} />
      </div>
      <dl class="facts">
        <Fact name={t("agent.address")}>{channel.address ?? UNKNOWN}</Fact>
        <Fact name={t("agent.version")}>{channel.software ?? UNKNOWN}</Fact>
        <Fact name={channel.connected ? t("agent.since") : t("agent.seen")}>
          <When wallMs={channel.sinceWallMs} />
        </Fact>
        <Fact name={t("slot.rtt")}>
          {channel.rttDeviationMs === null
            ? f.millis(channel.rttMs)
            : `${f.millis(channel.rttMs)} ± ${f.millis(channel.rttDeviationMs)}`}
        </Fact>
        <Fact name={t("agent.uptime")}>{f.duration(uptimeMs)}</Fact>
        <Fact name={t("agent.memory")}>{f.bytes(channel.residentBytes)}</Fact>
        <Fact name={t("agent.load")}>{f.decimal(channel.load, 2)}</Fact>
        <Fact name={t("agent.free")}>{f.bytes(channel.freeBytes)}</Fact>
      </dl>
    </Panel>
  );
}

function Activity({ channel }: { channel: AgentChannel }) {
  if (channel.backups.length === 0) return null;
  return (
    <Panel title={t("agent.doing")}>
      <ul class="list">
        {channel.backups.map((one) => (
          <li key={`${one.storage}/${one.backup}`} class="split">
            <span>
              <b>{one.backup}</b> <span class="muted">{one.storage}</span>
            </span>
            <span>
              {one.session === null ? (
                word("activity", one.activity)
              ) : (
                <a href={pathOf({ view: "session", session: one.session })}>{word("activity", one.activity)}</a>
              )}
              {one.phase === null ? "" : ` · ${word("phase", one.phase)}`}
              {one.autoscaler === null
                ? ""
                : ` · ${t("scaler.active", { active: one.autoscaler.active, max: one.autoscaler.max })}`}
              {one.nextWallMs === null ? null : (
                <span class="muted">
                  {" "}
                  · {t("col.next")} <When wallMs={one.nextWallMs} />
                </span>
              )}
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Body({ row }: { row: AgentRow }) {
  const columns = useMemo(backupColumns, [language.value]);
  return (
    <>
      <Panel title={t("overview.backups")} flush>
        {row.backups.length === 0 ? (
          <Empty title={t("archives.none")} />
        ) : (
          <Table
            label={t("overview.backups")}
            columns={columns}
            rows={row.backups}
            rowKey={(one) => `${one.storage}/${one.backup}`}
          />
        )}
      </Panel>
      {row.channel === null ? (
        <Panel title={t("agent.machine")}>
          <Empty title={t("agent.noChannel")}>{t("agent.noChannelHint")}</Empty>
          {row.addresses.length === 0 ? null : (
            <p class="muted">{`${t("agent.address")}: ${row.addresses.join(", ")}`}</p>
          )}
        </Panel>
      ) : (
        <div class="pair">
          <Channel channel={row.channel} />
          <Activity channel={row.channel} />
        </div>
      )}
    </>
  );
}

export function Agent({ agent }: { agent: string }) {
  const asked = useResource<AgentsAnswer>("/api/v1/agents", { routes: ["agents"], everyMs: 15_000 });
  const answer = asked.value.value;
  const row = answer?.rows.find((one) => one.agent === agent);
  return (
    <>
      <nav class="trail" aria-label={t("archives.where")}>
        <a href="/agents">{t("nav.agents")}</a> › <span>{agent}</span>
      </nav>
      <Title
        aside={
          row === undefined ? null : (
            <div class="tools">
              <ChannelBadge row={row} />
              <a class="button" href={`/sessions${queryText({ agent })}`}>
                {t("sessions.history")}
              </a>
              <a class="button" href={`/events${queryText({ agent })}`}>
                {t("nav.events")}
              </a>
            </div>
          )
        }
      >
        {agent}
      </Title>
      <Asking asked={asked} rows={5} />
      {answer !== null && row === undefined ? <Empty title={t("agent.unknown")} /> : null}
      {row === undefined ? null : <Body row={row} />}
    </>
  );
}
