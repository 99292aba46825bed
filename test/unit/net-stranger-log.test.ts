/** Strangers are counted, and cannot write the log full. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import type { LogFields, Logger } from "#base/log.ts";
import { formatAddress } from "#net/address.ts";
import { StrangerLog } from "#net/stranger-log.ts";
import { SimClock } from "#test/support/sim-clock.ts";

function keepingLog(lines: LogFields[]): Logger {
  const keep = (_message: string, fields: LogFields = {}): void => void lines.push(fields);
  const log: Logger = { debug: keep, info: keep, warn: keep, error: keep, child: () => log };
  return log;
}

test("the first stranger is named at once, the others in one line per period, and quiet costs no timer", async () => {
  const clock = new SimClock();
  const lines: LogFields[] = [];
  const strangers = new StrangerLog(clock, keepingLog(lines));
  const failure = new Failure("E_TLS", "it presented no certificate");
  strangers.add("192.0.2.9:1", failure);
  for (let i = 0; i < 5000; i += 1) strangers.add("192.0.2.9:2", failure);
  expect(lines).toEqual([
    { address: "192.0.2.9:1", code: "E_TLS", reason: "it presented no certificate", count: 1, total: 1 },
  ]);
  await clock.advance(10_000);
  expect(lines[1]).toMatchObject({ address: "192.0.2.9:2", count: 5000, total: 5001 });
  await clock.advance(60_000);
  expect([lines.length, clock.pendingCount, strangers.total]).toEqual([2, 0, 5001]);
});

test("stop says what was not said yet", () => {
  const clock = new SimClock();
  const lines: LogFields[] = [];
  const strangers = new StrangerLog(clock, keepingLog(lines));
  for (let i = 0; i < 3; i += 1) strangers.add("192.0.2.9:1", new Failure("E_TIMEOUT", "no handshake within 10 s"));
  strangers.stop();
  expect([lines.length, lines[1]?.["count"], clock.pendingCount]).toEqual([2, 2, 0]);
});

test("addresses are written as people read them", () => {
  expect(formatAddress({ host: "192.0.2.7", port: 9847 })).toBe("192.0.2.7:9847");
  expect(formatAddress({ host: "::1", port: 9847 })).toBe("[::1]:9847");
  expect(formatAddress({ host: "::ffff:192.0.2.7", port: 1 })).toBe("192.0.2.7:1");
  expect(formatAddress({ host: "backup.example", port: 9847 })).toBe("backup.example:9847");
});
