import { describe, expect, test } from "bun:test";
import { toFailure } from "#base/errors.ts";
import { EnrollGuard, networkOf } from "#server/enroll-guard.ts";

function waitMs(guard: EnrollGuard, address: string, nowMs: number): number {
  try {
    guard.check(address, nowMs);
    return 0;
  } catch (error) {
    const { code, retryAfterMs = 0 } = toFailure(error);
    expect(code).toBe("E_LIMIT");
    return retryAfterMs;
  }
}

describe("the guard against wrong tokens", () => {
  test("lets an address be wrong a few times, then once a minute", () => {
    const guard = new EnrollGuard(0);
    for (let count = 0; count < 5; count++) {
      expect(waitMs(guard, "192.0.2.66:1", 0)).toBe(0);
      expect(guard.wrong("192.0.2.66:2", 0)).toBe(true);
    }
    expect(waitMs(guard, "192.0.2.66:3", 0)).toBe(60_000);
    expect(waitMs(guard, "192.0.2.66:3", 45_000)).toBe(15_000);
    expect(waitMs(guard, "192.0.2.66:3", 60_000)).toBe(0);
    guard.wrong("192.0.2.66:3", 60_000);
    expect(waitMs(guard, "192.0.2.66:3", 60_000)).toBe(60_000);
    expect(waitMs(guard, "192.0.2.67:3", 60_000)).toBe(0);
  });

  test("answers only so many wrong ones of all addresses, and never holds up an address that was right", () => {
    const guard = new EnrollGuard(0);
    const answers = Array.from({ length: 300 }, (_, index) => guard.wrong(`198.51.100.${index}:1`, 0));
    expect(answers.filter(Boolean)).toHaveLength(100);
    expect(waitMs(guard, "192.0.2.7:1", 0)).toBe(0);
    expect(guard.wrong("203.0.113.9:1", 5_000)).toBe(true);
  });

  test("remembers a bounded number of addresses", () => {
    const guard = new EnrollGuard(0);
    for (let count = 0; count < 6; count++) guard.wrong("192.0.2.66:1", 0);
    for (let index = 0; index < 5_000; index++) guard.wrong(`10.${index >> 8}.${index & 255}.1:1`, 0);
    expect(waitMs(guard, "192.0.2.66:1", 0)).toBe(0);
  });

  test("takes the 64 bits that one host has of IPv6 addresses for one address", () => {
    expect(networkOf("192.0.2.7:40812")).toBe("192.0.2.7");
    expect(networkOf("[2001:db8::1]:40812")).toBe("2001:db8:0:0::/64");
    expect(networkOf("[2001:db8:0:0:ffff:1:2:3]:1")).toBe(networkOf("[2001:DB8::1]:2"));
    expect(networkOf("[2001:db8:0:1::1]:1")).not.toBe(networkOf("[2001:db8::1]:1"));
    expect(networkOf("[::1]:1")).toBe("0:0:0:0::/64");
    expect(networkOf("unknown address")).toBe("unknown address");
  });
});
