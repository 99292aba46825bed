/** Which archive is meant: every way to write its time, latest, all, and what is said when it is none or not just one. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "#base/errors.ts";
import type { ArchiveScope, ProgramSide } from "#cli/archive-arguments.ts";
import { chooseArchive, chooseArchives, parseReference, rowName, timePrefix } from "#commands/archive-reference.ts";
import type { ArchiveRow } from "#restore/archive-stock.ts";

const ALL: ArchiveScope = { storage: undefined, agent: undefined, backup: undefined };

function row(time: string, options: Partial<ArchiveRow> = {}): ArchiveRow {
  const timeMs = Date.parse(time);
  return {
    ...{ storage: "main", agent: "web-1", backup: "etc", timeMs, archiveBytes: 1, hasIndex: true },
    name: `${new Date(timeMs).toISOString().replaceAll(/[:.]/g, "-")}.tar.gz`,
    ...{ entries: undefined, rawBytes: undefined, durationMs: undefined, problems: undefined },
    ...{ sha256: undefined, damage: undefined },
    ...options,
  };
}

const ROWS = [
  row("2026-02-12T14:30:15.250Z"),
  row("2026-02-12T02:00:00.123Z"),
  row("2026-02-11T02:00:00.007Z"),
  row("2025-12-31T23:59:59.999Z"),
];

interface Outcome {
  readonly chosen: readonly string[];
  readonly warnings: readonly string[];
}

function choose(text: string, rows: readonly ArchiveRow[] = ROWS, side: ProgramSide = "agent"): Outcome | string {
  return outcome(() => chooseArchive(parseReference({ text, scope: ALL }, side), rows, side));
}

function chooseMany(text: string, rows: readonly ArchiveRow[]): Outcome | string {
  return outcome(() => chooseArchives(parseReference({ text, scope: ALL }, "agent"), rows, "agent"));
}

function outcome(choose: () => ReturnType<typeof chooseArchive>): Outcome | string {
  try {
    const { rows, warnings } = choose();
    return { chosen: rows.map(rowName), warnings };
  } catch (error) {
    if (error instanceof Failure) return `${error.toString()} | ${error.hint}`;
    throw error;
  }
}

const one = (name: string): Outcome => ({ chosen: [`web-1/etc/${name}.tar.gz`], warnings: [] });

describe("a time", () => {
  const written: readonly [string, string][] = [
    ["2026-02-12T14-30-15-250Z.tar.gz", "20260212143015250"],
    ["2026-02-12T14-30-15-250Z.tar.gz.sha256", "20260212143015250"],
    ["2026-02-12T14-30-15-250Z.idx", "20260212143015250"],
    ["2026-02-12T14-30-15-250Z", "20260212143015250"],
    ["2026-02-12T14:30:15.250Z", "20260212143015250"],
    ["2026-02-12 14:30", "202602121430"],
    ["2026-02-12_14:30:15", "20260212143015"],
    ["20260212T143015Z", "20260212143015"],
    ["202602121430", "202602121430"],
    ["2026-02", "202602"],
    ["2026-02-1", "2026021"],
    ["2026", "2026"],
    ["20", "20"],
    ["2026-02-12T15:30:15.25+01:00", "2026021214301525"],
    ["2026-02-12 09:30-0500", "202602121430"],
  ];
  for (const [text, digits] of written) {
    test(`may be written ${text}`, () => {
      expect(timePrefix(text)).toEqual({ digits });
    });
  }
  for (const text of [
    "",
    "yesterday",
    "2026-2-12",
    "12.2.2026",
    "2026-02-12T",
    "2026-02-12T14:3:15",
    "2026/02",
    "-1",
  ]) {
    test(`is not ${JSON.stringify(text)}`, () => {
      expect(timePrefix(text)).toBeUndefined();
    });
  }
  test("of an archive is found by its whole name and by every beginning of it that no other has", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 24 }), fc.constantFrom(...ROWS), (length, wanted) => {
        const text = wanted.name.slice(0, length);
        // A separator at the end says nothing.
        fc.pre(/[\dZ]$/.test(text));
        const same = ROWS.filter(({ name }) => name.startsWith(text.replace(/Z$/, "")));
        const chosen = choose(text);
        if (same.length === 1) expect(chosen).toEqual({ chosen: [rowName(wanted)], warnings: [] });
        else expect(chosen).toStartWith(`E_USAGE: ${text} is one of ${same.length} archives: `);
      }),
    );
  });
});

describe("the archive that is meant", () => {
  test("is the one whose time begins so", () => {
    expect(choose("2026-02-11")).toEqual(one("2026-02-11T02-00-00-007Z"));
    expect(choose("2025")).toEqual(one("2025-12-31T23-59-59-999Z"));
    expect(choose("2026-02-12 02:00")).toEqual(one("2026-02-12T02-00-00-123Z"));
  });
  test("is asked for when there are several, by name", () => {
    expect(choose("2026-02-12")).toBe(
      "E_USAGE: 2026-02-12 is one of 2 archives: web-1/etc/2026-02-12T14-30-15-250Z.tar.gz, web-1/etc/2026-02-12T02-00-00-123Z.tar.gz | Write more of its time.",
    );
  });
  test("is not there: the nearest are named", () => {
    expect(choose("2026-01-01")).toStartWith(
      "E_ARCHIVE_UNKNOWN: there is no archive 2026-01-01; the nearest: web-1/etc/2025-12-31T23-59-59-999Z.tar.gz, web-1/etc/2026-02-11T02-00-00-007Z.tar.gz, web-1/etc/2026-02-12T02-00-00-123Z.tar.gz",
    );
    expect(choose("latest", [])).toStartWith("E_ARCHIVE_UNKNOWN: there is no archive: latest is none");
  });
  test("is in several backups: which one is asked", () => {
    const rows = [...ROWS, row("2026-02-12T14:30:15.250Z", { backup: "home" })];
    expect(choose("latest", rows)).toBe(
      "E_USAGE: latest of which backup? web-1/etc, web-1/home | Say which with --backup NAME.",
    );
    expect(choose("2026-02-12 14", rows, "server")).toBe(
      "E_USAGE: 2026-02-12 14 is in several backups: web-1/etc, web-1/home | Write AGENT/BACKUP in front of it.",
    );
  });
  test("is in several storages: which one is asked", () => {
    const rows = [row("2026-02-12T02:00:00.123Z"), row("2026-02-12T02:00:00.123Z", { storage: "copy" })];
    const expected =
      "E_USAGE: web-1/etc/2026-02-12T02-00-00-123Z.tar.gz is in several storages: main, copy | Say which with --storage NAME.";
    expect(choose("2026-02-12", rows)).toBe(expected);
    expect(choose("latest", rows)).toBe(expected);
  });
  test("latest: is the newest", () => {
    expect(choose("latest")).toEqual(one("2026-02-12T14-30-15-250Z"));
  });
  test("latest: passes over what was found damaged, and says so", () => {
    const rows = [row("2026-02-12T14:30:15.250Z", { damage: "2 damaged places" }), ...ROWS.slice(1)];
    expect(choose("latest", rows)).toEqual({
      ...one("2026-02-12T02-00-00-123Z"),
      warnings: ["web-1/etc/2026-02-12T14-30-15-250Z.tar.gz is newer, but was found damaged: 2 damaged places"],
    });
    // Named, it is taken.
    expect(choose("2026-02-12 14", rows)).toEqual({
      ...one("2026-02-12T14-30-15-250Z"),
      warnings: ["web-1/etc/2026-02-12T14-30-15-250Z.tar.gz was found damaged: 2 damaged places"],
    });
  });
  test("latest: is none when all were found damaged, which are named", () => {
    const rows = ROWS.map((one) => ({ ...one, damage: "bad" }));
    expect(choose("latest", rows)).toStartWith(
      "E_ARCHIVE_DAMAGED: every archive was found damaged: web-1/etc/2026-02-12T14",
    );
  });
  test("cannot be all where one is wanted", () => {
    expect(choose("all")).toStartWith("E_USAGE: all is more than one archive");
  });
});

describe("many archives", () => {
  test("all: are all of the scope", () => {
    expect(chooseMany("all", ROWS)).toEqual({ chosen: ROWS.map(rowName), warnings: [] });
    expect(chooseMany("all", [])).toStartWith("E_ARCHIVE_UNKNOWN");
  });
  test("latest: are the newest of every entry", () => {
    const rows = [...ROWS, row("2026-02-01T00:00:00.000Z", { backup: "home" })];
    expect(chooseMany("latest", rows)).toEqual({
      chosen: ["web-1/etc/2026-02-12T14-30-15-250Z.tar.gz", "web-1/home/2026-02-01T00-00-00-000Z.tar.gz"],
      warnings: [],
    });
  });
});

describe("a reference of the server", () => {
  const scopes: readonly [string, Partial<ArchiveScope>, unknown][] = [
    ["web-1/etc/latest", { agent: "web-1", backup: "etc" }, "latest"],
    ["web-1/etc/2026-02-12", { agent: "web-1", backup: "etc" }, { digits: "20260212" }],
    ["web-1/all", { agent: "web-1" }, "all"],
    ["latest", {}, "latest"],
  ];
  for (const [text, scope, which] of scopes) {
    test(`may be ${text}`, () => {
      expect(parseReference({ text, scope: ALL }, "server")).toEqual({
        text,
        scope: { ...ALL, ...scope },
        which,
      } as never);
    });
  }
  for (const text of ["", "web-1", "web-1/etc", "web-1/etc/x/latest", "../etc/latest", "/etc/latest", "web-1/etc/"]) {
    test(`is not ${JSON.stringify(text)}`, () => {
      expect(outcome(() => chooseArchive(parseReference({ text, scope: ALL }, "server"), ROWS, "server"))).toStartWith(
        `E_USAGE: ${text} names no archive | Write AGENT/BACKUP/TIME`,
      );
    });
  }
  test("names no agent on the agent, which has only its own", () => {
    expect(choose("web-1/etc/latest")).toStartWith("E_USAGE: web-1/etc/latest names no archive | Write the time");
  });
});
