/** How a command is told to end before it is done: by a person (Ctrl-C), by who manages it, or because its terminal went away. */
import { readFileSync } from "node:fs";
import { errnoName } from "#base/errors.ts";
import { EXIT } from "#cli/exit-codes.ts";

const SIGHUP_NUMBER = 1;

/**
 * Aborted by the first SIGINT, SIGTERM or SIGHUP, so that the work ends cleanly; `told` is called before. A second SIGINT or SIGTERM ends the
 * process at once. SIGHUP may come twice for one terminal (from the kernel and from the shell), and under nohup it is ignored.
 */
export function interruption(told: () => void = () => undefined): AbortSignal {
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) return;
    told();
    stop.abort();
  };
  const insist = (): void => {
    if (stop.signal.aborted) process.exit(EXIT.interrupted);
    interrupt();
  };
  process.on("SIGINT", insist);
  process.on("SIGTERM", insist);
  if (!ignoresHangUp()) process.on("SIGHUP", interrupt);
  return stop.signal;
}

/** As who started this process wanted it. */
function ignoresHangUp(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return mask !== undefined && (BigInt(`0x${mask}`) & (1n << BigInt(SIGHUP_NUMBER - 1))) !== 0n;
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return false;
  }
}
