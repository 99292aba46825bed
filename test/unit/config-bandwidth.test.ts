/** `bandwidth_limit` in agent.yaml: a size, or a timetable whose windows must not overlap. */
import { describe, expect, test } from "bun:test";
import { MiB } from "#base/units.ts";
import { configReference } from "#config/reference.ts";
import { agentOf, agentYaml, failureOf } from "#test/support/config-fixtures.ts";

const limitOf = (text: string) => {
  const [entry] = agentOf(agentYaml("", `bandwidth_limit: ${text}`)).config.backups;
  return { always: entry?.bandwidthLimitBytesPerSecond, windows: entry?.bandwidthWindows };
};
const problemOf = (text: string): string => failureOf(() => limitOf(text)).message;

const EVERY_DAY = [0, 1, 2, 3, 4, 5, 6];

describe("bandwidth_limit", () => {
  test("is one size, or a list of windows with from, to and limit, and days", () => {
    expect(limitOf("2mb")).toEqual({ always: 2 * MiB, windows: [] });
    expect(
      limitOf("[{from: 08:00, to: '18:00', limit: 2mb}, {from: 22:00, to: 24:00, limit: 1mb, days: mon-fri}]"),
    ).toEqual({
      always: undefined,
      windows: [
        { fromMinute: 480, toMinute: 1080, bytesPerSecond: 2 * MiB, days: EVERY_DAY },
        { fromMinute: 1320, toMinute: 1440, bytesPerSecond: MiB, days: [1, 2, 3, 4, 5] },
      ],
    });
    expect(limitOf("[{from: 22:00, to: 06:00, limit: 2mb, days: 'Fri-Sun, wed'}]").windows?.[0]?.days).toEqual([
      0, 3, 5, 6,
    ]);
  });

  test.each([
    ["2kb", 'bandwidth_limit: found "2kb", allowed: a size from 64kb to 1tb, or a list of 1 to 100 windows'],
    ["[]", "allowed: a size from 64kb to 1tb, or a list of 1 to 100 windows"],
    ["{from: 08:00}", "allowed: a size from 64kb to 1tb, or a list of 1 to 100 windows"],
    [
      "[{from: 8:00, to: 18:00, limit: 2mb}]",
      'bandwidth_limit[0].from: found "8:00", allowed: a time from 00:00 to 23:59',
    ],
    ["[{from: 24:00, to: 18:00, limit: 2mb}]", 'from: found "24:00", allowed: a time from 00:00 to 23:59'],
    ["[{from: 08:00, to: 24:01, limit: 2mb}]", 'to: found "24:01", allowed: a time from 00:00 to 24:00'],
    ["[{from: 08:00, to: 18:00}]", "bandwidth_limit[0].limit: is missing"],
    ["[{from: 08:00, to: 18:00, limit: 1kb}]", 'bandwidth_limit[0].limit: found "1kb", allowed: a size from 64kb'],
    [
      "[{from: 08:00, to: 18:00, limit: 1mb, day: mon}]",
      "bandwidth_limit[0].day: found an unknown key, allowed: from, to, limit, days",
    ],
    ["[{from: 08:00, to: 18:00, limit: 1mb, days: mo-fr}]", 'bandwidth_limit[0].days: found "mo-fr"'],
  ])("%s is refused with its place and what is allowed", (text, problem) => {
    expect(problemOf(text)).toContain(problem);
  });

  test("windows that overlap are an error that names both", () => {
    expect(problemOf("[{from: 08:00, to: 18:00, limit: 2mb}, {from: 17:59, to: 20:00, limit: 1mb}]")).toContain(
      "bandwidth_limit[1]: found 17:59 to 20:00, which overlaps 08:00 to 18:00 (bandwidth_limit[0])",
    );
    // Over midnight, and from Saturday into Sunday.
    expect(problemOf("[{from: 22:00, to: 06:00, limit: 2mb}, {from: 05:00, to: 07:00, limit: 1mb}]")).toContain(
      "overlaps",
    );
    expect(
      problemOf("[{from: 22:00, to: 06:00, limit: 2mb, days: sat}, {from: 05:00, to: 07:00, limit: 1mb, days: sun}]"),
    ).toContain("overlaps");
    expect(
      limitOf("[{from: 22:00, to: 06:00, limit: 2mb, days: sat}, {from: 05:00, to: 07:00, limit: 1mb, days: mon-sat}]")
        .windows,
    ).toHaveLength(2);
    expect(
      limitOf("[{from: 08:00, to: 18:00, limit: 2mb}, {from: 18:00, to: 08:00, limit: 1mb}]").windows,
    ).toHaveLength(2);
  });

  test("is in the reference with both of its forms", () => {
    const reference = configReference();
    expect(reference).toContain("`backups[].bandwidth_limit`**");
    expect(reference).toContain("`backups[].bandwidth_limit[].days`**");
  });
});
