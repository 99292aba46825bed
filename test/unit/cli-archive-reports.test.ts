/** What list, ls, find, diff and index rebuild print: for people, and for programs. */
import { describe, expect, test } from "bun:test";
import { type DiffCounts, diffJson, diffLine, diffSummary } from "#cli/diff-report.ts";
import { type ListedFile, modeText, nameJson } from "#cli/file-report.ts";
import { findJson, findText, type ListedHistory } from "#cli/find-report.ts";
import { indexExit, indexJson, type IndexReport, indexText } from "#cli/index-report.ts";
import { type ListedArchive, listJson, listText } from "#cli/list-report.ts";
import { LsLines, lsJson } from "#cli/ls-report.ts";
import { fileTimeJson, fileTimeText } from "#cli/time-text.ts";

function file(path: string, options: Partial<ListedFile> = {}): ListedFile {
  return {
    ...{ path: Buffer.from(path, "latin1"), type: "file", mode: 0o644, uid: 1000, gid: 100, size: 1234 },
    ...{ mtimeSeconds: 1_770_861_600, mtimeNanos: 5, linkTarget: undefined, deviceMajor: 0, deviceMinor: 0 },
    ...{ sparse: false, changed: false, short: false },
    ...options,
  };
}

const ROW: ListedArchive = {
  ...{ storage: "main", agent: "web-1", backup: "etc", name: "2026-02-12T02-00-00-123Z.tar.gz" },
  ...{ timeMs: Date.UTC(2026, 1, 12, 2, 0, 0, 123), archiveBytes: 2_500_000, entries: 12_345, rawBytes: 9_000_000 },
  ...{ durationMs: 61_000, problems: 0, sha256: "ab".repeat(32), hasIndex: true, damage: undefined },
};

describe("list", () => {
  test("shows a table, with a time that can be copied and dashes for what nobody knows", () => {
    const unknown = { entries: undefined, rawBytes: undefined, durationMs: undefined, problems: undefined };
    const rows = [
      ROW,
      { ...ROW, problems: 2, hasIndex: false },
      { ...ROW, ...unknown },
      { ...ROW, damage: "2 damaged places\u001b[2J" },
    ];
    expect(listText(rows, { agent: undefined, backup: undefined }).split("\n")).toEqual([
      "AGENT  BACKUP  TIME                      STORAGE     SIZE    HOLDS  ENTRIES    TOOK  RESULT",
      "web-1  etc     2026-02-12T02-00-00-123Z  main     2.38 MB  8.58 MB   12,345  1m 01s  good",
      "web-1  etc     2026-02-12T02-00-00-123Z  main     2.38 MB  8.58 MB   12,345  1m 01s  2 not read as they were, no index",
      "web-1  etc     2026-02-12T02-00-00-123Z  main     2.38 MB        -        -       -  -",
      "web-1  etc     2026-02-12T02-00-00-123Z  main     2.38 MB  8.58 MB   12,345  1m 01s  damaged: 2 damaged places\\u{1b}[2J",
      "",
    ]);
  });
  test("names what was asked for when there is none of it", () => {
    const none = (scope: Parameters<typeof listText>[1]): string => listText([], scope).split(" (")[0] ?? "";
    expect(none({ agent: undefined, backup: undefined })).toBe("no archives");
    expect(none({ agent: "web-1", backup: undefined })).toBe("no archives of web-1");
    expect(none({ agent: "web-1", backup: "etc" })).toBe("no archives of web-1/etc");
    expect(none({ agent: undefined, backup: "etc" })).toBe("no archives of etc");
  });
  test("has every field in JSON, null where nobody knows", () => {
    expect(JSON.parse(listJson({ ...ROW, entries: undefined, sha256: undefined }))).toEqual({
      ...{ archive: "web-1/etc/2026-02-12T02-00-00-123Z.tar.gz", storage: "main", agent: "web-1", backup: "etc" },
      ...{ time: "2026-02-12T02:00:00.123Z", archiveBytes: 2_500_000, entries: null, rawBytes: 9_000_000 },
      ...{ durationMs: 61_000, problems: 0, sha256: null, index: true, damage: null },
    });
  });
});

