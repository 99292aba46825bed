/** Runs contenders against each other: in rounds, every one once in each, the order turned round each time. */
import { mkdir, rm } from "node:fs/promises";
import { run, mustRun, Sentence } from "#scripts/lib/run.ts";
import type { BenchContext, Contender, Outcome } from "./contender.ts";
import { type Corpus, warm } from "./corpora.ts";

export interface Samples {
  readonly contender: Contender;
  /** One per round, in order. */
  readonly outcomes: readonly Outcome[];
}

/** Lists the archive with GNU tar and expects every file and directory of the corpus in it. */
async function checkArchive(contender: Contender, archive: string, corpus: Corpus): Promise<void> {
  const listed = await run(["sh", "-c", 'tar -taf "$1" | wc -l', "sh", archive]);
  const entries = Number(listed.stdout.trim());
  if (listed.exitCode !== 0 || listed.stderr !== "" || entries < corpus.files + corpus.directories) {
    throw new Sentence(
      `The archive of ${contender.name} lists ${entries} entries, fewer than the corpus has. ${listed.stderr}`,
    );
  }
}

/** What earlier runs left to be written must not be on the bill of the next. */
async function cleanScratch(context: BenchContext): Promise<void> {
  await rm(context.scratch, { recursive: true, force: true });
  await mkdir(context.scratch, { recursive: true });
  await mustRun(["sync"]);
}

/** Measures all contenders on one corpus. Archives are looked into in the first round. */
export async function runRounds(
  contenders: readonly Contender[],
  corpus: Corpus,
  context: BenchContext,
  rounds: number,
): Promise<readonly Samples[]> {
  await warm(corpus);
  const outcomes = new Map<Contender, Outcome[]>(contenders.map((contender) => [contender, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      await cleanScratch(context);
      const outcome = await contender.run(corpus, context);
      if (round === 0 && outcome.archive !== undefined) await checkArchive(contender, outcome.archive, corpus);
      outcomes.get(contender)?.push(outcome);
      console.error(
        `${corpus.name} ${round + 1}/${rounds} ${contender.name.padEnd(18)} ${outcome.wallSeconds.toFixed(2)} s`,
      );
    }
  }
  await rm(context.scratch, { recursive: true, force: true });
  return contenders.map((contender) => ({ contender, outcomes: outcomes.get(contender) ?? [] }));
}
