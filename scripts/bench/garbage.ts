/**
 * A backup beside a crowd that sends the server garbage (garbage-load.ts), against the same backup in peace, in alternating
 * pairs; and the server's memory when the crowd stays for a minute. The crowd runs on the same machine: what it takes of
 * the processor itself is told.
 */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { BUN, mustRun, Sentence } from "#scripts/lib/run.ts";
import type { BenchContext } from "./contender.ts";
import { type Corpus, ensureCorpus, warm } from "./corpora.ts";
import type { LoadReport } from "./garbage-load.ts";
import { cpuOfRunning, peakOfRunning, startMeasured } from "./measure.ts";
import { agentCommand, type RunningServer, type Setup, startBenchServer } from "./nbackup.ts";
import { pairedRatio, summarize, type Summary } from "./statistics.ts";

export interface GarbageReport {
  readonly what: string;
  readonly peacefulSeconds: Summary;
  readonly besideSeconds: Summary;
  /** Speed beside the crowd by speed in peace, pair by pair. */
  readonly ratio: Summary;
  /** The most the server ever held, in all runs and the minute alone. */
  readonly serverPeakBytes: number;
  /** Of one core, by the server while only the crowd was there. */
  readonly serverCpuShare: number;
  readonly crowdCpuShare: number;
  /** Of the minute alone. */
  readonly load: LoadReport;
}

const SETUP: Setup = { mode: "gzip", level: 1, streams: 4 };
const ALONE_SECONDS = 60;

interface Crowd {
  readonly pid: number;
  disperse(): Promise<LoadReport>;
}

async function gather(context: BenchContext, port: number): Promise<Crowd> {
  const { ca, agentCert, agentKey } = context.certificates;
  const script = path.join(import.meta.dir, "garbage-load.ts");
  const child = Bun.spawn([BUN, script, String(port), ca, agentCert, agentKey], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = child.stdout.getReader();
  let said = "";
  const read = async (): Promise<boolean> => {
    const { value, done } = await reader.read();
    said += new TextDecoder().decode(value);
    return !done;
  };
  while (!said.includes("ready")) if (!(await read())) throw new Sentence("The crowd ended before it was there.");
  return {
    pid: child.pid,
    disperse: async () => {
      child.kill("SIGTERM");
      while (await read());
      const line = said.split("\n").find((text) => text.startsWith("{"));
      if (line === undefined) throw new Sentence("The crowd did not say what it did.");
      return JSON.parse(line) as LoadReport;
    },
  };
}

async function withServer<T>(
  corpus: Corpus,
  context: BenchContext,
  use: (running: RunningServer) => Promise<T>,
): Promise<T> {
  await rm(context.scratch, { recursive: true, force: true });
  await mkdir(context.scratch, { recursive: true });
  await mustRun(["sync"]);
  const running = await startBenchServer(corpus, context, SETUP);
  try {
    return await use(running);
  } finally {
    await running.server.stop();
  }
}

interface OneRun {
  readonly seconds: number;
  readonly peakBytes: number;
}

function backUp(corpus: Corpus, context: BenchContext, crowded: boolean): Promise<OneRun> {
  return withServer(corpus, context, async (running) => {
    const crowd = crowded ? await gather(context, running.port) : undefined;
    const started = performance.now();
    const agent = await startMeasured("nbackup-agent", agentCommand(running, 0));
    await agent.done;
    const seconds = (performance.now() - started) / 1000;
    await crowd?.disperse();
    return { seconds, peakBytes: peakOfRunning(running.server.pid) };
  });
}

interface Alone {
  readonly peakBytes: number;
  readonly serverCpuShare: number;
  readonly crowdCpuShare: number;
  readonly load: LoadReport;
}

function crowdAlone(corpus: Corpus, context: BenchContext): Promise<Alone> {
  return withServer(corpus, context, async (running) => {
    const crowd = await gather(context, running.port);
    const pids = [running.server.pid, crowd.pid];
    const before = pids.map(cpuOfRunning);
    await Bun.sleep(ALONE_SECONDS * 1000);
    const [server = 0, own = 0] = pids.map((pid, index) => (cpuOfRunning(pid) - (before[index] ?? 0)) / ALONE_SECONDS);
    const load = await crowd.disperse();
    return { peakBytes: peakOfRunning(running.server.pid), serverCpuShare: server, crowdCpuShare: own, load };
  });
}

export async function measureGarbage(context: BenchContext, runs: number): Promise<GarbageReport> {
  const corpus = await ensureCorpus("big");
  await warm(corpus);
  const [peaceful, beside]: [OneRun[], OneRun[]] = [[], []];
  for (let round = 0; round < runs; round += 1) {
    for (const crowded of round % 2 === 0 ? [false, true] : [true, false]) {
      const run = await backUp(corpus, context, crowded);
      (crowded ? beside : peaceful).push(run);
      const megabytes = (run.peakBytes / 2 ** 20).toFixed(0);
      const how = crowded ? "beside the crowd" : "in peace";
      console.error(`${round + 1}/${runs} ${how.padEnd(18)} ${run.seconds.toFixed(2)} s, server ${megabytes} MB`);
    }
  }
  const alone = await crowdAlone(corpus, context);
  await rm(context.scratch, { recursive: true, force: true });
  const seconds = (all: readonly OneRun[]): readonly number[] => all.map((run) => run.seconds);
  return {
    what: `${SETUP.mode} ${SETUP.level}, parallels ${SETUP.streams}, ${corpus.name}`,
    peacefulSeconds: summarize(seconds(peaceful)),
    besideSeconds: summarize(seconds(beside)),
    ratio: pairedRatio(seconds(peaceful), seconds(beside)),
    serverPeakBytes: Math.max(alone.peakBytes, ...beside.map(({ peakBytes }) => peakBytes)),
    serverCpuShare: alone.serverCpuShare,
    crowdCpuShare: alone.crowdCpuShare,
    load: alone.load,
  };
}