describe("ls", () => {
  const line = (entry: ListedFile): string => new LsLines(0).line({ path: entry.path, entry });
  test("shows what ls -l does", () => {
    expect(line(file("etc/hosts"))).toBe("-rw-r--r-- 1000/100        1234 2026-02-12 02:00:00Z etc/hosts\n");
    expect(line(file("l", { type: "symlink", mode: 0o777, size: 0, linkTarget: Buffer.from("a\nb") }))).toBe(
      "lrwxrwxrwx 1000/100           0 2026-02-12 02:00:00Z l -> a\\nb\n",
    );
    expect(line(file("h", { type: "hardlink", size: 0, linkTarget: Buffer.from("etc/hosts") }))).toBe(
      "hrw-r--r-- 1000/100           0 2026-02-12 02:00:00Z h link to etc/hosts\n",
    );
    expect(line(file("dev/sda", { type: "block", size: 0, deviceMajor: 8, deviceMinor: 1 }))).toBe(
      "brw-r--r-- 1000/100         8,1 2026-02-12 02:00:00Z dev/sda\n",
    );
  });
  test("escapes what would drive a terminal, and bytes that are no text", () => {
    expect(line(file("\u001b[2J\u007f"))).toEndWith(" \\x1b[2J\\x7f\n");
    expect(line(file("\xff\xfe"))).toEndWith(" \\xff\\xfe\n");
  });
  test("says of a file that is not what was on the disk that it is not", () => {
    expect(line(file("a", { changed: true }))).toEndWith(" a  (changed while it was read)\n");
    expect(line(file("a", { changed: true, short: true }))).toEndWith(" a  (some of it could not be read)\n");
  });
  test("leaves the directory out that is listed, shows one without an entry of its own, and the root", () => {
    const lines = new LsLines(4);
    expect(lines.line({ path: Buffer.from("etc/hosts"), entry: file("etc/hosts") })).toEndWith("Z hosts\n");
    expect(new LsLines(0).line({ path: Buffer.from("srv"), entry: undefined })).toBe(
      "d--------- -                  - -                    srv\n",
    );
    expect(new LsLines(0).line({ path: Buffer.alloc(0), entry: file("", { type: "directory" }) })).toEndWith("Z /\n");
  });
  test("gets wider when something does not fit, and stays so", () => {
    const lines = new LsLines(0);
    const wide = file("a", { uid: 4_294_967_295, gid: 4_294_967_295, size: 1_234_567_890_123 });
    expect(lines.line({ path: wide.path, entry: wide })).toBe(
      "-rw-r--r-- 4294967295/4294967295 1234567890123 2026-02-12 02:00:00Z a\n",
    );
    expect(lines.line({ path: Buffer.from("b"), entry: file("b") })).toBe(
      "-rw-r--r-- 1000/100                       1234 2026-02-12 02:00:00Z b\n",
    );
  });
  test("has every field in JSON", () => {
    const entry = file("etc/hosts", { mode: 0o4755, sparse: true });
    expect(JSON.parse(lsJson({ path: entry.path, entry }))).toEqual({
      ...{ path: "etc/hosts", type: "file", mode: "4755", uid: 1000, gid: 100, size: 1234 },
      ...{ mtime: "2026-02-12T02:00:00.000000005Z", linkTarget: null, device: null },
      ...{ sparse: true, changed: false, short: false },
    });
    expect(JSON.parse(lsJson({ path: Buffer.from("srv"), entry: undefined }))).toMatchObject({
      ...{ path: "srv", type: "directory", mode: null, uid: null, size: null, mtime: null },
    });
  });
});

describe("a name in JSON", () => {
  test("is the name itself, or escaped with its bytes beside it", () => {
    expect(nameJson("path", Buffer.from("é"))).toEqual({ path: "é" });
    for (const name of ["\xff", "a\nb", "back\\slash"]) {
      const bytes = Buffer.from(name, "latin1");
      const json = nameJson("path", bytes);
      expect(json["path"]).toStartWith(name === "a\nb" ? "a\\n" : name === "\xff" ? "\\xff" : "back\\\\");
      expect(Buffer.from(json["pathBase64"] ?? "", "base64")).toEqual(bytes);
    }
  });
});

describe("a mode", () => {
  const cases: readonly [string, number, string][] = [
    ["file", 0o644, "-rw-r--r--"],
    ["file", 0o4755, "-rwsr-xr-x"],
    ["file", 0o2654, "-rw-r-sr--"],
    ["file", 0o6000, "---S--S---"],
    ["directory", 0o1777, "drwxrwxrwt"],
    ["directory", 0o1776, "drwxrwxrwT"],
    ["fifo", 0, "p---------"],
    ["char", 0o666, "crw-rw-rw-"],
  ];
  for (const [type, mode, text] of cases) {
    test(`${mode.toString(8)} of a ${type} is ${text}`, () => {
      expect(modeText(type, mode)).toBe(text);
    });
  }
});

describe("a file's time", () => {
  const cases: readonly [number, number, string, string][] = [
    [0, 0, "1970-01-01 00:00:00Z", "1970-01-01T00:00:00.000000000Z"],
    [-1, 999_999_999, "1969-12-31 23:59:59Z", "1969-12-31T23:59:59.999999999Z"],
    [253_402_300_800, 1, "+010000-01-01 00:00:00Z", "+010000-01-01T00:00:00.000000001Z"],
    [8_640_000_000_001, 1, "@8640000000001", "@8640000000001.000000001"],
  ];
  for (const [seconds, nanos, text, json] of cases) {
    test(`${seconds} s is ${text}`, () => {
      expect([fileTimeText(seconds), fileTimeJson(seconds, nanos)]).toEqual([text, json]);
    });
  }
});

