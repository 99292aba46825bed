/** Who holds a backup entry: a session, or an applicant on the way to one. One at a time per agent and entry. */
import type { Link } from "./link.ts";

export interface Occupant {
  /** Connections by which it can show that it lives. */
  links(): readonly Link[];
  /** It cannot be sent away: its archive is about to be committed. */
  readonly fixed: boolean;
  /** When an earlier start of the server admitted it, by the wall clock; undefined when it came to this one. */
  readonly earlierWallMs: number | undefined;
  /** Gives the entry up and cleans up; never rejects. */
  supersede(): Promise<void>;
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
