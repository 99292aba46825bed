import { describe, expect, test } from "bun:test";
import { isIpOrBlock, parseAddress, parseListenAddress } from "#config/address.ts";
import { cronProblem } from "#base/cron.ts";
import { DEFAULT_GZIP_LEVEL, DEFAULT_NICE, DEFAULT_ZST_LEVEL, niceLevel } from "#config/defaults.ts";
import { isWithin } from "#config/places.ts";
import { durationText, sizeText } from "#config/values.ts";
import { agentOf, agentYaml, failureOf, problemLines, serverOf, serverYaml } from "#test/support/config-fixtures.ts";

describe("addresses", () => {
  const good: readonly [string, string, number][] = [
    ["backup.example.com:9847", "backup.example.com", 9847],
    ["localhost:1", "localhost", 1],
    ["192.0.2.7:65535", "192.0.2.7", 65_535],
    ["[::1]:9847", "::1", 9847],
    ["[2001:db8::192.0.2.1]:9847", "2001:db8::192.0.2.1", 9847],
  ];
  for (const [text, host, port] of good) {
    test(`${text} is host and port`, () => expect(parseAddress(text)).toEqual({ host, port }));
  }
  const bad = [
    "",
    "host",
    "host:",
    ":9847",
    "host:0",
    "host:65536",
    "host:9847x",
    "::1:9847",
    "[1.2.3.4]:1",
    "[::1]",
    "1.2.3:9847",
  ];
  for (const text of [
    ...bad,
    "999.1.1.1:1",
    "http://host:1",
    "ho st:1",
    "-host:1",
    `${"a".repeat(64)}:1`,
    "host..name:1",
  ]) {
    test(`${JSON.stringify(text)} is none, and says why`, () => expect(parseAddress(text)).toBeString());
  }
  test("listening without a host means all IPv4 addresses", () => {
    expect(parseListenAddress(":9847")).toEqual({ host: "0.0.0.0", port: 9847 });
  });
});

describe("IP addresses and blocks", () => {
  const good = [
    "127.0.0.1",
    "0.0.0.0/0",
    "10.0.0.0/8",
    "::",
    "::1",
    "::/0",
    "2001:db8::/32",
    "1:2:3:4:5:6:7:8",
    "::ffff:192.0.2.1/128",
    "1::8",
  ];
  for (const text of good) test(`${text} is one`, () => expect(isIpOrBlock(text)).toBe(true));
  const bad = [
    "",
    "127.0.0",
    "127.0.0.256",
    "127.0.0.01",
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/08",
    "::1/129",
    "1::2::3",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "12345::",
    "::1.2.3",
    "1.2.3.4::",
    "::1%lo",
    "1.2.3.4/8/8",
  ];
  for (const text of bad) test(`${JSON.stringify(text)} is none`, () => expect(isIpOrBlock(text)).toBe(false));

  test("of IPv4 as IPv6 has at least 96 bits: with fewer it is everybody", () => {
    const allowing = (block: string): string => serverYaml(`web_ui: {enabled: true, allow_origins: ["${block}"]}`);
    for (const block of [
      "::ffff:10.0.0.0/104",
      "::ffff:a00:0/96",
      "::/0",
      "0::0.0.0.0/8",
      "2001:db8::/32",
      "fe80::/10",
    ])
      expect(serverOf(allowing(block)).config.webUi.allowOrigins).toEqual([block]);
    const usual = ["::ffff:10.0.0.0/8", "0:0:0:0:0:FFFF:a00:0/24", "::0:ffff:10.0.0.0/95"];
    const others = ["0::ffff:10.0.0.0/8", "0:0:0::ffff:10.0.0.0/8", "00:0::0:ffff:a00:0/0", "0:0:0:0:0:ffff::/16"];
    const without = ["::10.0.0.0/8", "::a00:0/80", "::fffe:10.0.0.0/95"];
    for (const block of [...usual, ...others, ...without])
      expect(problemLines(failureOf(() => serverOf(allowing(block))).problems)).toContain("web_ui.allow_origins[0]");
  });
});

describe("schedules", () => {
  const good = [
    "* * * * *",
    "0 2 * * *",
    "*/15 * * * *",
    "5/20 * * * *",
    "0 0 1,15 * *",
    "0 8-18/2 * * mon-fri",
    "0 0 29 2 *",
    "0 0 31 * 5",
    "59 23 31 DEC 7",
    "0 0 30 2 1",
    " 0  2 * *\t* ",
  ];
  for (const text of good) test(`${JSON.stringify(text)} is one`, () => expect(cronProblem(text)).toBeUndefined());
  const bad = [
    "",
    "* * * *",
    "* * * * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * 32 * *",
    "* * * 13 *",
    "* * * * 8",
    "5-1 * * * *",
    "*/0 * * * *",
    "a * * * *",
    "1,,2 * * * *",
    "* * * * mon-",
    "0 0 30 2 *",
    "0 0 31 4,6 *",
    "@daily",
    "-1 * * * *",
    "1.5 * * * *",
    "* * ? * *",
    "9".repeat(300),
  ];
  for (const text of bad)
    test(`${JSON.stringify(text.slice(0, 20))} is none, and says why`, () => expect(cronProblem(text)).toBeString());
});

