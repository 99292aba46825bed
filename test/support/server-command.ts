/** Commands of the compiled server that ask a running one, run to their end. */
import type { Site } from "#test/support/site.ts";
import { type ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";

export interface CommandEnd extends ProcessEnd {
  /** The objects that `--json` printed, one per line. */
  readonly objects: readonly Record<string, unknown>[];
}

/** `nbackup-server ARGS --config FILE`; `prefix` runs it, for instance as another user. */
export async function serverCommand(
  site: Site,
  configFile: string,
  args: readonly string[],
  prefix: readonly string[] = [],
): Promise<CommandEnd> {
  const command = [...prefix, site.executables.server, ...args, "--config", configFile];
  const end = await new WatchedProcess(command, { cwd: site.at("cwd") }).end();
  const lines = end.stdout.split("\n").filter((line) => line.startsWith("{"));
  return { ...end, objects: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}
