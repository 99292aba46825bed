/** What the server is answered that wants an entry to run now. Pure. */
import { Failure } from "#base/errors.ts";
import type { RunVerdict } from "./control-link.ts";
import type { Scheduler } from "./scheduler.ts";

/** From what became of the wish; `runningCount` runs are under way. */
export function runVerdict(name: string, became: ReturnType<Scheduler["request"]>, runningCount: number): RunVerdict {
  switch (became) {
    case "begun":
      return { accepted: true, message: `a run of ${name} begins` };
    case "queued":
      return { accepted: true, message: queuedText(name, runningCount) };
    case "running":
    case "waiting": {
      const why = became === "running" ? "runs already" : "waits already for others to end";
      return { accepted: false, failure: new Failure("E_BUSY", `backup entry ${name} ${why}`) };
    }
    case "unknown":
      return { accepted: false, failure: new Failure("E_BACKUP_UNKNOWN", `there is no backup entry ${name}`) };
    case "stopped":
      return { accepted: false, failure: new Failure("E_SHUTDOWN", "the agent is stopping") };
  }
}

/** Nobody has seen it begin, and it is kept nowhere: who asked is to know. */
function queuedText(name: string, runningCount: number): string {
  return `a run of ${name} waits: ${runningCount} others run, no more at once; a restart of the agent forgets it`;
}
