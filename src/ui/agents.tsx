/** Every agent: whether it is connected, how it fares, what it has. */
import { useMemo } from "preact/hooks";
import type { AgentRow, AgentsAnswer } from "#web/api-types.ts";
import { Search } from "./fields.tsx";
import { UNKNOWN } from "./format.ts";
import { format, language, t, tn } from "./i18n.ts";
import { STATE_ORDER, stateTone } from "./judge.ts";
import { Asking, Badge, Empty, Panel, Title, When } from "./parts.tsx";
import { useResource } from "./resource.ts";
import { query } from "./router.ts";
import { pathOf } from "./routes.ts";
import { useSorted } from "./sorting.tsx";
import { type Column, Table } from "./table.tsx";

export function ChannelBadge({ row }: { row: AgentRow }) {
  const { channel } = row;
  if (channel === null) return <Badge tone="none">{t("agent.noChannel")}</Badge>;
  if (channel.connected) return <Badge tone="ok">{t("agent.connected")}</Badge>;
  return <Badge tone={channel.lost ? "bad" : "warn"}>{channel.lost ? t("agent.lost") : t("agent.away")}</Badge>;
}

/** The worst first. */
function channelRank({ channel }: AgentRow): number {
  if (channel === null) return 2;
  if (channel.connected) return 3;
  return channel.lost ? 0 : 1;
}

function version({ channel }: AgentRow): string | null {
  return channel?.software?.replace("nbackup-agent ", "") ?? null;
}

function nextRun(row: AgentRow): number | null {
  const times = row.backups.map((backup) => backup.nextWallMs).filter((time) => time !== null);
  return times.length === 0 ? null : Math.min(...times);
}

function agentColumns(): readonly Column<AgentRow>[] {
  const f = format.value;
  return [
    {
      key: "agent",
      label: t("col.agent"),
      width: "minmax(9rem, 1.4fr)",
      narrow: "main",
      cell: (row) => (
        <a class="name" href={pathOf({ view: "agent", agent: row.agent })} title={row.agent}>
          <b>{row.agent}</b>
        </a>
      ),
      sort: (row) => row.agent,
    },
    {
      key: "state",
      label: t("col.backups"),
      width: "minmax(7.6rem, 0.6fr)",
      narrow: "end",
      cell: (row) => <Badge tone={stateTone(row.state)}>{t(`state.${row.state}`)}</Badge>,
      sort: (row) => STATE_ORDER.indexOf(row.state),
    },
    {
      key: "channel",
      label: t("agent.channel"),
      width: "minmax(10.2rem, 0.8fr)",
      narrow: "line",
      cell: (row) => <ChannelBadge row={row} />,
      sort: channelRank,
    },
    {
      key: "rtt",
      label: t("slot.rtt"),
      width: "4.6rem",
      number: true,
      drop: 5,
      narrow: "none",
      cell: (row) => f.millis(row.channel?.rttMs ?? null),
      sort: (row) => row.channel?.rttMs ?? null,
      largestFirst: true,
    },
    {
      key: "cpu",
      label: t("agent.cpu"),
      width: "4rem",
      number: true,
      drop: 6,
      narrow: "none",
      cell: (row) => percentText(row.channel?.cpuPercent ?? null),
      sort: (row) => row.channel?.cpuPercent ?? null,
      largestFirst: true,
    },
    {
      key: "memory",
      label: t("numbers.memory"),
      width: "5.2rem",
      number: true,
      drop: 7,
      narrow: "none",
      cell: (row) => f.bytes(row.channel?.residentBytes ?? null),
      sort: (row) => row.channel?.residentBytes ?? null,
      largestFirst: true,
    },
    {
      key: "archives",
      label: t("archives.bytes"),
      width: "7.4rem",
      number: true,
      drop: 3,
      narrow: "none",
      cell: (row) => f.bytes(row.archiveBytes),
      sort: (row) => row.archiveBytes,
      largestFirst: true,
    },
    {
      key: "seen",
      label: t("agent.seen"),
      width: "minmax(13.4rem, 0.8fr)",
      drop: 2,
      narrow: "line",
      cell: (row) => <When wallMs={row.lastSeenWallMs} />,
      sort: (row) => row.lastSeenWallMs,
      largestFirst: true,
    },
    {
      key: "next",
      label: t("col.next"),
      width: "minmax(13.4rem, 0.8fr)",
      drop: 4,
      narrow: "none",
      cell: (row) => <When wallMs={nextRun(row)} />,
      sort: nextRun,
    },
    {
      key: "software",
      label: t("agent.version"),
      width: "5rem",
      drop: 8,
      narrow: "none",
      cell: (row) => version(row) ?? UNKNOWN,
      sort: version,
    },
  ];
}

export function percentText(percent: number | null): string {
  return percent === null ? UNKNOWN : format.value.percent(percent / 100);
}

export function Agents() {
  const asked = useResource<AgentsAnswer>("/api/v1/agents", { routes: ["agents"], everyMs: 15_000 });
  const answer = asked.value.value;
  const columns = useMemo(agentColumns, [language.value]);
  const text = query.value["text"]?.toLowerCase();
  const left = useMemo(() => {
    const all = answer?.rows ?? [];
    return text === undefined
      ? all
      : all.filter((row) => `${row.agent} ${row.addresses.join(" ")}`.toLowerCase().includes(text));
  }, [answer, text]);
  const { rows, sorting } = useSorted(left, columns);
  return (
    <>
      <Title>{t("nav.agents")}</Title>
      <Asking asked={asked} rows={6} />
      {answer === null ? null : (
        <Panel
          title={tn("agents.count", answer.rows.length)}
          flush
          aside={<Search name="text" label={t("filter.agent")} />}
        >
          {rows.length === 0 ? (
            <Empty title={text === undefined ? t("agents.empty") : t("filter.nothing")}>
              {text === undefined ? t("overview.emptyHint") : undefined}
            </Empty>
          ) : (
            <Table
              label={t("nav.agents")}
              columns={columns}
              rows={rows}
              rowKey={(row) => row.agent}
              sorting={sorting}
            />
          )}
        </Panel>
      )}
    </>
  );
}
