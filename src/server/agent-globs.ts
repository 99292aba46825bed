/** `allow_agents`: globs of agent names. */
import { globMatches } from "#base/name-glob.ts";

/** True when one of the globs matches the whole name; without globs every agent is allowed. */
export function agentAllowed(globs: readonly string[] | undefined, agent: string): boolean {
  return globs === undefined || globs.some((glob) => globMatches(glob, agent));
}
