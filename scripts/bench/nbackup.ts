/**
 * nbackup as a contender: compiled agent and server, both on this machine, one session into a fresh storage. The server
 * runs before the clock starts, as it does in life; all CPU it uses from its start to the answer counts.
 */
import { mkdir, readdir, stat } from "node:fs/promises";
import path from "node:path";
import { stringify } from "yaml";
import { type Background, freePort, startServer } from "#scripts/lib/background.ts";
import { nativeExecutable } from "#scripts/lib/executables.ts";
import { Sentence } from "#scripts/lib/run.ts";
import { BENCH_AGENT } from "./certificates.ts";
import type { BenchContext, Contender, Outcome } from "./contender.ts";
import type { Corpus } from "./corpora.ts";
import { cpuOfRunning, peakOfRunning, startMeasured, type Usage } from "./measure.ts";

export interface Setup {
  readonly mode: "gzip" | "zst";
  readonly level: number;
  readonly streams: number;
  /** `resume.buffer_size`; the default when absent. */
  readonly bufferSize?: string;
  readonly bandwidthLimit?: string;
  /** Whether the streams begin with one and follow the need; the default when absent. */
  readonly autoScaler?: boolean;
  /** Entries of equal sources, so that several agents can run beside each other. */
  readonly entryCount?: number;
  /** Runs the server's executable with its arguments behind it: an environment, a tracer. */
  readonly serverPrefix?: readonly string[];
}

export interface RunningServer {
  readonly port: number;
  readonly agentConfig: string;
  readonly storage: string;
  /** CPU and peak memory so far. */
  usage(): Usage;
  readonly server: Background;
}

const STORAGE = "bench";

/** Name of the backup entry number `index`. */
function entryName(index: number): string {
  return `entry-${index}`;
}

async function writeConfigs(
  corpus: Corpus,
  context: BenchContext,
  setup: Setup,
  port: number,
): Promise<{ server: string; agent: string; storage: string }> {
  const at = (name: string): string => path.join(context.scratch, name);
  const { ca, serverCert, serverKey, agentCert, agentKey } = context.certificates;
  const entries = Array.from({ length: setup.entryCount ?? 1 }, (_, index) => ({
    name: entryName(index),
    storage: STORAGE,
    sources: [{ path: corpus.directory }],
    parallels: setup.streams,
    ...(setup.bandwidthLimit === undefined ? {} : { bandwidth_limit: setup.bandwidthLimit }),
    ...(setup.autoScaler === undefined ? {} : { auto_scaler: { enabled: setup.autoScaler } }),
  }));
  const server = {
    server: { listen: `127.0.0.1:${port}`, state_dir: at("state") },
    tls: { ca_cert: ca, server_cert: serverCert, server_key: serverKey },
    storages: {
      [STORAGE]: {
        base_dir: at("storage"),
        max_backups: 3,
        compression_mode: setup.mode,
        compression_level: setup.level,
      },
    },
    logging: { level: "info", format: "json" },
  };
  const agent = {
    agent: { name: BENCH_AGENT },
    server: { address: `127.0.0.1:${port}` },
    tls: { ca_cert: ca, client_cert: agentCert, client_key: agentKey },
    backups: entries,
    // The others run with the usual priority too.
    resources: { nice: 0 },
    ...(setup.bufferSize === undefined ? {} : { resume: { buffer_size: setup.bufferSize } }),
    logging: { level: "warn", format: "json" },
  };
  await mkdir(context.scratch, { recursive: true });
  await Bun.write(at("server.yaml"), stringify(server));
  await Bun.write(at("agent.yaml"), stringify(agent));
  return { server: at("server.yaml"), agent: at("agent.yaml"), storage: at("storage") };
}

/** Starts a server with an empty storage in the scratch directory. The caller stops it. */
export async function startBenchServer(corpus: Corpus, context: BenchContext, setup: Setup): Promise<RunningServer> {
  const port = freePort();
  const configs = await writeConfigs(corpus, context, setup, port);
  const command = [...(setup.serverPrefix ?? []), nativeExecutable("server"), "--config", configs.server];
  const server = await startServer(command, port, path.join(context.scratch, "server.log"));
  return {
    ...{ port, agentConfig: configs.agent, storage: configs.storage, server },
    usage: () => ({
      name: "nbackup-server",
      cpuSeconds: cpuOfRunning(server.pid),
      peakBytes: peakOfRunning(server.pid),
    }),
  };
}

/** The arguments of one run of the agent. */
export function agentCommand(running: RunningServer, entry: number): readonly string[] {
  return [nativeExecutable("agent"), "--config", running.agentConfig, "--once", "--backup", entryName(entry), "--json"];
}

async function onlyArchive(running: RunningServer): Promise<string> {
  const directory = path.join(running.storage, BENCH_AGENT, entryName(0));
  const archive = (await readdir(directory)).find((name) => /\.tar\.(gz|zst)$/.test(name));
  if (archive === undefined) throw new Sentence(`nbackup left no archive in ${directory}.`);
  return path.join(directory, archive);
}

/** One run into a fresh server. */
export async function runNbackup(corpus: Corpus, context: BenchContext, setup: Setup): Promise<Outcome> {
  const running = await startBenchServer(corpus, context, setup);
  try {
    const started = performance.now();
    const agent = await startMeasured("nbackup-agent", agentCommand(running, 0));
    const usage = await agent.done;
    const wallSeconds = (performance.now() - started) / 1000;
    const endedMs = Date.now();
    const processes = [usage, running.usage()];
    const archive = await onlyArchive(running);
    const { size, mtimeMs } = await stat(archive);
    // The archive's own modification time is that of the last chunk written into it.
    return { wallSeconds, processes, archiveBytes: size, archive, commitSeconds: (endedMs - mtimeMs) / 1000 };
  } finally {
    await running.server.stop();
  }
}

const NAME = /^nbackup-(gzip|zst)(\d+)-p(\d+)$/;

/** The contender of a name such as `nbackup-gzip6-p4`: mode, level, `parallels`; undefined for other names. */
export function nbackupContender(name: string): Contender | undefined {
  const match = NAME.exec(name);
  if (match === null) return undefined;
  const mode = match[1] === "gzip" ? "gzip" : "zst";
  const [level, streams] = [Number(match[2]), Number(match[3])];
  const slower = mode === "gzip" ? level >= 5 : level >= 3;
  const baselines = { gzip: ["tar|pigz-1", "tar|pigz-6"], zst: ["tar|zstd-1", "tar|zstd-3"] } as const;
  return {
    name,
    description: `nbackup, ${mode} level ${level}, parallels: ${streams}`,
    baseline: baselines[mode][slower ? 1 : 0],
    run: (corpus, context) => runNbackup(corpus, context, { mode, level, streams }),
  };
}

/** What runs unless --only says otherwise. */
export const NBACKUP_NAMES: readonly string[] = [
  "nbackup-gzip1-p1",
  "nbackup-gzip1-p4",
  "nbackup-gzip5-p1",
  "nbackup-gzip6-p1",
  "nbackup-zst1-p1",
  "nbackup-zst1-p4",
  "nbackup-zst3-p1",
];
