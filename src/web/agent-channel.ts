/** An agent's control channel as the page has it, from what the server knows of it. Pure. */
import type { AgentBackupView, AgentView } from "#observe/views.ts";
import type { AgentChannel, AgentChannelBackup } from "./api-types.ts";

export function agentChannel({ backups, backupCount: _count, ...view }: AgentView): AgentChannel {
  return { ...view, backups: backups.map(channelBackup) };
}

function channelBackup({ backup, storage, activity, ...told }: AgentBackupView): AgentChannelBackup {
  const { session = null, phase = null, nextWallMs = null, autoscaler } = told;
  return {
    ...{ backup, storage, activity, session, phase, nextWallMs },
    // What an agent tells is how fast its streams drain, not the ratio.
    autoscaler: autoscaler === undefined ? null : { ...autoscaler, state: autoscaler.state ?? null, rate: null },
  };
}
