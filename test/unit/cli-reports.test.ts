import { describe, expect, test } from "bun:test";
import { NO_SOCKETS } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import { checkJson, checkText } from "#cli/check-report.ts";
import { EXIT, worstExit } from "#cli/exit-codes.ts";
import { failureText } from "#cli/failure-text.ts";
import { healthExit, healthJson, type HealthReport, healthText, unreachableJson } from "#cli/health-report.ts";
import { onceExit, onceJson, type OnceReport, onceText, problemsText } from "#cli/once-report.ts";
import { ConfigFailure, type ConfigProblem } from "#config/problem.ts";

const COMMITTED: OnceReport = {
  backup: "home",
  storage: "main",
  session: "6f1c7c9e-58a0-4d4e-9f0e-0a4f6f1c7c9e",
  result: "committed",
  archive: "web-01/home/2026-02-12T02-00-00-123Z.tar.gz",
  sha256: "ab".repeat(32),
  entries: 1_204_311,
  rawBytes: 10 * 1024 ** 3,
  archiveBytes: 4 * 1024 ** 3,
  resentBytes: 0,
  problems: [],
  problemCount: 0,
  sockets: NO_SOCKETS,
  verify: "none",
  durationMs: 100_000.6,
  failure: undefined,
};
const FAILED: OnceReport = {
  ...COMMITTED,
  session: undefined,
  result: "failed",
  archive: undefined,
  sha256: undefined,
  failure: new Failure("E_BUSY", "a session of web-01/home is running"),
};
const bytes = (...parts: (string | number)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.of(part))));

describe("--once --json", () => {
  test("is one object on one line with the fields of the specification in their order", () => {
    const line = onceJson({
      ...COMMITTED,
      problems: [{ path: bytes("/home/a"), reason: "unreadable", errno: "EACCES" }],
      problemCount: 1,
    });
    expect(line).toMatch(/^[^\n]+\n$/);
    const object: Record<string, unknown> = JSON.parse(line);
    expect(Object.keys(object)).toEqual([
      "backup",
      "storage",
      "session",
      "result",
      "archive",
      "sha256",
      "entries",
      "rawBytes",
      "archiveBytes",
      "resentBytes",
      "skipped",
      "sockets",
      "socketCount",
      "durationMs",
      "verify",
    ]);
    expect(object["skipped"]).toEqual([{ path: "/home/a", reason: "unreadable", errno: "EACCES" }]);
    expect([object["result"], object["durationMs"]]).toEqual(["committed", 100_001]);
  });
  test("of a failed run has null for what there is not", () => {
    const object: Record<string, unknown> = JSON.parse(onceJson(FAILED));
    expect([object["session"], object["result"], object["archive"], object["sha256"]]).toEqual([
      null,
      "failed",
      null,
      null,
    ]);
  });
  test("tells names of any bytes apart", () => {
    const paths = [bytes("/a/", 0xff), bytes("/a/\\xff"), bytes("/a/\n"), bytes("/a/ü"), bytes("/a/\u{202e}")];
    const object: { skipped: { path: string }[] } = JSON.parse(
      onceJson({ ...COMMITTED, problems: paths.map((path) => ({ path, reason: "vanished" })) }),
    );
    expect(object.skipped.map(({ path }) => path)).toEqual([
      "/a/\\xff",
      "/a/\\\\xff",
      "/a/\\n",
      "/a/ü",
      "/a/\\u{202e}",
    ]);
  });
});

