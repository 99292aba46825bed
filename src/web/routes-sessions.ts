/** Routes about sessions: what runs and waits, one in detail, how they ended, and what was told of everything (events). */
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import { OUTCOMES } from "#observe/records.ts";
import type { LiveView } from "#observe/live-view.ts";
import type { WaitingView } from "#observe/views.ts";
import type {
  ActiveHistoryAnswer,
  EventsAnswer,
  HistoryAnswer,
  SessionDetail,
  SessionsAnswer,
  StreamSession,
} from "./api-types.ts";
import { archiveSummary } from "./archive-summary.ts";
import { badRequest, notFound } from "./http.ts";
import { autoscalerOf, liveSession } from "./live-sessions.ts";
import { END_NAMES, type EndFilter, endTest, EVENT_NAMES, type EventFilter, eventTest, LEVELS } from "./matches.ts";
import { checkKnown, exactOf, listOf, nameFilter, pageOf, pageOfList, spanOf, textOf, textsOf } from "./paging.ts";
import type { ReadModel } from "./read-model.ts";

const PAGE = ["from", "to", "limit", "after"] as const;
const END_FILTERS: readonly EndFilter[] = ["agent", "backup", "storage", "outcome"];
const EVENT_FILTERS: readonly EventFilter[] = ["level", "kind", "agent", "session", "text"];

/** Events of one session in its detail. */
const DETAIL_EVENTS_MAX = 500;

export function sessionsRoute(model: ReadModel, query: URLSearchParams): SessionsAnswer {
  checkKnown(query, ["agent", "backup", "storage", "limit", "after"]);
  const [running, waiting] = [model.live(), model.waiting()];
  const isMeant = nameFilter(query, [...running.map(({ view }) => view), ...waiting], END_NAMES);
  const all: readonly Present[] = [
    ...running.filter(({ view }) => isMeant(view)).map((live) => ({ key: live.view.session, live })),
    ...waiting.filter(isMeant).map((waits) => ({ key: waitingKey(waits), waits })),
  ];
  const { rows, next, total } = pageOfList(all, query, ({ key }) => key);
  return {
    nowWallMs: model.clock.wall(),
    running: rows.flatMap(({ live }) => {
      if (live === undefined) return [];
      return [{ ...liveSession(live, model.series), sparkline: model.series.of(live.view.session)?.sparkline ?? [] }];
    }),
    waiting: rows.flatMap(({ waits }) => waits ?? []),
    ...{ next, total },
  };
}

/** What runs, then who waits: one list, of which a page may have both. */
interface Present {
  readonly key: string;
  readonly live?: LiveView;
  readonly waits?: WaitingView;
}

/** Positions move while people turn pages. */
function waitingKey({ agent, backup, storage, remote }: WaitingView): string {
  return JSON.stringify([agent, backup, storage, remote]);
}

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
  checkKnown(query, [...END_FILTERS, ...PAGE]);
  const { history } = model;
  const unknown = listOf(query, "outcome")?.find((outcome) => !OUTCOMES.some((known) => known === outcome));
  if (unknown !== undefined) throw badRequest(`outcome is one of ${OUTCOMES.join(", ")}`);
  const exact = exactOf(query, history, END_NAMES);
  const isMeant = endTest(textsOf(query, END_FILTERS), exact);
  const isWithin = spanOf(query);
  const wanted = (end: SessionRecord): boolean => isMeant(end) && isWithin(end.endWallMs);
  const source = {
    newest: (limit: number, test: typeof wanted) => history.newest(limit, test),
    timeOf: ({ endWallMs }: SessionRecord) => endWallMs,
  };
  return { ...pageOf(source, query, wanted), exact };
}

export function activeHistoryRoute(model: ReadModel, query: URLSearchParams): ActiveHistoryAnswer {
  checkKnown(query, ["session", "agent", ...PAGE]);
  const session = textOf(query, "session");
  const isWithin = spanOf(query);
  const { snapshots } = model;
  const isOfAgent = nameFilter(query, snapshots, { agent: ({ agent }) => agent });
  return pageOf(
    { newest: (limit, test) => snapshots.newest(limit, test), timeOf: ({ wallMs }) => wallMs },
    query,
    (row) => (session === undefined || row.session === session) && isOfAgent(row) && isWithin(row.wallMs),
  );
}

export function eventsRoute(model: ReadModel, query: URLSearchParams): EventsAnswer {
  checkKnown(query, [...EVENT_FILTERS, ...PAGE]);
  const { events } = model;
  const level = textOf(query, "level");
  if (level !== undefined && !LEVELS.includes(level)) throw badRequest(`level is one of ${LEVELS.join(", ")}`);
  const exact = exactOf(query, events, EVENT_NAMES);
  const isMeant = eventTest(textsOf(query, EVENT_FILTERS), exact);
  const isWithin = spanOf(query);
  const wanted = (event: EventRecord): boolean => isMeant(event) && isWithin(event.wallMs);
  const source = {
    newest: (limit: number, test: typeof wanted) => events.newest(limit, test),
    timeOf: ({ wallMs }: EventRecord) => wallMs,
  };
  return { ...pageOf(source, query, wanted), exact };
}
