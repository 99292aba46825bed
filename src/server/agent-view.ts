/** An agent as `nbackup-server agents` and the page show it, from what it told on its control connection. Pure. */
import type { MovingAverage } from "#base/moving-average.ts";
import type { AgentView } from "#observe/agent-views.ts";
import type { Message } from "#wire/messages.ts";

export interface KnownAgent {
  readonly software: string;
  readonly address: string;
  /** When it was connected, or went. */
  readonly sinceWallMs: number;
  /** Of its last Ping that told any. */
  facts: Message<"ping">["agent"];
  readonly rtt: MovingAverage | undefined;
}

export function agentView(agent: string, known: KnownAgent, lost: boolean, connected: boolean): AgentView {
  const { software, address, sinceWallMs, facts, rtt } = known;
  return {
    ...{ agent, connected, lost, sinceWallMs, address, software },
    ...{ rttMs: rtt?.value ?? null, rttDeviationMs: rtt?.deviation ?? null },
    uptimeMs: facts?.uptimeMs ?? null,
    cpuPercent: scaled(facts?.cpuPermille, 10),
    machineCpuPercent: scaled(facts?.machineCpuPermille, 10),
    residentBytes: facts?.residentBytes ?? null,
    load: scaled(facts?.loadHundredths, 100),
    freeBytes: facts?.freeBytes ?? null,
    backupCount: facts?.backupCount ?? 0,
    backups: facts?.backups ?? [],
  };
}

/** Of an agent that only the history knows; null: it has a certificate and was never seen. */
export function absentAgent(agent: string, lastSeenWallMs: number | null): AgentView {
  return {
    ...{ agent, connected: false, lost: false, sinceWallMs: lastSeenWallMs, address: null, software: null },
    ...{ rttMs: null, rttDeviationMs: null, uptimeMs: null, cpuPercent: null, machineCpuPercent: null },
    ...{ residentBytes: null, load: null, freeBytes: null, backupCount: 0, backups: [] },
  };
}

function scaled(value: number | undefined, by: number): number | null {
  return value === undefined ? null : value / by;
}
