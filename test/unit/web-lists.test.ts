/** History and events over values: their filters and pages, and what is refused. */
import { describe, expect, test } from "bun:test";
import { endRecord, eventRecord, liveView, PageKit, runningServer, storageView } from "#test/support/page-kit.ts";
import type { StoragesAnswer } from "#web/api-archives.ts";
import type { AgentsAnswer, EventsAnswer, HistoryAnswer, SessionsAnswer } from "#web/api-types.ts";
import { endTest, eventTest } from "#web/matches.ts";

describe("the history", () => {
  function filled(): PageKit {
    const kit = new PageKit();
    for (let i = 0; i < 7; i += 1) {
      // Three of them end in the same millisecond.
      const endWallMs = i < 3 ? 1000 : i * 1000;
      kit.history.add(endRecord({ session: `${i}`, endWallMs, agent: i % 2 === 0 ? "web-1" : "db-1" }));
    }
    return kit;
  }

  test("comes page by page, each record once, also those of the same time", async () => {
    const kit = filled();
    const seen: (string | null)[] = [];
    let after = "";
    for (;;) {
      const page = await kit.json<HistoryAnswer>(`/api/v1/sessions/history?limit=2${after}`);
      expect(page.total).toBe(7);
      seen.push(...page.rows.map(({ session }) => session));
      if (page.next === null) break;
      after = `&after=${page.next}`;
      // What comes meanwhile is newer and moves nothing.
      kit.history.add(endRecord({ session: "newer", endWallMs: 99_000 }));
      kit.history.rows.shift();
    }
    expect(seen).toEqual(["6", "5", "4", "3", "2", "1", "0"]);
  });

  test("is filtered by agent, outcome and time", async () => {
    const kit = filled();
    kit.history.add(endRecord({ session: "x", outcome: "mismatch", endWallMs: 9000 }));
    const of = async (query: string): Promise<(string | null)[]> =>
      (await kit.json<HistoryAnswer>(`/api/v1/sessions/history?${query}`)).rows.map(({ session }) => session);
    expect(await of("agent=db-1")).toEqual(["5", "3", "1"]);
    expect(await of("outcome=mismatch,aborted")).toEqual(["x"]);
    expect(await of("from=3000&to=6000")).toEqual(["5", "4", "3"]);
    expect(await of("storage=other")).toEqual([]);
    expect(await of("backup=home&agent=web-1&limit=1")).toEqual(["x"]);
  });

  test("is filtered by a part of a name in any case, a glob of whole ones, or one that is there", async () => {
    const kit = new PageKit();
    for (const agent of ["web-1", "web-10", "Db-1"]) kit.history.add(endRecord({ session: agent, agent }));
    const of = async (query: string): Promise<(string | null)[]> =>
      (await kit.json<HistoryAnswer>(`/api/v1/sessions/history?${query}`)).rows.map(({ session }) => session);
    expect(await of("agent=WEB")).toEqual(["web-10", "web-1"]);
    expect(await of("agent=web-1")).toEqual(["web-1"]);
    expect(await of("agent=web-1*")).toEqual(["web-10", "web-1"]);
    expect(await of("agent=%3Fb-1")).toEqual(["Db-1"]);
    expect(await of("agent=eb-1*")).toEqual([]);
    expect(await of("backup=om&storage=ma")).toHaveLength(3);
  });

  test("comes page by page, each record once, also when the clock was put back meanwhile", async () => {
    const kit = new PageKit();
    for (const endWallMs of [1000, 9000, 8000, 2000, 8500]) {
      kit.history.add(endRecord({ session: `${endWallMs}`, endWallMs }));
    }
    const seen: (string | null)[] = [];
    for (let after = "", pages = 0; pages < 10; pages += 1) {
      const page = await kit.json<HistoryAnswer>(`/api/v1/sessions/history?limit=1${after}`);
      seen.push(...page.rows.map(({ session }) => session));
      if (page.next === null) break;
      after = `&after=${page.next}`;
    }
    expect(seen).toEqual(["9000", "8500", "8000", "2000", "1000"]);
  });

  test("refuses filters that make no sense, so that a slip is not an empty list", async () => {
    const kit = filled();
    for (const query of [
      "agnet=web-1",
      "outcome=good",
      "from=yesterday",
      "limit=0",
      "limit=501",
      "limit=x",
      "after=x",
      "before=1.1",
    ]) {
      expect([query, (await kit.ask(`/api/v1/sessions/history?${query}`)).status]).toEqual([query, 400]);
    }
  });
});

describe("events", () => {
  test("are filtered by level or worse, kind, agent, session and text, of any case", async () => {
    const kit = new PageKit();
    kit.events.add(eventRecord({ kind: "session.parked", fields: { agent: "web-1", session: "s" } }));
    kit.events.add(eventRecord({ kind: "storage.low", level: "warn", message: "Main is low" }));
    kit.events.add(eventRecord({ kind: "storage.failed", level: "error", message: "no disk" }));
    const of = async (query: string): Promise<string[]> =>
      (await kit.json<EventsAnswer>(`/api/v1/events?${query}`)).rows.map(({ kind }) => kind);
    expect(await of("level=warn")).toEqual(["storage.failed", "storage.low"]);
    expect(await of("kind=storage.")).toEqual(["storage.failed", "storage.low"]);
    expect(await of("kind=storage.low,session.parked")).toEqual(["storage.low", "session.parked"]);
    expect(await of("agent=web-1&session=s")).toEqual(["session.parked"]);
    expect(await of("agent=w?b-*")).toEqual(["session.parked"]);
    expect(await of("agent=EB")).toEqual(["session.parked"]);
    expect(await of("text=MAIN")).toEqual(["storage.low"]);
    expect((await kit.ask("/api/v1/events?level=loud")).status).toBe(400);
  });
});

