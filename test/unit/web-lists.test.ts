/** History and events over values: their filters and pages, and what is refused. */
import { describe, expect, test } from "bun:test";
import { endRecord, eventRecord, PageKit } from "#test/support/page-kit.ts";
import type { EventsAnswer, HistoryAnswer } from "#web/api-types.ts";

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
    let before = "";
    for (;;) {
      const page = await kit.json<HistoryAnswer>(`/api/v1/sessions/history?limit=2${before}`);
      expect(page.total).toBe(7);
      seen.push(...page.rows.map(({ session }) => session));
      if (page.next === null) break;
      before = `&before=${page.next}`;
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
    for (let before = "", pages = 0; pages < 10; pages += 1) {
      const page = await kit.json<HistoryAnswer>(`/api/v1/sessions/history?limit=1${before}`);
      seen.push(...page.rows.map(({ session }) => session));
      if (page.next === null) break;
      before = `&before=${page.next}`;
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
      "before=x",
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
