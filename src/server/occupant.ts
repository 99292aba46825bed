/** Who holds a backup entry: a session, or an applicant on the way to one. One at a time per agent and entry. */
import { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { Message } from "#wire/messages.ts";
import type { Link } from "./link.ts";

export interface Occupant {
  readonly run: string;
  /** Connections by which it can show that it lives. */
  links(): readonly Link[];
  /**
   * For how long it counts as alive towards this run although none of its connections is up, milliseconds: an earlier start
   * of the server began it, and its agent is still on its way back. Its own run never has to wait for itself.
   */
  reservedMs(run: string): number;
  /** It cannot be sent away: its archive is about to be committed. */
  readonly fixed: boolean;
  /** When an earlier start of the server admitted it, by the wall clock; undefined when it came to this one. */
  readonly earlierWallMs: number | undefined;
  /** Gives the entry up and cleans up; never rejects. */
  end(failure: Failure): Promise<void>;
}

/** Why somebody who holds this entry has to give it up to a newer one. */
export function superseded(agent: string, backup: string): Failure {
  return new Failure("E_SUPERSEDED", `a newer session of ${agent}/${backup} took its place`);
}

/** Why somebody ends whom the own agent gave up. */
export function disowned({ code, message }: Message<"disown">): Failure {
  return new Failure("E_DISOWNED", `the agent gave the session up: ${safeText(code)}: ${safeText(message)}`);
}

/** Asks all connections at once for a sign of life: true with the first one, false when the last has missed its probe. */
export function anyAlive(links: readonly Link[]): Promise<boolean> {
  if (links.length === 0) return Promise.resolve(false);
  return new Promise((resolve) => {
    let left = links.length;
    const judge = (alive: boolean): void => {
      left -= 1;
      if (alive || left === 0) resolve(alive);
    };
    for (const link of links) void link.probe().then(judge);
  });
}