describe("find", () => {
  const history: ListedHistory = {
    ...{ agent: "web-1", backup: "etc", path: Buffer.from("etc/a\u001b") },
    versions: [
      {
        ...{ file: file("etc/a", { size: 10 }), storage: "main", archiveCount: 3, changed: [] },
        ...{ first: "2026-02-10T02-00-00-123Z.tar.gz", last: "2026-02-12T02-00-00-123Z.tar.gz" },
      },
      {
        ...{ file: file("etc/a"), storage: "main", archiveCount: 1, changed: ["size", "mtime"] },
        ...{ first: "2026-02-13T02-00-00-123Z.tar.zst", last: "2026-02-13T02-00-00-123Z.tar.zst" },
      },
    ],
  };
  test("shows a path and its versions below it, the newest first", () => {
    expect(findText(history)).toBe(
      [
        "web-1/etc: etc/a\\x1b",
        "  -rw-r--r--  1.21 kB  2026-02-12 02:00:00Z  in 2026-02-13T02-00-00-123Z  changed: size, mtime".replace(
          "123Z  changed",
          `123Z${" ".repeat(41)}  changed`,
        ),
        "  -rw-r--r--     10 B  2026-02-12 02:00:00Z  in 2026-02-10T02-00-00-123Z to 2026-02-12T02-00-00-123Z (3 archives)",
        "",
      ].join("\n"),
    );
  });
  test("has one JSON object per version", () => {
    const [newest, oldest] = findJson(history)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(newest).toEqual({
      ...{ storage: "main", agent: "web-1", backup: "etc", path: "etc/a\\x1b", type: "file", mode: "0644" },
      ...{ pathBase64: Buffer.from("etc/a\u001b").toString("base64"), uid: 1000, gid: 100, size: 1234 },
      ...{ mtime: "2026-02-12T02:00:00.000000005Z", linkTarget: null, device: null },
      ...{ first: "2026-02-13T02-00-00-123Z.tar.zst", last: "2026-02-13T02-00-00-123Z.tar.zst" },
      ...{ archives: 1, changed: ["size", "mtime"] },
    });
    expect(oldest).toMatchObject({ size: 10, archives: 3, first: "2026-02-10T02-00-00-123Z.tar.gz", changed: [] });
  });
});

describe("diff", () => {
  const before = file("etc/a", { size: 10 });
  const after = file("etc/a", { size: 12, mtimeSeconds: 1_770_861_601, mode: 0o600, uid: 0 });
  test("shows a line per path, and what is different about it", () => {
    expect(diffLine({ change: "added", after })).toBe("+ etc/a\n");
    expect(diffLine({ change: "removed", before: file("etc/\n") })).toBe("- etc/\\n\n");
    const what = ["size", "mtime", "mode", "owner", "attributes"];
    expect(diffLine({ change: "changed", before, after, what })).toBe(
      "M etc/a  (size 10 B to 12 B, time 2026-02-12 02:00:00Z to 2026-02-12 02:00:01Z, mode rw-r--r-- to rw-------, owner 1000/100 to 0/100, attributes)\n",
    );
  });
  test("counts them, or says that there are none", () => {
    const counts: DiffCounts = { added: 1000, removed: 0, changed: 2 };
    expect(diffSummary(counts)).toBe("1,000 added, 0 removed, 2 changed\n");
    expect(diffSummary({ added: 0, removed: 0, changed: 0 })).toBe("no differences\n");
  });
  test("has both sides in JSON", () => {
    const parsed = JSON.parse(diffJson({ change: "changed", before, after, what: ["size"] })) as unknown;
    expect(parsed).toMatchObject({
      ...{ change: "changed", path: "etc/a", what: ["size"] },
      ...{ before: { size: 10, mode: "0644" }, after: { size: 12, mode: "0600" } },
    });
    expect(JSON.parse(diffJson({ change: "added", after }))).toMatchObject({ change: "added", before: null, what: [] });
    expect(JSON.parse(diffJson({ change: "removed", before }))).toMatchObject({ path: "etc/a", after: null });
  });
});

describe("index rebuild", () => {
  const report: IndexReport = {
    ...{ archive: "web-1/etc/x.tar.gz", index: "/b/web-1/etc/x.idx", result: "rebuilt", entries: 9, indexBytes: 628 },
    ...{ damages: [], damageCount: 0, durationMs: 1234.5 },
  };
  test("says what was written, what stayed, and what it cannot know", () => {
    expect(indexText(report)).toBe("web-1/etc/x.tar.gz: wrote /b/web-1/etc/x.idx (9 entries, 628 B, 1.2s)\n");
    expect(indexText({ ...report, result: "kept" })).toBe(
      "web-1/etc/x.tar.gz: has a good index already (9 entries, 628 B); --force replaces it\n",
    );
    expect(indexText({ ...report, damageCount: 2 })).toEndWith("; of 2 damaged places it knows nothing\n");
    expect([indexExit(report), indexExit({ ...report, damageCount: 2 })]).toEqual([0, 3]);
    expect(JSON.parse(indexJson(report))).toEqual({ ...report, durationMs: 1235 });
  });
});
