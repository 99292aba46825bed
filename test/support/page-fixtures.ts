/** Answers of the API for tests of the page: made by formulas, so that the same test sees the same, and of any size. */
import { backupSummary } from "#web/backup-summary.ts";
import type { ApiEnd, ApiEvent, AgentRow, ConfigAnswer, OverviewAnswer, TrafficPoint } from "#web/api-types.ts";
import type { ArchiveSummary, BackupRow, BackupState, StorageRow, TreeEntry } from "#web/api-archives.ts";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const GB = 1024 ** 3;

/** A name that would run code if anybody took it for HTML. */
export const HOSTILE = `<img src=x onerror="document.title='owned'">`;

/** 0 to 1, the same for the same number. */
export function noise(n: number): number {
  const x = Math.sin(n * 12.9898) * 43_758.5453;
  return x - Math.floor(x);
}

export function uuid(n: number): string {
  return `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
}

const WORDS = ["web", "db", "mail", "files", "build", "git", "proxy", "cache"];
export const BACKUPS = ["etc", "home", "postgres", "www"];

export function agentName(n: number): string {
  return `${WORDS[n % WORDS.length] ?? "host"}-${String(Math.floor(n / WORDS.length) + 1).padStart(2, "0")}`;
}

export function archiveName(wallMs: number): string {
  return `${new Date(wallMs).toISOString().replaceAll(/[:.]/g, "-")}.tar.gz`;
}

function stateOf(n: number): BackupState {
  if (n === 3) return "failing";
  if (n === 6 || n === 9) return "late";
  return n === 11 ? "unknown" : "ok";
}

export function backupRow(n: number, nowWallMs: number, running: string | null = null): BackupRow {
  const state = stateOf(n);
  const ageMs =
    state === "late" ? 3 * DAY_MS + n * HOUR_MS : state === "failing" ? 2 * DAY_MS : (noise(n) * 22 + 1) * HOUR_MS;
  const size = Math.round((0.5 + noise(n + 7) * 40) * GB);
  const lastSuccessWallMs = Math.round(nowWallMs - ageMs);
  return {
    agent: n === 5 ? HOSTILE : agentName(n),
    backup: BACKUPS[n % BACKUPS.length] ?? "etc",
    storage: n % 3 === 0 ? "archive" : "main",
    state,
    reason: state === "ok" ? "" : `it is ${state}`,
    lastSuccessWallMs,
    lastArchive: archiveName(lastSuccessWallMs),
    lastBytes: size,
    lastRawBytes: size * 3,
    lastEntries: Math.round(noise(n) * 900_000),
    lastDurationMs: Math.round(noise(n + 3) * HOUR_MS),
    lastWarnings: 0,
    lastOutcome: state === "failing" ? "disk-full" : "committed",
    lastEndWallMs: state === "failing" ? nowWallMs - HOUR_MS : lastSuccessWallMs,
    lastSession: uuid(1000 + n),
    everyMs: state === "unknown" ? null : DAY_MS,
    everyFrom: state === "unknown" ? null : n % 4 === 0 ? "habit" : "agent",
    nextWallMs: Math.round(nowWallMs + (DAY_MS - (ageMs % DAY_MS))),
    running,
    archiveCount: 14,
    archiveBytes: size * 14,
    damagedCount: n === 14 ? 1 : 0,
    sizes: Array.from({ length: 14 }, (_, i) => ({
      wallMs: lastSuccessWallMs - (13 - i) * DAY_MS,
      bytes: Math.round(size * (0.8 + 0.014 * i + 0.06 * noise(n * 31 + i))),
    })),
  };
}

const ORDER: readonly BackupState[] = ["failing", "never", "late", "unknown", "ok"];

export function backupRows(count: number, nowWallMs: number): readonly BackupRow[] {
  const rows = Array.from({ length: count }, (_, n) => backupRow(n, nowWallMs, n === 1 || n === 2 ? uuid(n) : null));
  return rows.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
}

export function counts(rows: readonly BackupRow[]): OverviewAnswer["counts"] {
  const of = (state: BackupState): number => rows.filter((row) => row.state === state).length;
  return { ok: of("ok"), late: of("late"), failing: of("failing"), never: of("never"), unknown: of("unknown") };
}

export function storageRow(name: string, nowWallMs: number): StorageRow {
  const isMain = name === "main";
  const totalBytes = isMain ? 8192 * GB : 20_480 * GB;
  const freeBytes = isMain ? 1900 * GB : 640 * GB;
  return {
    name,
    baseDir: `/srv/backup/${name}`,
    state: isMain ? "ok" : "low",
    code: isMain ? null : "E_DISK_LOW",
    message: isMain ? null : "less is free than its reserve of 1 TB",
    sinceWallMs: nowWallMs - 5 * HOUR_MS,
    totalBytes,
    freeBytes,
    reserveBytes: isMain ? 200 * GB : 1024 * GB,
    maxBackups: isMain ? 14 : 60,
    sessionCount: isMain ? 2 : 0,
    verifyingCount: isMain ? 1 : 0,
    scan: {
      ...{
        atWallMs: nowWallMs - 0.4 * HOUR_MS,
        durationMs: 8_120,
        archiveCount: 9_120,
        archiveBytes: totalBytes - freeBytes,
      },
      ...{ agentCount: 24, backupCount: 31, damagedCount: isMain ? 1 : 0, failure: null },
    },
    forecast: isMain ? { fullWallMs: nowWallMs + 23 * DAY_MS, bytesPerDay: 74 * GB, basisMs: 30 * DAY_MS } : null,
    freeHistory: Array.from({ length: 120 }, (_, i) => ({
      wallMs: nowWallMs - (119 - i) * 6 * HOUR_MS,
      bytes: Math.round(freeBytes + (119 - i) * 17 * GB + noise(i) * 40 * GB),
    })),
    verifying: isMain
      ? {
          storage: name,
          archive: `db-01/home/${archiveName(nowWallMs - DAY_MS)}`,
          by: "scrub",
          done: 31 * GB,
          total: 74 * GB,
        }
      : null,
  };
}

const MESSAGES: readonly (readonly [ApiEvent["level"], string, string])[] = [
  ["info", "session.ended", "backup committed: 12.4 GB in 11m 02s"],
  ["warn", "storage.low", "storage archive has 640 GB free, less than its reserve"],
  ["error", "session.ended", "the disk of storage archive is full"],
  ["info", "archive.removed", "rotation removed 2026-02-12T02-00-00-123Z.tar.gz"],
  ["info", "agent.connected", "agent is connected"],
];

export function apiEvent(n: number, nowWallMs: number): ApiEvent {
  const [level, kind, message] = MESSAGES[n % MESSAGES.length] ?? ["info", "server.started", "the server has started"];
  return {
    wallMs: Math.round(nowWallMs - n * 0.31 * HOUR_MS),
    ...{ kind, level },
    message: n === 7 ? `agent ${HOSTILE} was refused` : message,
    fields: { agent: n === 7 ? HOSTILE : agentName(n), session: uuid(1000 + n), bytes: Math.round(noise(n) * 40 * GB) },
  };
}

const OUTCOMES: readonly ApiEnd["outcome"][] = ["disk-full", "expired", "mismatch", "aborted"];

export function apiEnd(n: number, nowWallMs: number): ApiEnd {
  const failed = n % 9 === 3;
  const outcome = failed ? (OUTCOMES[Math.floor(n / 9) % OUTCOMES.length] ?? "failed") : "committed";
  const durationMs = Math.round(60_000 + noise(n) * HOUR_MS);
  const endWallMs = Math.round(nowWallMs - n * 0.23 * HOUR_MS);
  const bytes = Math.round((0.3 + noise(n + 1) * 30) * GB);
  return {
    session: uuid(1000 + n),
    agent: n === 5 ? HOSTILE : agentName(n % 24),
    backup: BACKUPS[n % BACKUPS.length] ?? "etc",
    storage: n % 3 === 0 ? "archive" : "main",
    run: uuid(5000 + n),
    outcome,
    code: failed ? "E_STORAGE_FULL" : null,
    message: failed ? `the disk of storage archive is full: ${HOSTILE}` : "",
    hint: failed ? "Remove what is not needed, or lower max_backups." : null,
    startWallMs: endWallMs - durationMs,
    ...{ endWallMs, durationMs, streams: 4, chunks: Math.round(bytes / 2 ** 20), bytes },
    duplicateBytes: n % 4 === 0 ? 34 * 1024 ** 2 : 0,
    damagedChunks: 0,
    breaks: n % 4 === 0 ? 3 : 0,
    entries: Math.round(noise(n + 2) * 800_000),
    rawBytes: bytes * 3,
    problems: n % 7 === 1 ? 12 : 0,
    archive: failed ? null : archiveName(endWallMs - durationMs),
    archiveBytes: failed ? 0 : bytes,
    sha256: failed ? null : "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    removed: [],
    verify: failed ? "none" : n % 5 === 0 ? "ok" : n % 41 === 2 ? "damaged" : "none",
    repeats: n % 27 === 3 ? 4 : 0,
  };
}

export function archiveSummary(n: number, nowWallMs: number): ArchiveSummary {
  const timeWallMs = Math.round(nowWallMs - (n + 0.3) * DAY_MS);
  const bytes = Math.round((18 - n * 0.12 + noise(n)) * GB);
  return {
    ...{ storage: "main", agent: "web-01", backup: "etc", name: archiveName(timeWallMs), timeWallMs, bytes },
    ...{ rawBytes: bytes * 2.8, entries: 412_331 - n * 210, durationMs: Math.round((9 + noise(n) * 6) * 60_000) },
    ...{
      problems: n === 3 ? 2 : 0,
      sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
      hasIndex: n !== 9,
    },
    damage: n === 5 ? "chunk 3121 (bytes 3271557120 to 3272605696) does not match its digest" : null,
  };
}

export function treeEntry(n: number, nowWallMs: number, below: string): TreeEntry {
  const name =
    n === 4
      ? HOSTILE
      : n < 4
        ? (["conf.d", "sites-enabled", "ssl", "www"][n] ?? "dir")
        : `file-${String(n).padStart(4, "0")}.conf`;
  const type = n < 4 ? "directory" : n === 6 ? "symlink" : "file";
  return {
    ...{ path: `${below}/${name}`, name, key: Buffer.from(`${below}/${name}`).toString("base64url"), type },
    ...{
      bytes: type === "file" ? Math.round(noise(n) * 1e6) : 0,
      mtimeWallMs: Math.round(nowWallMs - noise(n) * 300 * DAY_MS),
    },
    ...{
      mode: type === "directory" ? 0o755 : 0o640,
      owner: "root:adm",
      link: type === "symlink" ? "/etc/alternatives/x" : null,
    },
    flags: n === 8 ? ["changed"] : [],
    downloadable: type === "file",
  };
}

export function agentRow(n: number, nowWallMs: number): AgentRow {
  const row = backupRow(n, nowWallMs, n === 1 || n === 2 ? uuid(n) : null);
  const connected = n % 6 !== 4;
  return {
    ...{
      agent: row.agent,
      state: row.state,
      lastSeenWallMs: Math.round(nowWallMs - (connected ? 3_000 : 7 * HOUR_MS)),
    },
    channel:
      n % 8 === 7
        ? null
        : {
            ...{
              agent: row.agent,
              connected,
              lost: n === 10,
              sinceWallMs: Math.round(nowWallMs - noise(n) * 9 * DAY_MS),
            },
            ...{
              address: `192.0.2.${n % 250}:41022`,
              software: "nbackup-agent 0.1.0",
              rttMs: connected ? 3 + noise(n) * 40 : null,
            },
            ...{
              rttDeviationMs: 1.2,
              uptimeMs: Math.round(noise(n) * 30 * DAY_MS),
              cpuPercent: connected ? noise(n) * 40 : null,
            },
            ...{
              machineCpuPercent: noise(n + 1) * 90,
              residentBytes: Math.round((38 + noise(n) * 200) * 1024 ** 2),
              load: 0.4 + noise(n),
            },
            freeBytes: Math.round(noise(n) * 400 * GB),
            backupCount: 1,
            backups: [
              {
                ...{
                  backup: row.backup,
                  storage: row.storage,
                  activity: row.running === null ? "idle" : "running",
                  session: row.running,
                },
                phase: null,
                nextWallMs: row.nextWallMs,
                autoscaler: null,
                ...{ lastResult: null, lastWallMs: null, lastSuccessWallMs: null },
              },
            ],
          },
    ...{ addresses: [`192.0.2.${n % 250}`], running: row.running === null ? [] : [row.running], waitingCount: 0 },
    ...{ archiveCount: row.archiveCount, archiveBytes: row.archiveBytes, backups: [backupSummary(row)] },
  };
}

export function trafficPoints(nowWallMs: number): readonly TrafficPoint[] {
  return Array.from({ length: 360 }, (_, i) => {
    const rate = Math.round((120 + 60 * Math.sin(i / 30) + 50 * noise(i)) * 1024 ** 2);
    return {
      wallMs: nowWallMs - (359 - i) * 10_000,
      receivedRate: rate,
      writtenRate: Math.round(rate * 0.93),
      sessions: 3,
    };
  });
}

export function configAnswer(nowWallMs: number): ConfigAnswer {
  return {
    file: "/etc/nbackup/server.yaml",
    readWallMs: nowWallMs - 3 * DAY_MS,
    restartKeys: [],
    rows: [
      { key: "server.listen", value: "0.0.0.0:9847", isDefault: false, hidden: false, what: "Where agents connect." },
      {
        key: "server.max_sessions",
        value: 32,
        isDefault: true,
        hidden: false,
        what: "Sessions at a time; others wait in line.",
      },
      {
        key: "tls.key",
        value: "[hidden]",
        isDefault: false,
        hidden: true,
        what: "The private key of the server's certificate.",
      },
      {
        key: "storages.main.base_dir",
        value: "/srv/backup/main",
        isDefault: false,
        hidden: false,
        what: "Where archives lie.",
      },
      {
        key: "storages.main.max_backups",
        value: 14,
        isDefault: false,
        hidden: false,
        what: "Good archives kept of each backup.",
      },
      {
        key: "storages.main.compression",
        value: "gzip",
        isDefault: true,
        hidden: false,
        what: "Of the archives: gzip or zstd.",
      },
      { key: "web_ui.listen", value: "127.0.0.1:9848", isDefault: true, hidden: false, what: "Where this page is." },
      {
        key: "web_ui.allow_origins",
        value: ["127.0.0.0/8", "::1"],
        isDefault: true,
        hidden: false,
        what: "Who may look.",
      },
      { key: "web_ui.password_file", value: null, isDefault: true, hidden: false, what: "A hash of the password." },
    ],
  };
}
