/**
 * `bun run bench`: nbackup against what people use instead, whole processes, in alternating rounds on the same disk.
 * Prints Markdown tables and writes everything, each run included, to bench-data/results.json. `--corpus source,big,small`,
 * `--only NAME,…` (contenders, `nbackup-gzip<level>-p<streams>` of any level and number), `--runs N`, and
 * `--sections speed,memory,durability,garbage,restore,autoscaler` choose less.
 */
import { mkdir, rm } from "node:fs/promises";
import { parseArgs } from "node:util";
import { autoscalerCells, type AutoscalerRow, measureAutoscaler } from "./bench/autoscaler.ts";
import { type Bar, judgeBars, judgeDurability, judgeGarbage } from "./bench/bars.ts";
import { ensureCertificates } from "./bench/certificates.ts";
import type { BenchContext, Contender } from "./bench/contender.ts";
import { CORPUS_NAMES, type CorpusName, ensureCorpus } from "./bench/corpora.ts";
import { measureDurability } from "./bench/durability.ts";
import { measureGarbage } from "./bench/garbage.ts";
import { describeMachine, machineText } from "./bench/machine.ts";
import { type MemoryRow, measureMemory } from "./bench/memory.ts";
import { measureRestore, restoreCells, type RestoreRow } from "./bench/restore.ts";
import { NBACKUP_NAMES, nbackupContender } from "./bench/nbackup.ts";
import { corpusTable, type CorpusReport, markdownTable, reportCorpus } from "./bench/report.ts";
import { REPOSITORIES } from "./bench/repositories.ts";
import { runRounds } from "./bench/rounds.ts";
import { TAR_PIPES } from "./bench/tar-pipes.ts";
import { BENCH_PACKAGES, ensurePackages } from "./lib/debian.ts";
import { build, nativeArchitecture, PROGRAMS } from "./lib/executables.ts";
import { inProject } from "./lib/project.ts";
import { runMain, Sentence } from "./lib/run.ts";

const DEFAULT_RUNS = 5;
const RESULTS = inProject("bench-data", "results.json");

const SECTIONS = ["speed", "memory", "durability", "garbage", "restore", "autoscaler"] as const;
type Section = (typeof SECTIONS)[number];

interface Choice {
  readonly corpora: readonly CorpusName[];
  readonly contenders: readonly Contender[];
  readonly runs: number;
  readonly sections: ReadonlySet<Section>;
}

function list(value: string | undefined, otherwise: readonly string[]): readonly string[] {
  return value === undefined ? otherwise : value.split(",").filter((part) => part !== "");
}

function contenderOf(name: string): Contender {
  const found = [...TAR_PIPES, ...REPOSITORIES].find((one) => one.name === name) ?? nbackupContender(name);
  if (found !== undefined) return found;
  const known = [...TAR_PIPES, ...REPOSITORIES].map((one) => one.name).join(", ");
  throw new Sentence(
    `--only takes ${known}, and nbackup-gzip<level>-p<streams> or nbackup-zst<level>-p<streams>, not ${name}.`,
  );
}

function corpusOf(name: string): CorpusName {
  const found = CORPUS_NAMES.find((one) => one === name);
  if (found === undefined) throw new Sentence(`--corpus takes ${CORPUS_NAMES.join(", ")}, not ${name}.`);
  return found;
}

function sectionOf(name: string): Section {
  const found = SECTIONS.find((one) => one === name);
  if (found === undefined) throw new Sentence(`--sections takes ${SECTIONS.join(", ")}, not ${name}.`);
  return found;
}

function choose(): Choice {
  const text = { type: "string" } as const;
  const { values } = parseArgs({ options: { corpus: text, only: text, runs: text, sections: text } });
  const runs = Number(values.runs ?? DEFAULT_RUNS);
  if (!Number.isInteger(runs) || runs < 1) throw new Sentence("--runs takes a number of rounds, 1 or more.");
  const usual = [...TAR_PIPES.map(({ name }) => name), ...NBACKUP_NAMES, ...REPOSITORIES.map(({ name }) => name)];
  return {
    corpora: list(values.corpus, CORPUS_NAMES).map(corpusOf),
    contenders: list(values.only, usual).map(contenderOf),
    runs,
    sections: new Set(list(values.sections, SECTIONS).map(sectionOf)),
  };
}

