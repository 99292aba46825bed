/** Sessions for tests of the page: running ones at any turn, their slots, and one in all detail. */
import type { LiveSession, SessionDetail, SlotRow } from "#web/api-types.ts";
import {
  agentName,
  apiEnd,
  apiEvent,
  archiveSummary,
  BACKUPS,
  GB,
  HOSTILE,
  noise,
  uuid,
} from "#test/support/page-fixtures.ts";

export function liveSession(n: number, nowWallMs: number, turn = 0): LiveSession {
  const startWallMs = nowWallMs - (n * 7 + 12) * 60_000;
  const done = (n * 4 + 5) * GB + turn * 80 * 1024 ** 2;
  const expected = (n * 9 + 9) * GB;
  const rate = Math.round((60 + 50 * noise(n * 1000 + turn)) * 1024 ** 2);
  return {
    ...{
      session: uuid(n),
      agent: n === 2 ? HOSTILE : agentName(n),
      backup: BACKUPS[n % BACKUPS.length] ?? "etc",
      storage: "main",
    },
    ...{
      run: uuid(6000 + n),
      state: n === 4 ? "parked" : "receiving",
      startWallMs,
      durationMs: nowWallMs - startWallMs,
    },
    ...{ parallels: 8, connections: ["192.0.2.7:41022"], chunks: Math.round(done / 2 ** 20), bytes: done },
    ...{
      duplicateBytes: n * 12 * 1024 ** 2,
      damagedChunks: 0,
      breaks: n,
      entries: 120_000 * n + turn * 900,
      rawBytes: done * 2.7,
    },
    ...{ expectedBytes: expected, backlogBytes: 3 * 1024 ** 2, stalled: n === 3 },
    phase: n === 4 ? "parked" : n === 5 ? "assembling" : "receiving",
    phaseDone: n === 5 ? 3 * GB : null,
    phaseTotal: n === 5 ? 8 * GB : null,
    progress: n === 6 ? null : Math.min(0.99, done / expected),
    etaMs: n === 6 ? null : Math.round(((expected - done) / rate) * 1000),
    receivedRate: n === 4 ? 0 : rate,
    writtenRate: Math.round(rate * 0.95),
    streamsUp: n === 4 ? 0 : 6,
    slotCount: 8,
  };
}

export function slotRow(slot: number, turn = 0): SlotRow {
  const state = slot % 13 === 12 ? "disconnected" : slot % 5 === 4 ? "idle" : "receiving";
  return {
    ...{ slot, state, generation: 1 + (slot % 3), bytes: Math.round((0.4 + noise(slot)) * 2 * GB + turn * 12e6) },
    bytesPerSecond: state === "receiving" ? Math.round((8 + 6 * noise(slot * 77 + turn)) * 1024 ** 2) : 0,
    chunks: 400 + slot * 7 + turn * 12,
    duplicateChunks: slot % 3,
    reconnects: slot % 3,
    rotations: slot % 4,
    rttMs: Math.round((4 + noise(slot) * 40) * 10) / 10,
    parked: slot === 7,
  };
}

export function sessionDetail(n: number, nowWallMs: number, slotCount: number): SessionDetail {
  const live = n < 1000;
  const view = liveSession(live ? n : 1, nowWallMs);
  const record = live ? null : apiEnd(n - 1000, nowWallMs);
  const startWallMs = record?.startWallMs ?? view.startWallMs;
  const endWallMs = record?.endWallMs ?? nowWallMs;
  const at = (part: number): number => Math.round(startWallMs + (endWallMs - startWallMs) * part);
  const points = 300;
  return {
    ...{ nowWallMs, session: uuid(n), agent: record?.agent ?? view.agent, backup: record?.backup ?? view.backup },
    storage: record?.storage ?? view.storage,
    live: live ? view : null,
    record,
    slots: live ? Array.from({ length: slotCount }, (_, slot) => slotRow(slot)) : [],
    autoscaler: live
      ? { mode: "adaptive", active: Math.ceil(slotCount * 0.7), max: slotCount, state: "growing", rate: 1.12 }
      : null,
    windowBytes: 256 * 1024 ** 2,
    phases: live
      ? [
          { phase: "receiving", startWallMs, endWallMs: at(0.4) },
          { phase: "parked", startWallMs: at(0.4), endWallMs: at(0.46) },
          { phase: "receiving", startWallMs: at(0.46), endWallMs: null },
        ]
      : [
          { phase: "receiving", startWallMs, endWallMs: at(0.86) },
          { phase: "hashing", startWallMs: at(0.86), endWallMs: at(0.93) },
          { phase: "committing", startWallMs: at(0.93), endWallMs: at(0.95) },
          { phase: "rotating", startWallMs: at(0.95), endWallMs },
        ],
    series: Array.from({ length: points }, (_, i) => seriesPoint(i, at(i / points))),
    seriesStepMs: 2_000,
    events: Array.from({ length: 6 }, (_, i) => apiEvent(i, endWallMs)).reverse(),
    archive: record?.archive == null ? null : archiveSummary(0, endWallMs),
  };
}

export function seriesPoint(i: number, wallMs: number): SessionDetail["series"][number] {
  const parked = i > 120 && i < 138;
  const rate = parked ? 0 : Math.round((70 + 40 * noise(i) + 20 * Math.sin(i / 20)) * 1024 ** 2);
  return {
    ...{ wallMs, receivedRate: rate, writtenRate: Math.round(rate * (0.8 + 0.3 * noise(i + 5))), bytes: i * 160e6 },
    backlogBytes: Math.round(noise(i + 9) * 30 * 1024 ** 2),
    windowUsedBytes: Math.round((90 + 120 * noise(Math.floor(i / 5))) * 1024 ** 2),
    streamsUp: parked ? 0 : 6,
    rttMs: 12 + noise(i) * 5,
  };
}
