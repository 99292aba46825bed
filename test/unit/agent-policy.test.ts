/** The agent's pure decisions: how many streams and workers, and when a chunk is sent a second time. */
import { expect, test } from "bun:test";
import { KiB, MiB } from "#base/units.ts";
import { workerCount } from "#agent/backup-run.ts";
import { shouldRescue } from "#agent/rescue.ts";
import { SessionRetries } from "#agent/session-retries.ts";
import { streamCount } from "#agent/stream-count.ts";

test("no more streams are used than the window holds two chunks for, and parallels 0 stays 0", () => {
  const supply = { windowBytes: 256 * MiB, chunkBytesMax: 2 * MiB, limitBytesPerSecond: undefined };
  expect(streamCount(0, supply)).toBe(0);
  expect(streamCount(4, supply)).toBe(4);
  expect(streamCount(255, supply)).toBe(64);
  expect(streamCount(255, { ...supply, windowBytes: 10 * MiB, chunkBytesMax: 17 * MiB })).toBe(1);
});

test("no more streams are used than a bandwidth limit leaves 1 kB/s each", () => {
  const supply = { windowBytes: 4096 * MiB, chunkBytesMax: 2 * MiB, limitBytesPerSecond: 64 * KiB };
  expect(streamCount(255, supply)).toBe(64);
  expect(streamCount(16, supply)).toBe(16);
  expect(streamCount(255, { ...supply, limitBytesPerSecond: MiB })).toBe(255);
});

test("automatic workers are the cores, fewer when the window cannot feed them; a number asked for is kept or refused", () => {
  expect(workerCount(0, 8, 256 * MiB, MiB)).toBe(8);
  expect(workerCount(0, 8, 12 * MiB, MiB)).toBe(2);
  expect(workerCount(2, 8, 12 * MiB, MiB)).toBe(2);
  expect(() => workerCount(3, 8, 12 * MiB, MiB)).toThrow("14680064 are needed with 3 workers");
  expect(() => workerCount(0, 8, 9 * MiB, MiB)).toThrow("10485760 are needed with 1 workers");
});

test("a chunk is rescued only when the run is about to wait for it and it is late", () => {
  const late = {
    windowUsedBytes: 80,
    windowCapacityBytes: 100,
    readingEnded: false,
    waitedMs: 1001,
    rttMs: 10,
    usualMs: 100,
    limitedMs: 0,
    carriers: 1,
  };
  expect(shouldRescue(late)).toBe(true);
  expect(shouldRescue({ ...late, windowUsedBytes: 74 })).toBe(false);
  expect(shouldRescue({ ...late, windowUsedBytes: 0, readingEnded: true })).toBe(true);
  expect(shouldRescue({ ...late, waitedMs: 1000 })).toBe(false);
  expect(shouldRescue({ ...late, rttMs: 300 })).toBe(false);
  expect(shouldRescue({ ...late, usualMs: 600 })).toBe(false);
  expect(shouldRescue({ ...late, limitedMs: 600 })).toBe(false);
  // Copies share one slow line: each waits longer than the one before.
  expect(shouldRescue({ ...late, carriers: 2 })).toBe(false);
  expect(shouldRescue({ ...late, carriers: 2, waitedMs: 4001 })).toBe(true);
  expect(shouldRescue({ ...late, carriers: 3, waitedMs: 4001 })).toBe(false);
});

test("sessions that were lost before anything was acknowledged are begun retry.max_attempts times in all", () => {
  const retries = new SessionRetries(4);
  expect([retries.next("E_SHUTDOWN", 0), retries.next("E_SESSION_GONE", 0)]).toEqual([0, 1]);
  expect([retries.next("E_GIVE_UP", 0), retries.next("E_SHUTDOWN", 0)]).toEqual([2, undefined]);
  expect(new SessionRetries(1).next("E_SHUTDOWN", 1)).toBeUndefined();
});

test("a session of which something was acknowledged starts the count and the delays anew", () => {
  const retries = new SessionRetries(3);
  expect([retries.next("E_SHUTDOWN", 0), retries.next("E_SESSION_GONE", 0)]).toEqual([0, 1]);
  expect([retries.next("E_GIVE_UP", 5), retries.next("E_SESSION_EXPIRED", 0)]).toEqual([0, 1]);
});

test("but one and the same failure is met only so often, however far each session came", () => {
  const retries = new SessionRetries(3);
  const codes = ["E_MISMATCH", "E_SHUTDOWN", "E_MISMATCH", "E_SHUTDOWN"] as const;
  expect(codes.map((code) => retries.next(code, 1e9))).toEqual([0, 0, 0, 0]);
  expect(retries.next("E_MISMATCH", 1e9)).toBeUndefined();
});
