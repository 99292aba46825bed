/** Where the server keeps its own records when server.state_dir does not say. */
import path from "node:path/posix";
import { isWithin } from "./places.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

const SYSTEM_STATE_DIR = "/var/lib/nbackup";
const LOCAL_STATE_DIR_NAME = "nbackup-state";

/** `configFile` must be absolute. systemd may name several directories, separated by colons: the first counts. */
export function defaultStateDir(configFile: string, env: Environment): string {
  const given = env["STATE_DIRECTORY"]?.split(":")[0] ?? "";
  if (path.isAbsolute(given)) return path.resolve(given);
  if (isWithin(configFile, "/etc")) return SYSTEM_STATE_DIR;
  return path.join(path.dirname(configFile), LOCAL_STATE_DIR_NAME);
}
