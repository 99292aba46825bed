/** When certificates are due for renewal: laws over all lives. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type CertificateLife, renewalAllowedMs, renewalDueMs } from "#pki/renewal.ts";
import { LEAF_DAYS } from "#pki/validity.ts";

const DAY_MS = 86_400_000;
const life = (days: number, fingerprint = "00".repeat(32)): CertificateLife => ({
  ...{ fingerprint, notBeforeMs: 0, notAfterMs: days * DAY_MS },
});
const dueDay = (days: number, fingerprint?: string): number => renewalDueMs(life(days, fingerprint)) / DAY_MS;
const lives = fc.record({
  fingerprint: fc.stringMatching(/^[0-9a-f]{64}$/),
  notBeforeMs: fc.integer({ min: 0, max: 2e12 }),
  notAfterMs: fc.integer({ min: 60_000, max: 4e12 }),
});

describe("a certificate is due", () => {
  test("when a third of its life is left", () => {
    expect(dueDay(90)).toBe(60);
    expect(dueDay(LEAF_DAYS)).toBe(550);
  });

  test("a week before its end at least, but not before half of its life", () => {
    expect(dueDay(15)).toBe(8);
    expect(dueDay(2)).toBe(1);
  });

  test("275 days before its end at most, so that one made for ten years is not exchanged for one that ends sooner", () => {
    expect(dueDay(3650)).toBe(3650 - 275);
  });

  test("on another day for another agent, spread over a tenth of what is left", () => {
    expect(dueDay(90, "ff".repeat(32))).toBeCloseTo(63, 5);
    expect(dueDay(90, `80${"00".repeat(31)}`)).toBe(61.5);
  });

  test("within its life, after the server would give one, and so that a new one always ends later", () => {
    fc.assert(
      fc.property(lives, ({ fingerprint, notBeforeMs, notAfterMs }) => {
        const one = { fingerprint, notBeforeMs, notAfterMs: notBeforeMs + notAfterMs };
        const due = renewalDueMs(one);
        expect(due).toBeGreaterThanOrEqual(Math.floor(one.notBeforeMs));
        expect(due).toBeLessThanOrEqual(one.notAfterMs);
        expect(renewalAllowedMs(one)).toBeLessThanOrEqual(due);
        expect(renewalAllowedMs(one) + LEAF_DAYS * DAY_MS).toBeGreaterThan(one.notAfterMs);
      }),
    );
  });
});
