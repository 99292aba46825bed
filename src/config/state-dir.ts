/** Where a program keeps its own records when state_dir does not say. Agent and server of one machine share no directory. */
import path from "node:path/posix";
import { isWithin } from "./places.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

const STATE_DIRS = {
  agent: { system: "/var/lib/nbackup-agent", local: "nbackup-agent-state" },
  server: { system: "/var/lib/nbackup", local: "nbackup-state" },
} as const;

/** `configFile` must be absolute. systemd may name several directories, separated by colons: the first counts. */
export function defaultStateDir(program: keyof typeof STATE_DIRS, configFile: string, env: Environment): string {
  const given = env["STATE_DIRECTORY"]?.split(":")[0] ?? "";
  if (path.isAbsolute(given)) return path.resolve(given);
  if (isWithin(configFile, "/etc")) return STATE_DIRS[program].system;
  return path.join(path.dirname(configFile), STATE_DIRS[program].local);
}
