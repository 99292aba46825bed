/** A compiled server whose past is as large as the page must bear: 1,000 agents, 10,000 ended sessions and 10,000 events. */
import { mkdirSync, writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import type { EventRecord, SessionRecord } from "#observe/records.ts";
import { PageSite } from "#test/support/page-site.ts";
import { STORAGE } from "#test/support/site.ts";

export const AGENTS = 1_000;
export const ROWS = 10_000;
const HOUR_MS = 3_600_000;

function uuid(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
}

/** One end in a hundred is a failure. Each agent has ten nights. */
function ended(n: number, nowWallMs: number): SessionRecord {
  const agent = `host-${String(n % AGENTS).padStart(4, "0")}`;
  const endWallMs = nowWallMs - HOUR_MS - (ROWS - n) * ((10 * 24 * HOUR_MS) / ROWS);
  const failed = n % 100 === 99;
  const bytes = (50 + (n % 7) * 10) * MiB;
  return {
    ...{ session: uuid(n), agent, backup: "home", storage: STORAGE, run: uuid(n + ROWS) },
    ...{ outcome: failed ? "disk-full" : "committed", code: failed ? "E_DISK_FULL" : null },
    ...{ message: failed ? "the disk is full" : "committed", hint: failed ? "Make room on the disk." : null },
    ...{ startWallMs: endWallMs - 90_000, endWallMs, durationMs: 90_000, streams: 4, chunks: 60, bytes },
    ...{ duplicateBytes: 0, damagedChunks: 0, breaks: n % 9, entries: 12_000, rawBytes: 3 * bytes, problems: 0 },
    ...{
      archive: failed ? null : `${agent}/home/${new Date(endWallMs).toISOString().replaceAll(/[:.]/g, "-")}.tar.gz`,
    },
    ...{ archiveBytes: failed ? 0 : bytes, sha256: failed ? null : "ab".repeat(32), removed: [] },
    ...{ verify: "none", repeats: 0 },
  };
}

function happened({ endWallMs, agent, backup, storage, session, outcome, message }: SessionRecord): EventRecord {
  const good = outcome === "committed";
  const kind = good ? "session.committed" : "session.ended";
  const fields = { agent, backup, storage, session };
  return { wallMs: endWallMs, kind, level: good ? "info" : "error", message: `${agent}/${backup}: ${message}`, fields };
}

/** Started, with its past read. */
export async function largeSite(): Promise<PageSite> {
  const site = await PageSite.make();
  const state = site.site.at("state");
  mkdirSync(state, { recursive: true });
  const nowWallMs = Date.now();
  const ends = Array.from({ length: ROWS }, (_, n) => ended(n, nowWallMs));
  const lines = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  writeFileSync(`${state}/session-history.jsonl`, lines(ends), { mode: 0o600 });
  writeFileSync(`${state}/events.jsonl`, lines(ends.map(happened)), { mode: 0o600 });
  await site.start({ webUi: { session_history_max_lines: 2 * ROWS, events_max_lines: 2 * ROWS } });
  return site;
}
