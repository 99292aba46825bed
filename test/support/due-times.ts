/** When the code under test says that an expression is due, over a stretch of time. */
import { nextDueMs } from "#base/cron.ts";

export function dueTimes(expression: string, zone: string, fromMs: number, toMs: number): number[] {
  const due: number[] = [];
  for (
    let at = nextDueMs(expression, zone, fromMs);
    at !== undefined && at <= toMs;
    at = nextDueMs(expression, zone, at)
  )
    due.push(at);
  return due;
}
