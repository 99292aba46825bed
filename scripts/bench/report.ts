/** The table for people and the object for programs, out of the samples. Pure. */
import type { Outcome } from "./contender.ts";
import type { Corpus } from "./corpora.ts";
import type { Usage } from "./measure.ts";
import type { Samples } from "./rounds.ts";
import { median, pairedRatio, summarize, type Summary } from "./statistics.ts";

export interface Row {
  readonly name: string;
  readonly description: string;
  readonly wallSeconds: Summary;
  readonly cpuSeconds: Summary;
  readonly archiveBytes: number;
  /** Medians of the peak of each process. */
  readonly peaks: readonly { readonly name: string; readonly peakBytes: number }[];
  readonly bytesPerSecond: number;
  readonly filesPerSecond: number;
  readonly commitSeconds: Summary | undefined;
  readonly baseline: string | undefined;
  /** How many times as fast as the baseline, round by round. */
  readonly speedup: Summary | undefined;
  /** Archive size by the baseline's. */
  readonly sizeRatio: number | undefined;
}

export interface CorpusReport {
  readonly corpus: Corpus;
  readonly rounds: number;
  readonly rows: readonly Row[];
}

const walls = (samples: Samples): readonly number[] => samples.outcomes.map(({ wallSeconds }) => wallSeconds);
const sizeOf = (samples: Samples): number => median(samples.outcomes.map(({ archiveBytes }) => archiveBytes));

function cpuOf(outcome: Outcome): number {
  return outcome.processes.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
}

function peaksOf(samples: Samples): Row["peaks"] {
  const names = samples.outcomes[0]?.processes.map(({ name }) => name) ?? [];
  const at = (name: string): readonly Usage[] =>
    samples.outcomes.flatMap(({ processes }) => processes.filter((usage) => usage.name === name));
  return names.map((name) => ({ name, peakBytes: median(at(name).map(({ peakBytes }) => peakBytes)) }));
}

function makeRow(samples: Samples, all: readonly Samples[], corpus: Corpus): Row {
  const { contender, outcomes } = samples;
  const base = all.find((other) => other.contender.name === contender.baseline);
  const wallSeconds = summarize(walls(samples));
  const commits = outcomes.flatMap(({ commitSeconds }) => commitSeconds ?? []);
  return {
    name: contender.name,
    description: contender.description,
    wallSeconds,
    cpuSeconds: summarize(outcomes.map(cpuOf)),
    archiveBytes: sizeOf(samples),
    peaks: peaksOf(samples),
    bytesPerSecond: corpus.bytes / wallSeconds.median,
    filesPerSecond: corpus.files / wallSeconds.median,
    commitSeconds: commits.length === 0 ? undefined : summarize(commits),
    baseline: base?.contender.name,
    speedup: base === undefined ? undefined : pairedRatio(walls(base), walls(samples)),
    sizeRatio: base === undefined ? undefined : sizeOf(samples) / sizeOf(base),
  };
}

export function reportCorpus(corpus: Corpus, samples: readonly Samples[]): CorpusReport {
  const rounds = samples[0]?.outcomes.length ?? 0;
  return { corpus, rounds, rows: samples.map((one) => makeRow(one, samples, corpus)) };
}

const HEAD = [
  "contender",
  "wall s",
  "min-max",
  "MB/s",
  "files/s",
  "CPU s",
  "archive MB",
  "peak MB, each process",
  "speed",
  "size",
];
const MB = 1e6;
const fixed = (value: number, digits: number): string => (Number.isFinite(value) ? value.toFixed(digits) : "");

function cells(row: Row): readonly string[] {
  const { wallSeconds: wall, speedup } = row;
  const against = row.baseline === undefined ? "" : ` × ${row.baseline}`;
  return [
    row.name,
    fixed(wall.median, 2),
    `${fixed(wall.min, 2)}-${fixed(wall.max, 2)}`,
    fixed(row.bytesPerSecond / MB, 0),
    fixed(row.filesPerSecond, 0),
    fixed(row.cpuSeconds.median, 2),
    fixed(row.archiveBytes / MB, 1),
    row.peaks.map(({ name, peakBytes }) => `${name} ${fixed(peakBytes / MB, 0)}`).join(", "),
    speedup === undefined
      ? ""
      : `${fixed(speedup.median, 2)}${against} (${fixed(speedup.min, 2)}-${fixed(speedup.max, 2)})`,
    row.sizeRatio === undefined ? "" : fixed(row.sizeRatio, 3),
  ];
}

/** A Markdown table with aligned columns. `|` inside a cell is escaped. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0), 3));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(all[0] ?? []), rule, ...all.slice(1).map(line)].join("\n");
}

export function corpusTable(report: CorpusReport): string {
  const { corpus, rounds, rows } = report;
  const title = `### ${corpus.name}: ${corpus.files} files, ${fixed(corpus.bytes / MB, 0)} MB`;
  return `${title}\n\n${corpus.description}. Rounds: ${rounds}.\n\n${markdownTable(HEAD, rows.map(cells))}\n`;
}
