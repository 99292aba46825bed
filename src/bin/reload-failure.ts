/** Why a configuration that was read again is not used, in the log of either daemon: every reason on a line of its own. */
import { type Failure, toFailure } from "#base/errors.ts";
import type { LoggingConfig } from "#config/types.ts";
import { ConfigFailure, problemText } from "#config/problem.ts";
import type { DaemonLog } from "./daemon-log.ts";

/** `logging` is what counts as before. Never throws: the answer is the failure and its first reason. */
export function logReloadFailure(
  error: unknown,
  daemonLog: DaemonLog,
  logging: LoggingConfig,
): { readonly failure: Failure; readonly reason: string } {
  const { log } = daemonLog;
  const failure = toFailure(error);
  const reasons = failure instanceof ConfigFailure ? failure.problems.map(problemText) : [failure.message];
  for (const reason of reasons) log.error("the configuration is not used", { code: failure.code, reason });
  log.error("nothing was changed: everything goes on as it was configured before", { hint: failure.hint });
  // The file may have been rotated all the same.
  try {
    daemonLog.use(logging);
  } catch (problem) {
    log.error("the log file cannot be opened anew", { reason: toFailure(problem).message });
  }
  return { failure, reason: reasons[0] ?? failure.message };
}
