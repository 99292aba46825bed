/** Routes about sessions: what runs and waits, one in detail, how they ended, and what was told of everything (events). */
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import { OUTCOMES } from "#observe/records.ts";
import type {
  ActiveHistoryAnswer,
  EventsAnswer,
  EventsQuery,
  HistoryAnswer,
  HistoryQuery,
  SessionDetail,
  SessionsAnswer,
  StreamSession,
} from "./api-types.ts";
import { archiveSummary } from "./archive-summary.ts";
import { badRequest, notFound } from "./http.ts";
import { autoscalerOf, liveSession } from "./live-sessions.ts";
import { checkKnown, listOf, nameFilter, pageOf, spanOf, textOf } from "./paging.ts";
import type { ReadModel } from "./read-model.ts";

const HISTORY_FILTERS: readonly (keyof HistoryQuery)[] = [
  ...(["agent", "backup", "storage", "outcome", "from", "to", "limit", "before"] as const),
];
const EVENT_FILTERS: readonly (keyof EventsQuery)[] = [
  ...(["level", "kind", "agent", "session", "text", "from", "to", "limit", "before"] as const),
];

/** Events of one session in its detail. */
const DETAIL_EVENTS_MAX = 500;

export function sessionsRoute(model: ReadModel, query: URLSearchParams): SessionsAnswer {
  checkKnown(query, ["agent", "backup", "storage"]);
  const [running, waiting] = [model.live(), model.waiting()];
  const names = [...running.map(({ view }) => view), ...waiting];
  const isOfAgent = nameFilter<Names>(query, "agent", names, ({ agent }) => agent);
  const isOfBackup = nameFilter<Names>(query, "backup", names, ({ backup }) => backup);
  const isOfStorage = nameFilter<Names>(query, "storage", names, ({ storage }) => storage);
  const isMeant = (one: Names): boolean => isOfAgent(one) && isOfBackup(one) && isOfStorage(one);
  const meant = running.filter(({ view }) => isMeant(view));
  return {
    nowWallMs: model.clock.wall(),
    running: meant.map((live) => ({
      ...liveSession(live, model.series),
      sparkline: model.series.of(live.view.session)?.sparkline ?? [],
    })),
    waiting: waiting.filter(isMeant),
  };
}

type Names = Pick<SessionRecord, "agent" | "backup" | "storage">;

export function sessionRoute(model: ReadModel, session: string): SessionDetail {
  const live = model.live().find(({ view }) => view.session === session);
  const [record] = model.history.newest(1, (end) => end.session === session);
  const track = model.series.of(session);
  const facts = live?.view ?? record ?? track?.facts;
  if (facts === undefined) throw notFound("there is no such session, or it is forgotten");
  const { agent, backup, storage } = facts;
  const events = model.events.newest(DETAIL_EVENTS_MAX, ({ fields }) => fields["session"] === session).reverse();
  const name = record?.archive?.split("/").at(-1);
  const archive = model.scans
    .archivesOf(storage)
    .find((row) => row.name === name && row.agent === agent && row.backup === backup);
  return {
    ...{ nowWallMs: model.clock.wall(), session, agent, backup, storage },
    live: live === undefined ? null : liveSession(live, model.series),
    record: record ?? null,
    slots: live?.slots ?? [],
    autoscaler: autoscalerOf(session, model.agents()),
    windowBytes: live?.windowBytes ?? track?.windowBytes ?? null,
    ...{ phases: track?.phases ?? [], series: track?.points ?? [], seriesStepMs: track?.stepMs ?? 1_000 },
    events,
    archive: archive === undefined ? null : archiveSummary(archive, record),
  };
}

/** What the live stream says of one session; undefined: it does not run. */
export function sessionUpdate(model: ReadModel, session: string): StreamSession | undefined {
  const live = model.live().find(({ view }) => view.session === session);
  if (live === undefined) return undefined;
  const track = model.series.of(session);
  const autoscaler = autoscalerOf(session, model.agents());
  return { session, slots: live.slots, autoscaler, phases: track?.phases ?? [], point: track?.points.at(-1) ?? null };
}

export function historyRoute(model: ReadModel, query: URLSearchParams): HistoryAnswer {
  checkKnown(query, HISTORY_FILTERS);
  const { history } = model;
  const isOfAgent = nameFilter(query, "agent", history, ({ agent }) => agent);
  const isOfBackup = nameFilter(query, "backup", history, ({ backup }) => backup);
  const isOfStorage = nameFilter(query, "storage", history, ({ storage }) => storage);
  const outcomes = listOf(query, "outcome");
  const unknown = outcomes?.find((outcome) => !OUTCOMES.some((known) => known === outcome));
  if (unknown !== undefined) throw badRequest(`outcome is one of ${OUTCOMES.join(", ")}`);
  const isWithin = spanOf(query);
  const wanted = (end: SessionRecord): boolean =>
    isOfAgent(end) &&
    isOfBackup(end) &&
    isOfStorage(end) &&
    (outcomes === undefined || outcomes.includes(end.outcome)) &&
    isWithin(end.endWallMs);
  return pageOf({ newest: (limit, test) => history.newest(limit, test), timeOf: timeOfEnd }, query, wanted);
}

export function activeHistoryRoute(model: ReadModel, query: URLSearchParams): ActiveHistoryAnswer {
  checkKnown(query, ["session", "agent", "from", "to", "limit", "before"]);
  const session = textOf(query, "session");
  const isWithin = spanOf(query);
  const { snapshots } = model;
  const isOfAgent = nameFilter(query, "agent", snapshots, ({ agent }) => agent);
  return pageOf(
    { newest: (limit, test) => snapshots.newest(limit, test), timeOf: ({ wallMs }) => wallMs },
    query,
    (row) => (session === undefined || row.session === session) && isOfAgent(row) && isWithin(row.wallMs),
  );
}

const LEVELS: readonly EventRecord["level"][] = ["debug", "info", "warn", "error"];

export function eventsRoute(model: ReadModel, query: URLSearchParams): EventsAnswer {
  checkKnown(query, EVENT_FILTERS);
  const { events } = model;
  const session = textOf(query, "session");
  const isOfAgent = nameFilter(query, "agent", events, ({ fields }) => fields["agent"]);
  const kinds = listOf(query, "kind");
  const text = textOf(query, "text")?.toLowerCase();
  const least = levelOf(textOf(query, "level"));
  const isWithin = spanOf(query);
  const isOfKind = (kind: string): boolean =>
    kinds === undefined || kinds.some((one) => (one.endsWith(".") ? kind.startsWith(one) : kind === one));
  const wanted = (event: EventRecord): boolean =>
    LEVELS.indexOf(event.level) >= least &&
    isOfKind(event.kind) &&
    isOfAgent(event) &&
    (session === undefined || event.fields["session"] === session) &&
    isWithin(event.wallMs) &&
    (text === undefined || textIn(event).includes(text));
  return pageOf({ newest: (limit, test) => events.newest(limit, test), timeOf: ({ wallMs }) => wallMs }, query, wanted);
}

function levelOf(level: string | undefined): number {
  if (level === undefined) return 0;
  const found = LEVELS.indexOf(level as EventRecord["level"]);
  if (found < 0) throw badRequest(`level is one of ${LEVELS.join(", ")}`);
  return found;
}

function textIn({ message, kind, fields }: EventRecord): string {
  return `${kind} ${message} ${JSON.stringify(fields)}`.toLowerCase();
}

function timeOfEnd({ endWallMs }: SessionRecord): number {
  return endWallMs;
}
