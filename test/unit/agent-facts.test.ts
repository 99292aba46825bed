/** What an agent tells of itself fits the wire, whatever its machine and its records say. */
import { expect, test } from "bun:test";
import { agentFacts, type EntryNow } from "#agent/agent-facts.ts";
import { CONTROL_ENTRIES_MAX } from "#wire/limits.ts";
import { encodeMessage } from "#wire/encode.ts";

const EIB = 2 ** 60;

test("a network filesystem that says it has exbibytes free breaks no Ping", () => {
  const facts = agentFacts({ freeBytes: 8 * EIB, residentBytes: 7 }, 1, [], 0);
  expect(facts.freeBytes).toBe(Number.MAX_SAFE_INTEGER);
  expect(encodeMessage("ping", { id: 1, agent: facts }).length).toBeGreaterThan(0);
});

test("as many entries as a Ping takes fit into it, with the longest names and numbers", () => {
  const name = "n".repeat(64);
  const last = {
    ...{ trigger: "schedule" as const, startedWallMs: 2 ** 52, durationMs: 1, result: "failed" as const },
    ...{ session: null, archive: null, sha256: null, entries: 0, rawBytes: 0, archiveBytes: 0, resentBytes: 0 },
    ...{ problemCount: 0, problems: [], code: "E_".padEnd(2_000, "X"), message: null, hint: null },
  };
  const entry: EntryNow = {
    ...{ backup: name, storage: name, schedule: null, activity: "running", nextWallMs: 2 ** 52 },
    ...{ last, lastCommitted: last },
    running: {
      ...{ trigger: "schedule", startedWallMs: 0, retries: 0, stage: "reading", position: null },
      session: "11111111-1111-4111-8111-111111111111",
      ...{ entries: 2 ** 52, rawBytes: 2 ** 52, storedBytes: 2 ** 52, durableBytes: 2 ** 52, resentBytes: 2 ** 52 },
      ...{ reconnects: 1, streamsUp: 255, streams: [], rttMs: 1e6, currentPath: null, lastEntries: 0, lastRawBytes: 0 },
      autoscaler: {
        ...{ mode: "efficiency", enabled: true, active: 255, max: 255, state: "shrinking" },
        ...{ producedRate: 2 ** 52, drainRate: 2 ** 70 },
      },
    },
  };
  expect(agentFacts({}, 1, [entry], 1).backups[0]?.autoscaler).toEqual({
    ...{ mode: "efficiency", active: 255, max: 255, state: "shrinking" },
    ...{ rate: Number.MAX_SAFE_INTEGER, producedRate: 2 ** 52 },
  });
  const agent = agentFacts({ freeBytes: 2 ** 52 }, 2 ** 52, Array(CONTROL_ENTRIES_MAX).fill(entry), 1_000);
  expect(encodeMessage("ping", { id: 1, agent }).length).toBeGreaterThan(0);
});