async function measureSpeed(choice: Choice, context: BenchContext): Promise<readonly CorpusReport[]> {
  const reports: CorpusReport[] = [];
  for (const name of choice.corpora) {
    const corpus = await ensureCorpus(name);
    const report = reportCorpus(corpus, await runRounds(choice.contenders, corpus, context, choice.runs));
    reports.push(report);
    console.log(`\n${corpusTable(report)}`);
  }
  return reports;
}

function printBars(bars: readonly Bar[]): void {
  const rows = bars.map(({ text, required, measured, met }) => [text, required, measured, met ? "met" : "NOT MET"]);
  if (rows.length > 0) console.log(`\n### Bars\n\n${markdownTable(["bar", "required", "measured", ""], rows)}\n`);
}

function printMemory(rows: readonly MemoryRow[]): void {
  const cells = rows.map(({ text, required, bytes, met }) => [
    text,
    required,
    `${(bytes / 2 ** 20).toFixed(0)} MB`,
    met ? "met" : "NOT MET",
  ]);
  console.log(`\n### Peak memory\n\n${markdownTable(["what", "required", "measured (MB = 2^20)", ""], cells)}\n`);
}

function printRestore(rows: readonly RestoreRow[]): void {
  const head = ["restore", "tar s", "nbackup s", "as fast as tar", "peak MB", "required"];
  console.log(`\n### Restore to a tmpfs\n\n${markdownTable(head, restoreCells(rows))}\n`);
}

function printAutoscaler(rows: readonly AutoscalerRow[]): void {
  const head = ["512 MB over loopback", "on s (min-max)", "off s (min-max)", "on/off in a pair", "load"];
  console.log(`\n### The autoscaler in a short backup\n\n${markdownTable(head, autoscalerCells(rows))}\n`);
}

async function measure(choice: Choice, context: BenchContext): Promise<Record<string, unknown>> {
  const { sections, runs } = choice;
  const reports = sections.has("speed") ? await measureSpeed(choice, context) : [];
  const durability = sections.has("durability") ? await measureDurability(context, runs) : [];
  const garbage = sections.has("garbage") ? await measureGarbage(context, runs) : undefined;
  const bars = [
    ...judgeBars(reports),
    ...judgeDurability(durability),
    ...(garbage === undefined ? [] : judgeGarbage(garbage)),
  ];
  printBars(bars);
  const memory = sections.has("memory") ? await measureMemory(context) : [];
  if (sections.has("memory")) printMemory(memory);
  const restore = sections.has("restore") ? await measureRestore(runs) : [];
  if (sections.has("restore")) printRestore(restore);
  const autoscaler = sections.has("autoscaler") ? await measureAutoscaler(context, runs) : [];
  if (sections.has("autoscaler")) printAutoscaler(autoscaler);
  return { reports, bars, memory, durability, garbage, restore, autoscaler };
}

async function main(): Promise<number> {
  const choice = choose();
  await ensurePackages(BENCH_PACKAGES);
  const own = choice.contenders.some(({ name }) => name.startsWith("nbackup-"));
  if (own || [...choice.sections].some((section) => section !== "speed")) {
    for (const program of PROGRAMS) await build(program, nativeArchitecture());
  }
  const directory = inProject("bench-data");
  await mkdir(directory, { recursive: true });
  const context: BenchContext = {
    scratch: inProject("bench-data", "scratch"),
    certificates: await ensureCertificates(inProject("bench-data", "certificates")),
  };
  const machine = await describeMachine(directory);
  console.log(machineText(machine));
  if (machine.fileSystem === "tmpfs") console.log("The destination is a tmpfs: these are no numbers of a real disk.");
  try {
    const measured = await measure(choice, context);
    await Bun.write(RESULTS, JSON.stringify({ machine, ...measured }, undefined, 2));
    console.log("Every number is in bench-data/results.json.");
  } finally {
    await rm(context.scratch, { recursive: true, force: true });
  }
  return 0;
}

await runMain(main);
