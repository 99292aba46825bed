/** The laws of rotation, over any set of archives. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { planRotation, type RotationCandidate, type Standing } from "#store/rotation.ts";

const NOW_MS = 1_000_000;

const standing = fc.constantFrom<Standing>("good", "pending", "damaged");
const archives = fc
  .uniqueArray(fc.record({ timeMs: fc.nat(2 * NOW_MS), standing, pinned: fc.boolean() }), {
    selector: (archive) => archive.timeMs,
    maxLength: 20,
  })
  .map((list) => list.map((archive): RotationCandidate => ({ ...archive, archive: `a/b/${archive.timeMs}` })));
const rule = fc.record({
  maxBackups: fc.integer({ min: 1, max: 6 }),
  minAgeMs: fc.oneof(fc.constant(0), fc.nat(NOW_MS)),
});

const newer = (a: RotationCandidate, b: RotationCandidate): boolean => a.timeMs > b.timeMs;

test("an archive goes exactly when enough good ones are newer, it is old enough and nobody needs it", () => {
  fc.assert(
    fc.property(archives, rule, (list, { maxBackups, minAgeMs }) => {
      const removed = new Set(planRotation(list, { maxBackups, minAgeMs }, NOW_MS));
      for (const archive of list) {
        const goodNewer = list.filter((other) => newer(other, archive) && other.standing === "good").length;
        const old = minAgeMs === 0 || NOW_MS - archive.timeMs >= minAgeMs;
        const goes = goodNewer >= maxBackups && old && !archive.pinned && archive.standing !== "pending";
        expect(removed.has(archive)).toBe(goes);
      }
    }),
  );
});

test("after a rotation as many good archives stay as the rule wants, or all there were, the newest among them", () => {
  fc.assert(
    fc.property(archives, rule, (list, limits) => {
      const removed = new Set(planRotation(list, limits, NOW_MS));
      const good = list.filter((archive) => archive.standing === "good");
      const stay = good.filter((archive) => !removed.has(archive));
      expect(stay.length).toBeGreaterThanOrEqual(Math.min(good.length, limits.maxBackups));
      const newest = list.toSorted((a, b) => b.timeMs - a.timeMs)[0];
      if (newest !== undefined) expect(removed.has(newest)).toBe(false);
    }),
  );
});

test("a verification that is pending removes nothing that it would keep when it has found damage, and no more when it is good than without it", () => {
  fc.assert(
    fc.property(archives, rule, (list, limits) => {
      const removedWith = (as: Standing): Set<string> => {
        const settled = list.map((one) => (one.standing === "pending" ? { ...one, standing: as } : one));
        return new Set(planRotation(settled, limits, NOW_MS).map(({ archive }) => archive));
      };
      const [waiting, damaged, good] = [removedWith("pending"), removedWith("damaged"), removedWith("good")];
      for (const archive of waiting) expect([damaged.has(archive), good.has(archive)]).toEqual([true, true]);
      for (const archive of damaged) expect(good.has(archive)).toBe(true);
    }),
  );
});

test("archives that are found damaged never cost one that would have stayed", () => {
  fc.assert(
    fc.property(archives, rule, fc.nat(19), (list, limits, hit) => {
      const before = new Set(planRotation(list, limits, NOW_MS).map(({ archive }) => archive));
      const after = list.map((one, index) => (index === hit ? { ...one, standing: "damaged" as const } : one));
      for (const { archive } of planRotation(after, limits, NOW_MS)) {
        // What was pending may go now, as every damaged one with enough good ones newer.
        if (archive !== list[hit]?.archive || list[hit].standing !== "pending") expect(before.has(archive)).toBe(true);
      }
    }),
  );
});

test("when no archive is good none is removed", () => {
  fc.assert(
    fc.property(archives, rule, (list, limits) => {
      const bad = list.map((one) => (one.standing === "good" ? { ...one, standing: "damaged" as const } : one));
      expect(planRotation(bad, limits, NOW_MS)).toEqual([]);
    }),
  );
});

test("the plan removes the oldest first, and applied it has nothing more to remove", () => {
  fc.assert(
    fc.property(archives, rule, (list, limits) => {
      const plan = planRotation(list, limits, NOW_MS);
      expect(plan).toEqual(plan.toSorted((a, b) => a.timeMs - b.timeMs));
      const rest = list.filter((archive) => !plan.includes(archive));
      expect(planRotation(rest, limits, NOW_MS)).toEqual([]);
    }),
  );
});

test("a rotation that was interrupted anywhere is finished by the next one", () => {
  fc.assert(
    fc.property(archives, rule, fc.nat(20), (list, limits, done) => {
      const plan = planRotation(list, limits, NOW_MS);
      const rest = list.filter((archive) => !plan.slice(0, done).includes(archive));
      expect(planRotation(rest, limits, NOW_MS)).toEqual(plan.slice(done));
    }),
  );
});
