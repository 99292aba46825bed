/** What the page shows of an agent's control channel. */
import { expect, test } from "bun:test";
import type { AgentBackupView, AgentView } from "#observe/agent-views.ts";
import { agentChannel } from "#web/agent-channel.ts";
import type { AgentChannelBackup } from "#web/api-types.ts";

function shown(autoscaler: AgentBackupView["autoscaler"]): unknown {
  return backupOf({ backup: "home", storage: "main", activity: "running", autoscaler })?.autoscaler;
}

function backupOf(told: AgentBackupView): AgentChannelBackup | undefined {
  const view: AgentView = {
    ...{ agent: "web-1", connected: true, lost: false, sinceWallMs: 0, address: null, software: null, rttMs: null },
    ...{ rttDeviationMs: null, uptimeMs: null, cpuPercent: null, machineCpuPercent: null, residentBytes: null },
    ...{ load: null, freeBytes: null, backupCount: 1 },
    backups: [told],
  };
  return agentChannel(view).backups[0];
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

test("the page hears what an agent's last run came to, and when, or that it has not said", () => {
  const idle = { backup: "home", storage: "main", activity: "idle" } as const;
  const last = { lastResult: "E_HOOK", lastWallMs: 7, lastSuccessWallMs: 5 };
  expect(backupOf({ ...idle, ...last })).toMatchObject(last);
  expect(backupOf(idle)).toMatchObject({ lastResult: null, lastWallMs: null, lastSuccessWallMs: null });
});
