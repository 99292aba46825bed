/** An agent's control channel as the page has it, from what the server knows of it. Pure. */
import type { AgentBackupView, AgentView } from "#observe/agent-views.ts";
import type { AgentChannel, AgentChannelBackup, AutoscalerRow } from "./api-types.ts";

export function agentChannel({ backups, ...view }: AgentView): AgentChannel {
  return { ...view, backups: backups.map(channelBackup) };
}

function channelBackup({ backup, storage, activity, ...told }: AgentBackupView): AgentChannelBackup {
  const { session = null, phase = null, nextWallMs = null, autoscaler } = told;
  const { lastResult = null, lastWallMs = null, lastSuccessWallMs = null } = told;
  return {
    ...{ backup, storage, activity, session, phase, nextWallMs, lastResult, lastWallMs, lastSuccessWallMs },
    autoscaler: autoscaler === undefined ? null : autoscalerRow(autoscaler),
  };
}

/** An agent of before the ratio could be told says how fast its streams drain alone. */
function autoscalerRow(told: NonNullable<AgentBackupView["autoscaler"]>): AutoscalerRow {
  const { mode, active, max, state, rate, producedRate } = told;
  const known = rate !== undefined && rate > 0 && producedRate !== undefined;
  return { mode, active, max, state: state ?? null, rate: known ? producedRate / rate : null };
}
