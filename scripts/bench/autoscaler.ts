/**
 * What the autoscaler costs a short backup: it begins with one stream, so a backup that is over in two seconds may end before it has
 * those that would have helped. The same half a gigabyte with it and without it, in alternating pairs over loopback, where no number of
 * streams is needed.
 */
import { loadavg } from "node:os";
import type { BenchContext, Contender } from "./contender.ts";
import { ensureCorpus } from "./corpora.ts";
import { runNbackup, type Setup } from "./nbackup.ts";
import { runRounds } from "./rounds.ts";
import { pairedRatio, summarize, type Summary } from "./statistics.ts";

export interface AutoscalerRow {
  readonly what: string;
  readonly onSeconds: Summary;
  readonly offSeconds: Summary;
  /** Wall time with it by that without, pair by pair. */
  readonly ratio: Summary;
  /** Load averages over one minute, before and after. */
  readonly load: readonly [number, number];
}

const PARALLELS = [4, 8] as const;
const KINDS = [
  { mode: "gzip", level: 1 },
  { mode: "zst", level: 1 },
] as const;

function contender(name: string, setup: Setup): Contender {
  return { name, description: name, baseline: undefined, run: (corpus, context) => runNbackup(corpus, context, setup) };
}

const load = (): number => loadavg()[0] ?? Number.NaN;

/** `runs` pairs for each kind and number of streams. */
export async function measureAutoscaler(context: BenchContext, runs: number): Promise<readonly AutoscalerRow[]> {
  const corpus = await ensureCorpus("half");
  const rows: AutoscalerRow[] = [];
  for (const kind of KINDS) {
    for (const streams of PARALLELS) {
      const setup: Setup = { ...kind, streams };
      const pair = [
        contender(`${kind.mode} p${streams} on`, { ...setup, autoScaler: true }),
        contender(`${kind.mode} p${streams} off`, { ...setup, autoScaler: false }),
      ];
      const before = load();
      const samples = await runRounds(pair, corpus, context, runs);
      const [on = [], off = []] = samples.map(({ outcomes }) => outcomes.map(({ wallSeconds }) => wallSeconds));
      rows.push({
        what: `${kind.mode} ${kind.level}, parallels ${streams}`,
        onSeconds: summarize(on),
        offSeconds: summarize(off),
        ratio: pairedRatio(on, off),
        load: [before, load()],
      });
    }
  }
  return rows;
}

/** Cells of the report's table. */
export function autoscalerCells(rows: readonly AutoscalerRow[]): readonly (readonly string[])[] {
  const spread = ({ median, min, max }: Summary): string =>
    `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
  return rows.map(({ what, onSeconds, offSeconds, ratio, load: [before, after] }) => [
    ...[what, spread(onSeconds), spread(offSeconds), spread(ratio)],
    `${before.toFixed(1)} to ${after.toFixed(1)}`,
  ]);
}