describe("the summary of --once", () => {
  test("of a committed run says where the archive is and what it took", () => {
    expect(onceText({ ...COMMITTED, resentBytes: 3 * 1024 ** 2 })).toBe(
      [
        "home → main: committed in 1m 40s",
        "  archive  web-01/home/2026-02-12T02-00-00-123Z.tar.gz",
        `  sha256   ${"ab".repeat(32)}`,
        "  read     1,204,311 entries, 10.0 GB, 102 MB/s",
        "  stored   4.00 GB, ratio 2.50, 3.00 MB sent again",
        "",
      ].join("\n"),
    );
  });
  test("counts sockets and names the first, which no tar holds; they are no warning, and the exit status is 0", () => {
    const sockets = { count: 1200, paths: ["/a", "/b", "/c", "/d"].map((path) => bytes(path)) };
    const report = { ...COMMITTED, sockets };
    expect(onceText(report)).toContain("  not in   1,200 sockets, which no tar holds: /a, /b, /c and more\n");
    expect(onceText({ ...COMMITTED, sockets: { count: 1, paths: [bytes("/a")] } })).toContain("  not in   1 socket, ");
    expect(onceText(COMMITTED)).not.toContain("socket");
    expect([problemsText(report), onceExit(report)]).toEqual(["", 0]);
    expect(JSON.parse(onceJson(report))).toMatchObject({ sockets: ["/a", "/b", "/c", "/d"], socketCount: 1200 });
  });
  test("of a failed run says so, and why on standard error with a hint", () => {
    expect(onceText(FAILED)).toBe("home → main: failed after 1m 40s\n");
    expect(problemsText(FAILED)).toBe(
      "E_BUSY: a session of web-01/home is running\nHINT: Wait for the running session to end, or abort it on the server.\n",
    );
  });
  test("names what could not be backed up as it is, and counts what it does not name", () => {
    const problems = Array.from({ length: 150 }, (_, i) => ({ path: bytes(`/srv/${i}`), reason: "grew" as const }));
    const lines = problemsText({ ...COMMITTED, problems, problemCount: 2000 })
      .trimEnd()
      .split("\n");
    expect(lines[0]).toBe("warning: /srv/0: became longer while it was read; cut at the size it had");
    expect([lines.length, lines[100]]).toEqual([101, "warning: and 1,900 more"]);
  });
});

describe("the exit status", () => {
  test("is 0 when all went well, 3 when files were left out, else the failure's own", () => {
    expect(onceExit(COMMITTED)).toBe(0);
    expect(onceExit({ ...COMMITTED, problemCount: 1 })).toBe(3);
    expect(onceExit(FAILED)).toBe(1);
    expect(onceExit({ ...FAILED, failure: new Failure("E_INTERRUPTED", "stopped") })).toBe(130);
    expect(onceExit({ ...FAILED, failure: undefined })).toBe(1);
  });
  test("of several entries is the worst: 1 before 3 before 0", () => {
    expect(worstExit([])).toBe(EXIT.done);
    expect(worstExit([0, 3, 0])).toBe(EXIT.partial);
    expect(worstExit([3, 1, 0])).toBe(EXIT.failed);
    expect(worstExit([1, 2])).toBe(EXIT.usage);
    expect(worstExit([2, 130, 3])).toBe(EXIT.interrupted);
    expect(worstExit([0, 77])).toBe(77);
  });
});

const problem = (line: number, hint?: string): ConfigProblem => ({
  file: "a.yaml",
  line,
  key: "k",
  message: "found 1, allowed: 2",
  hint,
});

describe("an error", () => {
  test("is one sentence with its code and one with what to do", () => {
    expect(failureText(new Failure("E_FULL", "12 GB are missing"))).toMatch(
      /^E_FULL: 12 GB are missing\nHINT: Free space on the storage.*\n$/,
    );
  });
  test("of a configuration has a sentence for each problem and says once what to do then", () => {
    expect(failureText(new ConfigFailure([problem(1, "Do this."), problem(2)]))).toBe(
      "E_CONFIG: a.yaml:1: k: found 1, allowed: 2\nHINT: Do this.\nE_CONFIG: a.yaml:2: k: found 1, allowed: 2\nHINT: Correct the file and run check-config again.\n",
    );
    expect(failureText(new ConfigFailure([problem(1, "Do this.")]))).toBe(
      "E_CONFIG: a.yaml:1: k: found 1, allowed: 2\nHINT: Do this.\n",
    );
    expect(failureText(new ConfigFailure(Array.from({ length: 52 }, (_, i) => problem(i))))).toContain(
      "E_CONFIG: and 2 more problems\n",
    );
  });
  test("that nobody foresaw is a bug to report, without a stack trace", () => {
    const text = failureText(new TypeError("x is not a function"));
    expect(text).toBe(
      "E_INTERNAL: x is not a function\nHINT: This is a bug in nbackup: please report it with the log.\n",
    );
  });
  test("cannot drive the terminal it is printed on", () => {
    const text = failureText(
      new Failure("E_TLS", "name \u001b[2J\u0007\r\n\u009b31m\u202egpj\u2028.exe", { hint: "\u001b]0;x" }),
    );
    expect(text).toBe(
      "E_TLS: name \\u{1b}[2J\\u{7}\\u{d}\\u{a}\\u{9b}31m\\u{202e}gpj\\u{2028}.exe\nHINT: \\u{1b}]0;x\n",
    );
    expect(safeText("plain ü 日本 text")).toBe("plain ü 日本 text");
  });
});

