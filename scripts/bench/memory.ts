/**
 * How much memory the two programs take: idle, with a window that is full because the line is slow, with a million files
 * in one directory, and in the server with more sessions beside each other.
 */
import { mkdir, rm } from "node:fs/promises";
import type { BenchContext } from "./contender.ts";
import { type Corpus, ensureCorpus } from "./corpora.ts";
import { cpuOfRunning, peakOfRunning, residentOfRunning, startMeasured } from "./measure.ts";
import { agentCommand, type Setup, startBenchServer } from "./nbackup.ts";

export interface MemoryRow {
  readonly text: string;
  readonly required: string;
  readonly bytes: number;
  readonly met: boolean;
}

const MiB = 2 ** 20;
const AGENT_OVER_BUFFER_BYTES_MAX = 120 * MiB;
const SERVER_BYTES_MAX = 150 * MiB;
const SERVER_PER_SESSION_BYTES_MAX = 16 * MiB;
const FURTHER_SESSIONS = 4;
const IDLE_SECONDS = 10;

const SETUP: Setup = { mode: "gzip", level: 1, streams: 4 };

async function fresh(context: BenchContext): Promise<void> {
  await rm(context.scratch, { recursive: true, force: true });
  await mkdir(context.scratch, { recursive: true });
}

/** The highest resident memory of one agent's run, and of the server during it. */
async function peaks(corpus: Corpus, context: BenchContext, setup: Setup): Promise<{ agent: number; server: number }> {
  await fresh(context);
  const running = await startBenchServer(corpus, context, setup);
  try {
    const entries = Array.from({ length: setup.entryCount ?? 1 }, (_, index) => index);
    const started = await Promise.all(
      entries.map((entry) => startMeasured("nbackup-agent", agentCommand(running, entry))),
    );
    const usages = await Promise.all(started.map(({ done }) => done));
    const agent = Math.max(...usages.map(({ peakBytes }) => peakBytes));
    return { agent, server: peakOfRunning(running.server.pid) };
  } finally {
    await running.server.stop();
  }
}

async function idleServer(corpus: Corpus, context: BenchContext): Promise<readonly MemoryRow[]> {
  await fresh(context);
  const running = await startBenchServer(corpus, context, SETUP);
  try {
    await Bun.sleep(2000);
    const before = cpuOfRunning(running.server.pid);
    await Bun.sleep(IDLE_SECONDS * 1000);
    const percent = ((cpuOfRunning(running.server.pid) - before) / IDLE_SECONDS) * 100;
    const bytes = residentOfRunning(running.server.pid);
    return [
      {
        text: `server, idle (${percent.toFixed(1)} % CPU over ${IDLE_SECONDS} s)`,
        required: "say it",
        bytes,
        met: true,
      },
    ];
  } finally {
    await running.server.stop();
  }
}

async function agentRows(
  corpus: Corpus,
  context: BenchContext,
  bandwidthLimit: string | undefined,
): Promise<readonly MemoryRow[]> {
  const rows: MemoryRow[] = [];
  for (const bufferMiB of [64, 256]) {
    const limit = bandwidthLimit === undefined ? {} : { bandwidthLimit };
    const { agent } = await peaks(corpus, context, { ...SETUP, bufferSize: `${bufferMiB}mb`, ...limit });
    const most = bufferMiB * MiB + AGENT_OVER_BUFFER_BYTES_MAX;
    const slow = bandwidthLimit === undefined ? "" : `, line of ${bandwidthLimit}/s`;
    rows.push({
      text: `agent, ${corpus.name}, buffer_size ${bufferMiB} MB${slow}`,
      required: `at most ${most / MiB} MB`,
      bytes: agent,
      met: agent <= most,
    });
  }
  return rows;
}

async function serverRows(corpus: Corpus, context: BenchContext): Promise<readonly MemoryRow[]> {
  const one = await peaks(corpus, context, SETUP);
  const many = await peaks(corpus, context, { ...SETUP, bufferSize: "128mb", entryCount: 1 + FURTHER_SESSIONS });
  const each = (many.server - one.server) / FURTHER_SESSIONS;
  return [
    {
      text: `server, one session, ${corpus.name}`,
      required: "at most 150 MB",
      bytes: one.server,
      met: one.server <= SERVER_BYTES_MAX,
    },
    {
      text: `server, each of ${FURTHER_SESSIONS} further sessions beside it`,
      required: "at most 16 MB",
      bytes: each,
      met: each <= SERVER_PER_SESSION_BYTES_MAX,
    },
  ];
}

/** All of it. `bigger` corpora take minutes: the million files must be made first. */
export async function measureMemory(context: BenchContext): Promise<readonly MemoryRow[]> {
  const [big, source, million] = [
    await ensureCorpus("big"),
    await ensureCorpus("source"),
    await ensureCorpus("million"),
  ];
  return [
    ...(await idleServer(source, context)),
    ...(await agentRows(source, context, undefined)),
    // Slow enough that the window fills, whatever the machine.
    ...(await agentRows(big, context, "25mb")),
    ...(await agentRows(million, context, undefined)),
    ...(await serverRows(big, context)),
  ];
}
