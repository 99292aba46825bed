/** Strangers are counted, and cannot write the log full. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { formatAddress } from "#net/address.ts";
import { StrangerLog } from "#net/stranger-log.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { SimClock } from "#test/support/sim-clock.ts";

test("the first stranger is named at once, the others in one line per period, and quiet costs no timer", async () => {
  const clock = new SimClock();
  const log = memoryLogger();
  const strangers = new StrangerLog(clock, log);
  const failure = new Failure("E_TLS", "it presented no certificate");
  strangers.add("192.0.2.9:1", failure);
  for (let i = 0; i < 5000; i += 1) strangers.add("192.0.2.9:2", failure);
  expect(log.lines.map((line) => line.fields)).toEqual([
    { address: "192.0.2.9:1", code: "E_TLS", reason: "it presented no certificate", count: 1, total: 1 },
  ]);
  await clock.advance(10_000);
  expect(log.lines[1]?.fields).toMatchObject({ address: "192.0.2.9:2", count: 5000, total: 5001 });
  await clock.advance(60_000);
  expect([log.lines.length, clock.pendingCount, strangers.total]).toEqual([2, 0, 5001]);
});

test("stop says what was not said yet", () => {
  const clock = new SimClock();
  const log = memoryLogger();
  const strangers = new StrangerLog(clock, log);
  for (let i = 0; i < 3; i += 1) strangers.add("192.0.2.9:1", new Failure("E_TIMEOUT", "no handshake within 10 s"));
  strangers.stop();
  expect([log.lines.length, log.lines[1]?.fields["count"], clock.pendingCount]).toEqual([2, 2, 0]);
});

test("addresses are written as people read them", () => {
  expect(formatAddress({ host: "192.0.2.7", port: 9847 })).toBe("192.0.2.7:9847");
  expect(formatAddress({ host: "::1", port: 9847 })).toBe("[::1]:9847");
  expect(formatAddress({ host: "::ffff:192.0.2.7", port: 1 })).toBe("192.0.2.7:1");
  expect(formatAddress({ host: "backup.example", port: 9847 })).toBe("backup.example:9847");
});