describe("check-config", () => {
  const warnings = [{ ...problem(3), message: "has no effect yet", hint: "Wait." }];
  test("says that a configuration can be used, and its warnings", () => {
    expect(checkText({ file: "a.yaml", warnings: [], failure: undefined })).toBe("a.yaml: can be used\n");
    expect(checkText({ file: "a.yaml", warnings, failure: undefined })).toBe(
      "warning: a.yaml:3: k: has no effect yet\nHINT: Wait.\na.yaml: can be used, 1 warning\n",
    );
  });
  test("as JSON has the same problems with line, key, message and hint", () => {
    const good: unknown = JSON.parse(checkJson({ file: "a.yaml", warnings, failure: undefined }));
    expect(good).toEqual({
      file: "a.yaml",
      ok: true,
      problems: [],
      warnings: [{ line: 3, key: "k", message: "has no effect yet", hint: "Wait." }],
    });
    const bad: unknown = JSON.parse(
      checkJson({ file: "a.yaml", warnings: [], failure: new ConfigFailure([problem(1)]) }),
    );
    expect(bad).toEqual({
      file: "a.yaml",
      ok: false,
      problems: [{ code: "E_CONFIG", line: 1, key: "k", message: "found 1, allowed: 2", hint: null }],
      warnings: [],
    });
    const certificate: unknown = JSON.parse(
      checkJson({ file: "a.yaml", warnings: [], failure: new Failure("E_CERTIFICATE", "expired", { hint: "Renew." }) }),
    );
    expect(certificate).toEqual({
      file: "a.yaml",
      ok: false,
      problems: [{ code: "E_CERTIFICATE", line: null, key: "", message: "expired", hint: "Renew." }],
      warnings: [],
    });
  });
});

describe("health", () => {
  const report: HealthReport = {
    software: "nbackup-server 0.1.0",
    state: "LOW_DISK",
    sessions: { running: 3, max: 32, waiting: 0 },
    storages: [
      { name: "main", state: "low", freeBytes: 5 * 2 ** 30, reserveBytes: 10 * 2 ** 30 },
      { name: "tape", state: "failed", freeBytes: 0, reserveBytes: 0, reason: "/mnt/tape is not\nthere" },
    ],
    storageCount: 4,
    certificateDaysLeft: 12,
  };

  test("is a table for people", () => {
    expect(healthText("backup:9847", report).split("\n")).toEqual([
      "backup:9847: LOW DISK (nbackup-server 0.1.0)",
      "sessions: 3 of 32 running, 0 waiting",
      "certificate: 12 days left",
      "STORAGE  STATE   FREE     RESERVE",
      "main     low     5.00 GB  10.0 GB",
      "tape     failed  -        -        /mnt/tape is not\\u{a}there",
      "and 2 more storages, all of them ok",
      "",
    ]);
  });

  test("says nothing of the certificate of a server that does not tell of it", () => {
    const silent = { ...report, certificateDaysLeft: undefined };
    expect(healthText("backup:9847", silent)).not.toContain("certificate");
    expect(JSON.parse(healthJson("backup:9847", silent))).toMatchObject({ certificateDaysLeft: null });
    expect(healthText("backup:9847", { ...report, certificateDaysLeft: 0 })).toContain(
      "certificate: less than a day left",
    );
  });

  test("is one JSON object for programs, also when there was no answer", () => {
    expect(JSON.parse(healthJson("backup:9847", report))).toEqual({
      ...{ server: "backup:9847", state: "LOW_DISK", software: "nbackup-server 0.1.0", storageCount: 4 },
      sessions: { running: 3, max: 32, waiting: 0 },
      certificateDaysLeft: 12,
      storages: [
        { name: "main", state: "low", freeBytes: 5 * 2 ** 30, reserveBytes: 10 * 2 ** 30, reason: null },
        { name: "tape", state: "failed", freeBytes: null, reserveBytes: null, reason: "/mnt/tape is not\nthere" },
      ],
    });
    expect(JSON.parse(unreachableJson("backup:9847", new Failure("E_CONNECT", "nobody listens there")))).toMatchObject({
      ...{ server: "backup:9847", state: "UNREACHABLE", code: "E_CONNECT", message: "nobody listens there" },
    });
  });

  test("exits with 0, 10, 11 or 12", () => {
    const exits = (["READY", "BUSY", "LOW_DISK", "MAINTENANCE"] as const).map((state) =>
      healthExit({ ...report, state }),
    );
    expect(exits).toEqual([0, 10, 11, 12]);
  });
});
