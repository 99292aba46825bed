import { describe, expect, test } from "bun:test";
import { agentsText } from "#cli/agents-report.ts";
import { eventsText, historyText, pruneText, sessionsText, statusText } from "#cli/server-report.ts";
import { textTable } from "#cli/text-table.ts";
import type { AgentView } from "#observe/agent-views.ts";
import type { ServerStatus, SessionView, StorageView } from "#observe/views.ts";
import { sessionEnd } from "#test/support/session-end.ts";

const NOW = Date.UTC(2026, 1, 12, 2, 0, 0);
const GB = 2 ** 30;

const storage: StorageView = {
  ...{ name: "main", baseDir: "/srv/main", state: "ok", code: null, message: null, sinceWallMs: NOW - 60_000 },
  ...{ totalBytes: 100 * GB, freeBytes: 50 * GB, reserveBytes: 5 * GB, maxBackups: 7, sessionCount: 1 },
  verifyingCount: 0,
};
const status: ServerStatus = {
  ...{ software: "nbackup-server 0.1.0", boot: "b", pid: 7, startedWallMs: NOW - 3_720_000, uptimeMs: 3_720_000 },
  ...{ stopping: false, maintenance: null, sessionCount: 1, sessionsMax: 32, waitingCount: 0, connectionCount: 5 },
  ...{ memoryBytes: 16 * 2 ** 20, memoryBytesMax: GB, metrics: [] },
  configuration: { readWallMs: 0, failure: null },
  lostRecords: { events: 0, history: 0, failing: false },
  verifying: null,
  storages: [
    storage,
    {
      ...{ ...storage, name: "old", baseDir: "/mnt/old", state: "failed", code: "E_STORAGE_FAILED" },
      ...{ message: "EROFS\u001b[31m", sinceWallMs: NOW - 7_200_000, totalBytes: null, freeBytes: null },
      ...{ reserveBytes: null, sessionCount: 0 },
    },
  ],
};
const session: SessionView = {
  ...{ session: "6f1c7c9e-58a0-4d4e-9f0e-0a4f6f1c7c9e", agent: "web-1", backup: "home", storage: "main", run: "r" },
  ...{ state: "receiving", startWallMs: NOW, durationMs: 65_000, parallels: 4, connections: ["a", "b"], chunks: 3 },
  ...{ bytes: 3 * GB, duplicateBytes: 0, damagedChunks: 0, breaks: 0, entries: 9, rawBytes: 9, expectedBytes: 4 * GB },
  ...{ backlogBytes: 0, stalled: false, slots: [] },
};

