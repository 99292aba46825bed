/** The rate limit, run against an eager sender on a clock of its own. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { KiB, MiB } from "#base/units.ts";
import { TokenBucket } from "#net/token-bucket.ts";

/** Sends pieces as soon as the bucket lets it, its timers late by up to `lateMs`; bytes sent in each millisecond. */
function sendFor(ms: number, bucket: TokenBucket, pieceBytes: () => number, lateMs = 0, fromMs = 0): Float64Array {
  const sent = new Float64Array(Math.ceil(ms) + 1);
  let now = fromMs;
  for (;;) {
    const bytes = pieceBytes();
    let wait = bucket.take(bytes, now);
    while (wait > 0) {
      now += wait + lateMs;
      if (now - fromMs >= ms) return sent;
      wait = bucket.take(bytes, now);
    }
    const at = Math.floor(now - fromMs);
    sent[at] = (sent[at] ?? 0) + bytes;
  }
}

function most(sent: Float64Array, windowMs: number): number {
  let inWindow = 0;
  let best = 0;
  for (let i = 0; i < sent.length; i += 1) {
    inWindow += (sent[i] ?? 0) - (sent[i - windowMs] ?? 0);
    best = Math.max(best, inWindow);
  }
  return best;
}

const sum = (sent: Float64Array): number => sent.reduce((a, b) => a + b, 0);

describe("the token bucket", () => {
  test("holds 10 s within 3 % of the limit, at any rate, after any pause, with late timers", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 64 * KiB, max: 200 * MiB }),
        fc.integer({ min: 0, max: 1_000_000 }),
        fc.integer({ min: 0, max: 20 }),
        (rate, pauseMs, lateMs) => {
          const bucket = new TokenBucket(rate, 0);
          // Pieces as the agent cuts them: a twentieth of a second's worth at most.
          const piece = Math.min(256 * KiB, Math.floor(rate / 20));
          const total = sum(sendFor(10_000, bucket, () => piece, lateMs, pauseMs));
          expect(total / (rate * 10)).toBeGreaterThan(0.97);
          expect(total / (rate * 10)).toBeLessThan(1.03);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("lets no burst of more than a second's worth through", () => {
    const rate = 5 * MiB;
    const bucket = new TokenBucket(rate, 0);
    const sent = sendFor(30_000, bucket, () => 256 * KiB, 7, 3_600_000);
    expect(most(sent, 1)).toBeLessThanOrEqual(rate);
    expect(most(sent, 1000)).toBeLessThanOrEqual(1.3 * rate);
  });

  test("keeps the rate with pieces of any length, longer than what it saves up too", () => {
    const rate = 64 * KiB;
    const bucket = new TokenBucket(rate, 0);
    const lengths = [1, 256 * KiB, 5000, 40];
    let i = 0;
    const sent = sendFor(600_000, bucket, () => lengths[i++ % lengths.length] ?? 1);
    expect(sum(sent) / (rate * 600)).toBeGreaterThan(0.99);
    expect(sum(sent) / (rate * 600)).toBeLessThan(1.01);
  });

  test("starts empty: the first second carries a second's worth, not two", () => {
    const bucket = new TokenBucket(1_000_000, 0);
    expect(bucket.take(50_000, 0)).toBe(50);
    expect(sum(sendFor(1000, bucket, () => 10_000))).toBeLessThanOrEqual(1_000_000);
  });

  test("takes nothing when it says to wait, and keeps its promise about how long", () => {
    const bucket = new TokenBucket(1000, 0);
    expect(bucket.take(100, 0)).toBe(100);
    expect(bucket.take(100, 40)).toBe(60);
    expect(bucket.take(100, 100)).toBe(0);
    expect(bucket.take(100, 100)).toBe(100);
  });

  test("a new rate counts from the moment it is set", () => {
    const bucket = new TokenBucket(1_000_000, 0);
    const before = sum(sendFor(10_000, bucket, () => 10_000));
    bucket.setRate(2_000_000, 10_000);
    const after = sum(sendFor(10_000, bucket, () => 10_000, 0, 10_000));
    expect(after / before).toBeGreaterThan(1.95);
    expect(after / before).toBeLessThan(2.05);
    expect(bucket.bytesPerSecond).toBe(2_000_000);
  });
});
