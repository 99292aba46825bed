/**
 * What the page knows of now: filled by the live stream, read by whoever shows it. A value for each session, so that one that moves
 * draws only its own card. Messages are applied once a frame, in one batch; while the page is hidden only the newest of each kind is kept.
 */
import { batch, signal, type Signal } from "@preact/signals";
import type {
  ApiEnd,
  ApiEvent,
  ApiWaiting,
  FirstView,
  LiveSession,
  ServerNumbers,
  StreamMessage,
  StreamSession,
  StreamTick,
  TrafficPoint,
} from "#web/api-types.ts";
import { browserNow } from "./browser.ts";

/** `lost`: the stream is gone, and what is shown is as old as it. */
export type Connection = "connecting" | "live" | "lost";

/** `silent`: nobody answers; `refused`: this address may not look any more; `streamless`: all is answered but the stream. */
type LostWhy = "silent" | "refused" | "streamless";

/** Of each session that runs, a minute of rates. */
const SPARK_POINTS_MAX = 60;
/** Events and ends that came since the page was opened. A list that lacks half as many asks anew. */
const FRESH_MAX = 500;
export const FRESH_MANY = FRESH_MAX / 2;

export const connection = signal<Connection>("connecting");
/** When the stream was lost, by the server's clock as far as it is known. */
export const lostSince = signal<number | null>(null);
export const lostWhy = signal<LostWhy>("silent");
export const boot = signal<string | null>(null);
export const software = signal<string | null>(null);
export const server = signal<ServerNumbers | null>(null);
export const waiting = signal<readonly ApiWaiting[]>([]);
/** Sessions that run, in the order of their start. */
export const running = signal<readonly string[]>([]);
export const watched = signal<StreamSession | null>(null);
export const lastTraffic = signal<TrafficPoint | null>(null);
/** Newest last. Each list takes from them what it lacks. */
export const freshEvents = signal<readonly ApiEvent[]>([]);
export const freshEnds = signal<readonly ApiEnd[]>([]);
/** The server's wall clock, for ages: moves every few seconds. */
export const now = signal(browserNow());
/** Goes up when lists must be asked again: after a gap, a restart, or a change that no message tells. */
export const epoch = signal(0);

/** Lists that a message makes stale: those that the server names, and the overview, of which all are a part. */
export type StaleRoute = Extract<StreamMessage, { type: "changed" }>["data"]["routes"][number] | "overview";

export const changes = signal<Readonly<Partial<Record<StaleRoute, number>>>>({});

export interface SessionSignals {
  readonly view: Signal<LiveSession>;
  readonly rates: Signal<readonly number[]>;
}

const sessions = new Map<string, SessionSignals>();

export function sessionSignals(session: string): SessionSignals | undefined {
  return sessions.get(session);
}

let clockOffsetMs = 0;

/** Moves the clock on, or sets it by what the server said. */
export function setClock(serverWallMs: number | null): void {
  if (serverWallMs !== null) clockOffsetMs = serverWallMs - browserNow();
  now.value = browserNow() + clockOffsetMs;
}

/** Takes sessions as the server lists them: who is missing is over. `sparkline` only in the first answer. */
export function takeSessions(views: readonly (LiveSession & { readonly sparkline?: readonly number[] })[]): void {
  const ids = views.map((view) => view.session);
  for (const view of views) {
    const known = sessions.get(view.session);
    if (known === undefined) {
      sessions.set(view.session, { view: signal(view), rates: signal(view.sparkline ?? [view.receivedRate]) });
      continue;
    }
    known.view.value = view;
    known.rates.value = view.sparkline ?? [...known.rates.value, view.receivedRate].slice(-SPARK_POINTS_MAX);
  }
  const there = new Set(ids);
  for (const id of [...sessions.keys()]) if (!there.has(id)) sessions.delete(id);
  const same = ids.length === running.value.length && ids.every((id, i) => running.value[i] === id);
  if (!same) running.value = ids;
}

/** Of sessions that are known already only what was before they were: their rates of the last minute. */
export function takePast(views: readonly { readonly session: string; readonly sparkline: readonly number[] }[]): void {
  for (const { session, sparkline } of views) {
    const rates = sessions.get(session)?.rates;
    if (rates !== undefined && rates.value.length < sparkline.length) rates.value = sparkline;
  }
}

function takeTick(tick: StreamTick): void {
  setClock(tick.nowWallMs);
  server.value = tick.server;
  waiting.value = tick.waiting;
  takeSessions(tick.sessions);
  const { receivedRate, writtenRate, sessionCount } = tick.server;
  lastTraffic.value = { wallMs: tick.nowWallMs, receivedRate, writtenRate, sessions: sessionCount };
}

/** What the server had told when the page was made. */
let known: Pick<FirstView, "boot" | "revision"> | null = null;

/** Before the stream speaks: the clock, and from where on the stream has to have told everything. */
export function takeFirst(first: FirstView): void {
  known = first;
  software.value = first.access.software;
  setClock(first.nowWallMs);
}

function takeHello(data: Extract<StreamMessage, { type: "hello" }>["data"]): void {
  setClock(data.nowWallMs);
  // After every gap, not only after a restart, a list is asked again: what happened in it no message tells.
  const isFirst = boot.value === null;
  if (!isFirst || (known !== null && (known.boot !== data.boot || known.revision !== data.revision))) epoch.value += 1;
  boot.value = data.boot;
  software.value = data.software;
  connection.value = "live";
  lostSince.value = null;
}

function apply(message: StreamMessage): void {
  if (message.type === "hello") takeHello(message.data);
  else if (message.type === "tick") takeTick(message.data);
  else if (message.type === "session") watched.value = message.data;
  else if (message.type === "event") freshEvents.value = [...freshEvents.value, message.data].slice(-FRESH_MAX);
  else if (message.type === "ended") {
    freshEnds.value = [...freshEnds.value, message.data].slice(-FRESH_MAX);
    markStale(["agents"]);
  } else markStale(message.data.routes);
}

function markStale(routes: readonly StaleRoute[]): void {
  const next = { ...changes.value };
  for (const route of [...routes, "overview"] as const) next[route] = (next[route] ?? 0) + 1;
  changes.value = next;
}

/** Messages that wait for the next frame. */
let queue: StreamMessage[] = [];
let frame = 0;

/** A newer tick or session message makes the one before worthless; of the rest the newest are kept. */
function enqueue(message: StreamMessage): void {
  if (message.type === "tick" || message.type === "session") {
    queue = queue.filter((waits) => waits.type !== message.type);
  }
  queue.push(message);
  if (queue.length > 2 * FRESH_MAX) queue.splice(0, queue.length - 2 * FRESH_MAX);
}

function flush(): void {
  frame = 0;
  const messages = queue;
  queue = [];
  batch(() => {
    for (const message of messages) apply(message);
  });
}

export function receive(message: StreamMessage): void {
  enqueue(message);
  if (frame === 0) frame = requestAnimationFrame(flush);
}
