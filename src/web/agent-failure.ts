/** What an agent tells of runs that came to nothing, also of those that never reached the server. Policy only. */
import { safeText } from "#base/safe-text.ts";
import type { AgentChannelBackup } from "./api-types.ts";

/** What a run of an agent may come to without having failed: it is made up for, or another one took its place. */
const NO_FAILURE: ReadonlySet<string> = new Set([
  "committed",
  ...["E_INTERRUPTED", "E_SUPERSEDED", "E_BUSY", "E_SHUTDOWN", "E_MAINTENANCE"],
]);

/**
 * A run that a hook or a missing source cancelled never reached the server: only its agent knows of it. Whether it is the last one the agent's
 * own times say, for its clock may be wrong; `knownWallMs`: the last that the server itself knows of the entry.
 */
export function agentFailure(
  told: AgentChannelBackup | undefined,
  knownWallMs: number | null,
  nowWallMs: number,
): string | undefined {
  if (told === undefined) return undefined;
  const { lastResult, lastWallMs, lastSuccessWallMs } = told;
  if (lastResult === null || lastWallMs === null || NO_FAILURE.has(lastResult)) return undefined;
  // It was committed, and found damaged: the archive says so.
  if (lastWallMs === lastSuccessWallMs) return undefined;
  // What is still to come says nothing.
  if (knownWallMs !== null && knownWallMs >= lastWallMs && knownWallMs <= nowWallMs) return undefined;
  return `the agent's last run failed: ${safeText(lastResult)}`;
}

/** When its last run came to nothing, by the agent's clock; 0: it was committed, or none is known. */
export function failedAt(told: AgentChannelBackup | undefined): number {
  if (told === undefined || told.lastWallMs === null || told.lastWallMs === told.lastSuccessWallMs) return 0;
  return told.lastWallMs;
}
