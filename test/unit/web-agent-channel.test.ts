/** What the page shows of an agent's control channel. */
import { expect, test } from "bun:test";
import type { AgentBackupView, AgentView } from "#observe/agent-views.ts";
import { agentChannel } from "#web/agent-channel.ts";

function shown(autoscaler: AgentBackupView["autoscaler"]): unknown {
  const view: AgentView = {
    ...{ agent: "web-1", connected: true, lost: false, sinceWallMs: 0, address: null, software: null, rttMs: null },
    ...{ rttDeviationMs: null, uptimeMs: null, cpuPercent: null, machineCpuPercent: null, residentBytes: null },
    ...{ load: null, freeBytes: null, backupCount: 1 },
    backups: [{ backup: "home", storage: "main", activity: "running", autoscaler }],
  };
  return agentChannel(view).backups[0]?.autoscaler;
}

const SCALER = { mode: "efficiency", active: 2, max: 8 };

test("the autoscaler's ratio is what was produced to what the streams could take", () => {
  expect(shown({ ...SCALER, state: "growing", rate: 1000, producedRate: 1500 })).toEqual({
    ...{ ...SCALER, state: "growing", rate: 1.5 },
  });
});

test("an agent that does not say both rates, or whose streams took nothing, has no ratio", () => {
  expect(shown({ ...SCALER, rate: 1000 })).toMatchObject({ rate: null, state: null });
  expect(shown({ ...SCALER, producedRate: 1000 })).toMatchObject({ rate: null });
  expect(shown({ ...SCALER, rate: 0, producedRate: 1000 })).toMatchObject({ rate: null });
  expect(shown(undefined)).toBeNull();
});
