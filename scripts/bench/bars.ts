/** The bars that the release must reach, judged by the reports of one benchmark run. Pure. */
import type { CorpusName } from "./corpora.ts";
import type { DurabilityRow } from "./durability.ts";
import type { GarbageReport } from "./garbage.ts";
import type { CorpusReport, Row } from "./report.ts";

export interface Bar {
  readonly text: string;
  readonly required: string;
  readonly measured: string;
  readonly met: boolean;
}

function rowsOf(reports: readonly CorpusReport[], corpus: CorpusName): readonly Row[] {
  return reports.find((report) => report.corpus.name === corpus)?.rows ?? [];
}

const setting = (row: Row): string => row.name.replace(/-p\d+$/, "");

/** Compares every nbackup row whose name starts so with a baseline: speed by median wall times, and size. */
function against(
  rows: readonly Row[],
  start: string,
  baseline: string,
): readonly { row: Row; speed: number; size: number }[] {
  const base = rows.find(({ name }) => name === baseline);
  if (base === undefined) return [];
  return rows
    .filter(({ name }) => name.startsWith(start))
    .map((row) => ({
      row,
      speed: base.wallSeconds.median / row.wallSeconds.median,
      size: row.archiveBytes / base.archiveBytes,
    }));
}

const GZIP_BARS: readonly { corpus: CorpusName; baseline: string; sizeMax: number; speedMin: number }[] = [
  { corpus: "source", baseline: "tar|pigz-1", sizeMax: 1, speedMin: 2 },
  { corpus: "big", baseline: "tar|pigz-1", sizeMax: 1, speedMin: 1.6 },
  { corpus: "small", baseline: "tar|pigz-1", sizeMax: 1, speedMin: 1.5 },
  { corpus: "source", baseline: "tar|pigz-6", sizeMax: 1.02, speedMin: 1.8 },
  { corpus: "big", baseline: "tar|pigz-6", sizeMax: 1.02, speedMin: 1.8 },
];

/** The fastest gzip level whose archive is small enough. */
function gzipBars(reports: readonly CorpusReport[]): readonly Bar[] {
  return GZIP_BARS.flatMap(({ corpus, baseline, sizeMax, speedMin }) => {
    const all = against(rowsOf(reports, corpus), "nbackup-gzip", baseline);
    if (all.length === 0) return [];
    const best = all.filter(({ size }) => size <= sizeMax).toSorted((a, b) => b.speed - a.speed)[0];
    return {
      text: `gzip on ${corpus}, archive at most ${sizeMax} × that of ${baseline}`,
      required: `${speedMin} × as fast`,
      measured:
        best === undefined
          ? "no level is small enough"
          : `${best.speed.toFixed(2)} × (${best.row.name}, size ${best.size.toFixed(3)})`,
      met: best !== undefined && best.speed >= speedMin,
    };
  });
}

const ZST_SIZE_MAX: Partial<Record<CorpusName, number>> = { source: 1.08, big: 1.08, small: 1.15 };
const ZST_SPEED_MIN = 1.15;

/** One zstd level for all corpora: the one whose worst corpus is best. */
function zstdBars(reports: readonly CorpusReport[]): readonly Bar[] {
  const levels = new Map<string, { speed: number; text: string }>();
  for (const { corpus } of reports) {
    for (const { row, speed, size } of against(rowsOf(reports, corpus.name), "nbackup-zst", "tar|zstd-1")) {
      const fits = size <= (ZST_SIZE_MAX[corpus.name] ?? 1.08);
      const known = levels.get(row.name) ?? { speed: Number.POSITIVE_INFINITY, text: row.name };
      levels.set(row.name, {
        speed: Math.min(known.speed, fits ? speed : 0),
        text: `${known.text}; ${corpus.name} ${speed.toFixed(2)} ×, size ${size.toFixed(3)}`,
      });
    }
  }
  const best = [...levels.values()].toSorted((a, b) => b.speed - a.speed)[0];
  if (best === undefined) return [];
  const text = "zstd, one level for all corpora, archive within 8 % of tar|zstd-1 (small: 15 %)";
  return [{ text, required: `${ZST_SPEED_MIN} × as fast`, measured: best.text, met: best.speed >= ZST_SPEED_MIN }];
}

function smallFilesBar(reports: readonly CorpusReport[]): readonly Bar[] {
  const rows = rowsOf(reports, "small").filter(({ name }) => name.startsWith("nbackup-"));
  const best = rows.toSorted((a, b) => b.filesPerSecond - a.filesPerSecond)[0];
  if (best === undefined) return [];
  const worst = rows.toSorted((a, b) => a.filesPerSecond - b.filesPerSecond)[0] ?? best;
  const measured = `${best.filesPerSecond.toFixed(0)} (${setting(best)}) down to ${worst.filesPerSecond.toFixed(0)} (${setting(worst)})`;
  return [
    { text: "small files per second, end to end", required: "40000", measured, met: best.filesPerSecond >= 40_000 },
  ];
}

function commitBar(reports: readonly CorpusReport[]): readonly Bar[] {
  const rows = rowsOf(reports, "big").filter(({ commitSeconds }) => commitSeconds !== undefined);
  const longest = Math.max(...rows.map(({ commitSeconds }) => commitSeconds?.median ?? 0));
  if (rows.length === 0) return [];
  return [
    {
      text: "last byte written to commit, 1 GB",
      required: "under 1 s",
      measured: `${longest.toFixed(2)} s (slowest median)`,
      met: longest < 1,
    },
  ];
}

/** Those bars that the corpora of this run can judge. */
export function judgeBars(reports: readonly CorpusReport[]): readonly Bar[] {
  return [...gzipBars(reports), ...zstdBars(reports), ...smallFilesBar(reports), ...commitBar(reports)];
}

const DURABLE_THROUGHPUT_MIN = 0.9;

/** The throughput that durable acknowledgements leave. */
export function judgeDurability(rows: readonly DurabilityRow[]): readonly Bar[] {
  return rows.map(({ what, ratio }) => ({
    text: `durable acknowledgements, ${what}`,
    required: "at most 10 % of throughput",
    measured: `${((1 - ratio.median) * 100).toFixed(1)} % (${percentRange(ratio.max, ratio.min)})`,
    met: ratio.median >= DURABLE_THROUGHPUT_MIN,
  }));
}

const percentRange = (best: number, worst: number): string =>
  `${((1 - best) * 100).toFixed(1)} to ${((1 - worst) * 100).toFixed(1)}`;

const BESIDE_GARBAGE_SPEED_MIN = 0.5;
const BESIDE_GARBAGE_BYTES_MAX = 300 * 2 ** 20;

/** What a crowd of strangers leaves to a backup, and what it costs. */
export function judgeGarbage({ what, ratio, serverPeakBytes }: GarbageReport): readonly Bar[] {
  return [
    {
      text: `backup beside garbage, ${what}`,
      required: "half its speed",
      measured: `${ratio.median.toFixed(2)} × (${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)})`,
      met: ratio.median >= BESIDE_GARBAGE_SPEED_MIN,
    },
    {
      text: "server fed garbage, peak memory",
      required: "under 300 MB",
      measured: `${(serverPeakBytes / 2 ** 20).toFixed(0)} MB`,
      met: serverPeakBytes < BESIDE_GARBAGE_BYTES_MAX,
    },
  ];
}
