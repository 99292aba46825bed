/** The state directory of an agent's daemon, as an earlier life of it could have left it. */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/** As if the daemon had last looked two days ago: an entry with run_missed begins at once. */
export function lookedLongAgo(stateDir: string, backup: string, expression: string): void {
  const state = {
    ...{ version: 1, backup, schedule: { expression, handledWallMs: Date.now() - 2 * 86_400_000 } },
    ...{ running: null, stopped: null, last: null, lastCommitted: null, sources: [] },
  };
  mkdirSync(path.join(stateDir, "entries"), { recursive: true });
  writeFileSync(path.join(stateDir, "entries", `${backup}.json`), JSON.stringify(state));
}