describe("what comes live", () => {
  const NAMES = ["web-1", "web-10", "Db-1", "WEB-1"];
  const ASKED = ["web-1", "WEB", "eb-1", "db-1", "web-1*", "?b-1", "*", "none", "w", "WEB-1"];

  test("of ended sessions is judged as the server judges what it has: by part, glob, or the name of one that is there", async () => {
    const kit = new PageKit();
    const all = NAMES.map((agent) => endRecord({ session: agent, agent, outcome: "failed" }));
    for (const end of all) kit.history.add(end);
    for (const agent of ASKED) {
      for (const query of [{ agent }, { agent, outcome: "failed,aborted" }, { agent, backup: "OM", storage: "x" }]) {
        const { rows, exact } = await kit.json<HistoryAnswer>(`/api/v1/sessions/history?${new URLSearchParams(query)}`);
        const judged = all.filter(endTest(query, exact)).map((end) => end.session);
        expect({ query, judged: judged.toSorted() }).toEqual({
          query,
          judged: rows.map(({ session }) => session).toSorted(),
        });
      }
    }
  });

  test("of events is judged so too, whatever the filter", async () => {
    const kit = new PageKit();
    const all = NAMES.map((agent, i) =>
      eventRecord({
        ...{ kind: `session.k${i}`, level: i % 2 === 0 ? "info" : "warn" },
        fields: { agent, session: `${i}` },
      }),
    );
    all.push(eventRecord({ kind: "storage.low", level: "error", message: "Main is low", fields: {} }));
    for (const event of all) kit.events.add(event);
    const queries = [
      ...ASKED.map((agent) => ({ agent })),
      ...["debug", "warn", "error"].map((level) => ({ level, agent: "b-" })),
      ...["session.", "session.k1", "session.k1,storage.", "sess"].map((kind) => ({ kind })),
      ...["MAIN", "db-1", "nothing"].map((text) => ({ text })),
      { session: "1" },
    ];
    for (const query of queries) {
      const { rows, exact } = await kit.json<EventsAnswer>(`/api/v1/events?${new URLSearchParams(query)}`);
      const judged = all.filter(eventTest(query, exact)).map(({ kind }) => kind);
      expect({ query, judged: judged.toSorted() }).toEqual({ query, judged: rows.map(({ kind }) => kind).toSorted() });
    }
  });
});

describe("what is there now", () => {
  function crowded(): PageKit {
    const kit = new PageKit();
    const of = (session: string, agent: string): ReturnType<typeof liveView> => {
      const { view, ...rest } = liveView(1);
      return { ...rest, view: { ...view, session, agent } };
    };
    kit.live = [of("0a", "web-3"), of("0b", "web-1"), of("0c", "web-2")];
    kit.waiting = ["db-1", "db-2"].map((agent, i) => ({
      ...{ agent, backup: "all", storage: "main", remote: "192.0.2.3:1", position: i + 1 },
    }));
    kit.status = runningServer({ storages: ["z", "a", "m"].map((name) => storageView({ name })) });
    return kit;
  }

  interface List {
    readonly next: string | null;
    readonly total: number;
  }

  const LISTS: readonly (readonly [string, (answer: List) => readonly string[], readonly string[]])[] = [
    [
      "agents",
      (answer) => (answer as AgentsAnswer).rows.map(({ agent }) => agent),
      ["db-1", "db-2", "web-1", "web-2", "web-3"],
    ],
    ["storages", (answer) => (answer as StoragesAnswer).rows.map(({ name }) => name), ["z", "a", "m"]],
    ["sessions", namesOf, ["0a", "0b", "0c", "db-1", "db-2"]],
  ];

  function namesOf(answer: List): readonly string[] {
    const { running, waiting } = answer as SessionsAnswer;
    return [...running.map(({ session }) => session), ...waiting.map(({ agent }) => agent)];
  }

  for (const [route, names, all] of LISTS) {
    test(`comes whole of ${route}, or page by page where a limit is told`, async () => {
      const kit = crowded();
      const whole = await kit.json<List>(`/api/v1/${route}`);
      expect([names(whole), whole.next, whole.total]).toEqual([all, null, all.length]);
      for (const limit of [1, 2, 4, 500]) {
        const seen: string[] = [];
        for (let after: string | null = ""; after !== null;) {
          const page: List = await kit.json<List>(`/api/v1/${route}?limit=${limit}&after=${after}`);
          expect([page.total, names(page).length <= limit]).toEqual([all.length, true]);
          seen.push(...names(page));
          after = page.next;
        }
        expect(seen).toEqual([...all]);
      }
      for (const slip of ["limit=0", "limit=501", "before=x", "after=1.1"]) {
        expect([slip, (await kit.ask(`/api/v1/${route}?${slip}`)).status]).toEqual([slip, 400]);
      }
    });
  }

  test("is not left out when a row goes while somebody turns its page: it begins again where the last one is gone", async () => {
    const kit = crowded();
    const first = await kit.json<SessionsAnswer>("/api/v1/sessions?limit=4");
    kit.waiting = kit.waiting.slice(1).map((one) => ({ ...one, position: 1 }));
    kit.live = kit.live.slice(0, 1);
    const second = await kit.json<SessionsAnswer>(`/api/v1/sessions?limit=4&after=${first.next}`);
    expect([namesOf(second), second.next, second.total]).toEqual([["0a", "db-2"], null, 2]);
  });
});
