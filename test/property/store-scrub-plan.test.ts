/** The laws of the scrub's order: nothing is left out, and the longest unread comes first. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { lastReadMs, planScrub, type ScrubCandidate } from "#store/scrub-plan.ts";

const NOW_MS = 1_000_000;
const archives = fc.uniqueArray(
  fc.record({
    archive: fc.nat(1000).map((number) => `a/b/${number}`),
    mtimeMs: fc.nat(2 * NOW_MS),
    verifiedAtMs: fc.option(fc.nat(2 * NOW_MS), { nil: undefined }),
  }),
  { selector: ({ archive }) => archive, maxLength: 20 },
);

test("due is what was not read for so long since it was written or verified, or whose times lie in the future", () => {
  fc.assert(
    fc.property(archives, fc.nat(NOW_MS), (list, unreadMs) => {
      const due = new Set(planScrub(list, unreadMs, NOW_MS));
      for (const one of list) {
        const readMs = one.verifiedAtMs ?? one.mtimeMs;
        expect(due.has(one)).toBe(readMs > NOW_MS || NOW_MS - readMs >= unreadMs);
      }
      const order = [...due].map((one) => lastReadMs(one, NOW_MS));
      expect(order).toEqual(order.toSorted((a, b) => a - b));
    }),
  );
});

test("whoever reads one archive a day, and is interrupted at will, comes round to all of them", () => {
  fc.assert(
    fc.property(archives, fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }), (list, runs) => {
      let state: readonly ScrubCandidate[] = list.map((one) => ({ ...one, mtimeMs: 0, verifiedAtMs: undefined }));
      const readDays = new Map<string, number[]>();
      for (const [day, runs_] of runs.entries()) {
        const [next] = planScrub(state, 1, day + 1);
        if (!runs_ || next === undefined) continue;
        readDays.set(next.archive, [...(readDays.get(next.archive) ?? []), day]);
        state = state.map((one) => (one.archive === next.archive ? { ...one, verifiedAtMs: day + 0.5 } : one));
      }
      const counts = list.map(({ archive }) => readDays.get(archive)?.length ?? 0);
      if (list.length > 0) expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }),
  );
});
