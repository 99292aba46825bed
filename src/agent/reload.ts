/** What of a configuration that was read again can count at once, and what waits for a restart. Pure. */
import type { AgentConfig } from "#config/types.ts";

export interface Reload {
  /** What counts from now on. */
  readonly config: AgentConfig;
  /** Keys that were changed and keep their old value until the next start. */
  readonly restartKeys: readonly string[];
}

/**
 * Who the agent is, where it keeps its records and how its lines look is settled at the start: other programs rely on it. With
 * another name the certificates are another's too.
 */
export function reloadedConfig(running: AgentConfig, read: AgentConfig): Reload {
  const renamed = running.agent.name !== read.agent.name;
  const changed: readonly (readonly [string, boolean])[] = [
    ["agent.name", renamed],
    ["agent.state_dir", running.agent.stateDir !== read.agent.stateDir],
    ["logging.format", running.logging.format !== read.logging.format],
  ];
  return {
    config: {
      ...read,
      agent: running.agent,
      tls: renamed ? running.tls : read.tls,
      logging: { ...read.logging, format: running.logging.format },
    },
    restartKeys: changed.flatMap(([key, isChanged]) => (isChanged ? [key] : [])),
  };
}