describe("for people", () => {
  test("status says which archive is being read again, how far it is, and how many wait", () => {
    const verifying = {
      storage: "main",
      archive: "web-1/home/x.tar.gz",
      by: "verify_integrity",
      done: GB,
      total: 4 * GB,
    };
    const text = statusText({ ...status, verifying, storages: [{ ...storage, verifyingCount: 3 }] }, NOW);
    expect(text.split("\n")[2]).toBe(
      "reads main: web-1/home/x.tar.gz again (verify_integrity): 25 % of 4.00 GB, 2 more to be read",
    );
  });

  test("history says what is known of an archive that was to be verified", () => {
    const text = historyText([{ ...sessionEnd({ verify: "damaged" }), endWallMs: NOW, repeats: 0 }]);
    expect(text).toContain("committed, verify damaged");
  });

  test("status is two lines, a table of storages and what is wrong with them", () => {
    expect(statusText(status, NOW)).toBe(
      [
        "nbackup-server 0.1.0, process 7, up 1h 02m",
        "1 of 32 sessions run, 0 agents wait, 5 connections, 16.0 MB of 1.00 GB memory",
        "configuration read at 1970-01-01 00:00:00Z",
        "",
        "STORAGE  STATE      FREE      OF  RESERVE  KEEP  SESSIONS  DIRECTORY",
        "main     ok      50.0 GB  100 GB  5.00 GB     7         1  /srv/main",
        "old      failed        -       -        -     7         0  /mnt/old",
        "old: E_STORAGE_FAILED: EROFS\\u{1b}[31m (for 2h 00m)",
        "",
      ].join("\n"),
    );
    const failure = { wallMs: 0, code: "E_CONFIG", reason: "server.yaml:3: no" };
    const refused = { ...status, configuration: { readWallMs: 0, failure } };
    expect(statusText(refused, 0)).toMatch(/was not taken at .*: E_CONFIG: server.yaml:3: no/);
    const failing = { ...status, stopping: true, lostRecords: { events: 3, history: 0, failing: true } };
    expect(statusText(failing, NOW)).toMatch(/stopping, up[\s\S]*events and history cannot be written/);
  });

  test("sessions are a table of those that run and those that wait, or one line without any", () => {
    const waiting = [{ agent: "web-2", backup: "home", storage: "main", remote: "x", position: 1 }];
    const text = sessionsText({ running: [session, { ...session, stalled: true, expectedBytes: 0 }], waiting });
    expect(text.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["SESSION", "AGENT", "BACKUP", "STORAGE", "STATE", "FOR", "RECEIVED", "EXPECTED", "CONNECTIONS"],
      [session.session, "web-1", "home", "main", "receiving", "1m 05s", "3.00 GB", "4.00 GB", "2"],
      [session.session, "web-1", "home", "main", "receiving, disk behind", "1m 05s", "3.00 GB", "-", "2"],
      ["-", "web-2", "home", "main", "waits, 1. in line", "-", "-", "-", "1"],
      [""],
    ]);
    expect(sessionsText({ running: [], waiting: [] })).toBe("no sessions\n");
  });

  test("history says the archive or why there is none, and how often", () => {
    const records = [
      { ...sessionEnd(), endWallMs: NOW, repeats: 0 },
      {
        ...sessionEnd({ session: null, outcome: "refused", code: "E_BUSY", message: "bus\ny", archive: null }),
        ...{ endWallMs: NOW + 1999, repeats: 4 },
      },
    ];
    expect(
      historyText(records)
        .split("\n")
        .map((line) => line.split(/ {2,}/)),
    ).toEqual([
      ["ENDED", "AGENT", "BACKUP", "OUTCOME", "TOOK", "BYTES", "WHAT"],
      ["2026-02-12 02:00:00Z", "web-1", "home", "committed", "500ms", "300 B", String(sessionEnd().archive)],
      ["2026-02-12 02:00:01Z", "web-1", "home", "refused (and 4 more)", "-", "-", "E_BUSY: bus\\u{a}y"],
      [""],
    ]);
    expect(historyText([])).toBe("no sessions have ended yet\n");
    expect(historyText([], "web-1")).toBe("no sessions of web-1 have ended yet\n");
  });

  test("events name the agent and backup that they are about", () => {
    const event = { wallMs: NOW, kind: "session.parked", level: "info", message: "waiting" } as const;
    const text = eventsText([
      { ...event, fields: { agent: "web-1", backup: "home" } },
      { ...event, fields: { a: 1 } },
    ]);
    expect(text).toMatch(/session\.parked {2}web-1\/home: waiting\n.*session\.parked {2}waiting\n$/);
    expect(eventsText([])).toBe("no events\n");
  });

  test("prune names every archive, what it could not remove, and the sum", () => {
    const entry = { storage: "main", agent: "web-1", backup: "home", keptCount: 1 };
    const removed = [
      { archive: "web-1/home/a.tar.gz", bytes: GB },
      { archive: "web-1/home/b.tar.gz", bytes: GB },
    ];
    const entries = [{ ...entry, removed, stuck: ["web-1/home/c.tar.gz"] }];
    expect(pruneText({ dryRun: false, entries, failures: [] })).toBe(
      [
        "removed main: web-1/home/a.tar.gz (1.00 GB)",
        "removed main: web-1/home/b.tar.gz (1.00 GB)",
        "could not remove main: web-1/home/c.tar.gz; see the log",
        "2 archives, 2.00 GB freed",
        "",
      ].join("\n"),
    );
    expect(pruneText({ dryRun: true, entries: [], failures: [] })).toBe("nothing to remove\n");
  });

  test("agents: whatever one of them tells of itself, the others are shown, and nothing of it reaches the terminal as it is", () => {
    const agent: AgentView = {
      ...{
        agent: "web-1",
        connected: true,
        lost: false,
        sinceWallMs: NOW,
        address: "192.0.2.7:1",
        software: "x\u001b[2J",
      },
      ...{ rttMs: 1, rttDeviationMs: 0, uptimeMs: 0, cpuPercent: 0, machineCpuPercent: 0, residentBytes: 0, load: 0 },
      ...{ freeBytes: 0, backupCount: 1 },
      backups: [
        {
          ...{
            backup: "home",
            storage: "main",
            activity: "running",
            phase: "\r\n\u009b",
            rawBytes: Number.MAX_SAFE_INTEGER,
          },
          ...{ nextWallMs: Number.MAX_SAFE_INTEGER, lastResult: "\u202e", lastWallMs: Number.MAX_SAFE_INTEGER },
        },
      ],
    };
    const unseen = { ...agent, agent: "web-3", connected: false, sinceWallMs: null, backups: [] };
    expect(agentsText([unseen], NOW)).toContain("web-3  enrolled, not seen yet");
    expect(agentsText([{ ...agent, newCa: "missing" }], NOW)).toContain(", without the new CA  ");
    expect(agentsText([{ ...agent, newCa: "unknown" }], NOW)).toContain(", new CA unknown  ");
    expect(agentsText([{ ...agent, newCa: "trusted" }], NOW)).not.toContain("new CA");
    const text = agentsText([agent, { ...agent, agent: "web-2", backups: [] }], NOW);
    expect(text).toContain("home @9007199254740");
    expect(text.split("\n")).toHaveLength(4);
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  test("a table is as wide as its widest cells, with wide characters counted as two columns", () => {
    expect(
      textTable(
        [{ heading: "A" }, { heading: "N", right: true }, { heading: "B" }],
        [
          ["日本", "1", "x"],
          ["y", "22", ""],
        ],
      ),
    ).toBe("A      N  B\n日本   1  x\ny     22\n");
  });
});
