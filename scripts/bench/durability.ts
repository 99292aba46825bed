/**
 * What durable acknowledgements cost: the same backup into a server that syncs, as it always does, and into one whose
 * every sync is made nothing by libeatmydata, in alternating pairs on a real disk. A trace proves first that the library
 * reaches the server's calls and that without it there are some.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Sentence } from "#scripts/lib/run.ts";
import type { BenchContext, Contender } from "./contender.ts";
import { type Corpus, ensureCorpus } from "./corpora.ts";
import { runNbackup, type Setup } from "./nbackup.ts";
import { runRounds } from "./rounds.ts";
import { pairedRatio, summarize, type Summary } from "./statistics.ts";

export interface DurabilityRow {
  readonly what: string;
  readonly syncedSeconds: Summary;
  readonly unsyncedSeconds: Summary;
  /** Throughput with syncs by that without, pair by pair. */
  readonly ratio: Summary;
}

const STREAMS = 4;
const KINDS = [
  { mode: "gzip", level: 1 },
  { mode: "zst", level: 1 },
] as const;
const UNSYNCED: readonly string[] = ["eatmydata"];
const SYNC_CALLS = "fsync,fdatasync,sync_file_range,syncfs,sync";

function contender(name: string, setup: Setup): Contender {
  return { name, description: name, baseline: undefined, run: (corpus, context) => runNbackup(corpus, context, setup) };
}

/** How many calls of the server sync something during one backup. */
async function countSyncs(corpus: Corpus, context: BenchContext, prefix: readonly string[]): Promise<number> {
  const directory = await mkdtemp(path.join(tmpdir(), "nbackup-bench-"));
  const trace = path.join(directory, "trace");
  try {
    await rm(context.scratch, { recursive: true, force: true });
    await mkdir(context.scratch, { recursive: true });
    const strace = ["strace", "-f", "-qq", "-e", `trace=${SYNC_CALLS}`, "-e", "signal=none", "-o", trace];
    await runNbackup(corpus, context, { ...KINDS[0], streams: STREAMS, serverPrefix: [...strace, ...prefix] });
    return (await Bun.file(trace).text()).split("\n").filter((line) => line !== "").length;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function prove(context: BenchContext): Promise<void> {
  const corpus = await ensureCorpus("source");
  const [synced, unsynced] = [await countSyncs(corpus, context, []), await countSyncs(corpus, context, UNSYNCED)];
  console.error(`syncs of the server in one backup: ${synced}, with libeatmydata ${unsynced}`);
  if (synced > 0 && unsynced === 0) return;
  throw new Sentence(
    `libeatmydata does not do what it is here for: ${synced} syncs without it, ${unsynced} with it. Nothing was measured.`,
  );
}

/** `runs` pairs of each kind. */
export async function measureDurability(context: BenchContext, runs: number): Promise<readonly DurabilityRow[]> {
  await prove(context);
  const corpus = await ensureCorpus("big");
  const rows: DurabilityRow[] = [];
  for (const kind of KINDS) {
    const setup: Setup = { ...kind, streams: STREAMS };
    const what = `${kind.mode} ${kind.level}, parallels ${STREAMS}, ${corpus.name}`;
    const pair = [
      contender(`${kind.mode} synced`, setup),
      contender(`${kind.mode} unsynced`, { ...setup, serverPrefix: UNSYNCED }),
    ];
    const samples = await runRounds(pair, corpus, context, runs);
    const [synced = [], unsynced = []] = samples.map(({ outcomes }) => outcomes.map(({ wallSeconds }) => wallSeconds));
    rows.push({
      what,
      syncedSeconds: summarize(synced),
      unsyncedSeconds: summarize(unsynced),
      ratio: pairedRatio(unsynced, synced),
    });
  }
  return rows;
}
