/** What a trace of Chromium says about the page: how long its main thread's tasks are, and how much script an update of the stream costs. Pure. */

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly tdur?: number;
}

export interface PageCost {
  /** Milliseconds by the clock, the longest last. */
  readonly tasks: readonly number[];
  /** Milliseconds that the thread itself ran: what others on the machine do is not in them. */
  readonly taskCpu: readonly number[];
  /** Milliseconds of script from one tick of the stream to the next, rendering not counted. */
  readonly script: readonly number[];
  readonly scriptCpu: readonly number[];
}

/** Whatever runs JavaScript, collecting its garbage included. */
const SCRIPT = new Set([
  ...["FunctionCall", "EvaluateScript", "EventDispatch", "TimerFire", "FireAnimationFrame", "RunMicrotasks"],
  ...["v8.callFunction", "v8.run", "v8.newInstance", "MinorGC", "MajorGC", "BlinkScheduler_PerformMicrotaskCheckpoint"],
]);

/** Bytes of an answer, or of the stream, reached the page. */
const HEARD = "ResourceReceivedData";
const SAME_UPDATE_US = 500_000;

const ms = (microseconds: number | undefined): number => (microseconds ?? 0) / 1000;
const ascending = (a: number, b: number): number => a - b;

/** The main thread that hears of the server: there are other renderers, which do nothing. */
function mainThread(events: readonly TraceEvent[]): readonly TraceEvent[] {
  const told = events.find(({ name }) => name === HEARD);
  return events.filter(({ pid, tid }) => pid === told?.pid && tid === told.tid);
}

/** When updates came: what comes within half a second of the stream's tick (answers that it makes stale) belongs to it. */
function updateTimes(events: readonly TraceEvent[]): readonly number[] {
  const times: number[] = [];
  for (const ts of events
    .filter(({ name }) => name === HEARD)
    .map((event) => event.ts)
    .sort(ascending)) {
    if (ts - (times.at(-1) ?? Number.NEGATIVE_INFINITY) > SAME_UPDATE_US) times.push(ts);
  }
  return times;
}

/** Those that lie in no other of them. */
function outermost(events: readonly TraceEvent[]): readonly TraceEvent[] {
  const sorted = [...events].sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
  let end = Number.NEGATIVE_INFINITY;
  return sorted.filter(({ ts, dur }) => {
    if (ts < end) return false;
    end = ts + (dur ?? 0);
    return true;
  });
}

export function pageCost(trace: string): PageCost {
  const { traceEvents } = JSON.parse(trace) as { readonly traceEvents: readonly TraceEvent[] };
  const events = mainThread(traceEvents);
  const spans = events.filter(({ ph }) => ph === "X");
  const tasks = outermost(spans.filter(({ name }) => name === "RunTask" || name === "ThreadControllerImpl::RunTask"));
  const script = outermost(spans.filter(({ name }) => SCRIPT.has(name)));
  const ticks = updateTimes(events);
  const perTick = ticks.slice(0, -1).map((from, i) => {
    const own = script.filter(({ ts }) => ts >= from && ts < (ticks[i + 1] ?? 0));
    const sum = (of: "dur" | "tdur"): number => own.reduce((total, event) => total + ms(event[of]), 0);
    return { wall: sum("dur"), cpu: sum("tdur") };
  });
  return {
    tasks: tasks.map(({ dur }) => ms(dur)).sort(ascending),
    taskCpu: tasks.map(({ tdur }) => ms(tdur)).sort(ascending),
    script: perTick.map(({ wall }) => wall).sort(ascending),
    scriptCpu: perTick.map(({ cpu }) => cpu).sort(ascending),
  };
}

/** The smallest value that is not below so much of all; of ascending ones. */
export function quantile(ascendingValues: readonly number[], part: number): number {
  return ascendingValues[Math.max(0, Math.ceil(part * ascendingValues.length) - 1)] ?? Number.NaN;
}