describe("values as they are written", () => {
  test("sizes and durations are told exactly, in the unit that fits", () => {
    expect([0, 1, 1024, 1536, 65_536, 1024 ** 2 * 256, 1024 ** 3, 1024 ** 4].map(sizeText)).toEqual([
      "0",
      "1b",
      "1kb",
      "1536b",
      "64kb",
      "256mb",
      "1gb",
      "1tb",
    ]);
    expect([0, 1, 1000, 90_000, 60_000, 3_600_000, 86_400_000].map(durationText)).toEqual([
      "0",
      "1ms",
      "1s",
      "90s",
      "1m",
      "1h",
      "1d",
    ]);
  });
  test("a directory holds itself and what is below it, not what merely begins alike", () => {
    expect([
      isWithin("/a", "/a"),
      isWithin("/a/b", "/a"),
      isWithin("/ab", "/a"),
      isWithin("/a", "/"),
      isWithin("/", "/a"),
    ]).toEqual([true, true, false, true, false]);
  });
  test("DSCP names stand for the six bits of their RFCs", () => {
    const bits = ["CS0", "CS7", "AF11", "AF21", "AF41", "AF43", "EF"].map(
      (name) => agentOf(agentYaml("", `dscp: ${name}`)).config.backups[0]?.dscp,
    );
    expect(bits).toEqual([0, 56, 10, 18, 34, 38, 46]);
  });
  test("the reserve is a part of the disk or a size, and by default the smaller of both", () => {
    const reserve = (text: string): unknown => serverOf(serverYaml("", text)).config.storages[0]?.reserve;
    expect(reserve("")).toEqual({ percent: 5, bytesMax: 10 * 1024 ** 3 });
    expect(reserve("reserve: 20%")).toEqual({ percent: 20, bytesMax: Number.MAX_SAFE_INTEGER });
    expect(reserve("reserve: 1gb")).toEqual({ percent: 100, bytesMax: 1024 ** 3 });
    expect(reserve("reserve: 0")).toEqual({ percent: 0, bytesMax: 0 });
  });
  test("the compression level defaults by mode, and zstd is zst", () => {
    const compression = (text: string): unknown => serverOf(serverYaml("", text)).config.storages[0]?.compression;
    expect(compression("")).toEqual({ mode: "gzip", level: DEFAULT_GZIP_LEVEL });
    expect(compression("compression_mode: zst")).toEqual({ mode: "zst", level: DEFAULT_ZST_LEVEL });
    expect(compression("compression_mode: zstd\n    compression_level: 19")).toEqual({ mode: "zst", level: 19 });
  });
  test("nice is 10, but 0 for --once on a terminal, and what is set counts everywhere", () => {
    const { resources } = agentOf(agentYaml("")).config;
    expect(niceLevel(resources, { once: true, terminal: true })).toBe(0);
    expect(niceLevel(resources, { once: true, terminal: false })).toBe(DEFAULT_NICE);
    expect(niceLevel(resources, { once: false, terminal: true })).toBe(DEFAULT_NICE);
    const set = agentOf(agentYaml("resources: {nice: 5}")).config.resources;
    expect(niceLevel(set, { once: true, terminal: true })).toBe(5);
  });
});

describe("the window", () => {
  const cases: readonly [string, string, boolean][] = [
    [
      "of 5 chunks and their records suffices for one worker",
      "resume: {chunk_size: 64kb, buffer_size: 5440kb}\nresources: {workers: 1}",
      true,
    ],
    [
      "one kilobyte smaller does not",
      "resume: {chunk_size: 64kb, buffer_size: 5439kb}\nresources: {workers: 1}",
      false,
    ],
    ["is measured with gzip's chunk size where none is set", "resume: {buffer_size: 10mb}", true],
    ["grows with the workers", "resume: {buffer_size: 10mb}\nresources: {workers: 2}", false],
  ];
  for (const [title, more, accepted] of cases) {
    test(title, () => {
      if (accepted) expect(agentOf(agentYaml(more)).config.resume.bufferBytes).toBeGreaterThan(0);
      else expect(failureOf(() => agentOf(agentYaml(more))).message).toContain("resume.buffer_size: found");
    });
  }
});
