/** Names, by an index, the files that damage hits: also where the tar itself cannot be followed any more. */
import { entriesInRange } from "#archive/index-queries.ts";
import type { IndexEntry } from "#archive/index-format.ts";
import type { IndexReader } from "#archive/index-reader.ts";
import { Failure } from "#base/errors.ts";
import type { Damage } from "./damage.ts";
import type { RestoreProblem } from "./problems.ts";
import { isAtOrBelow } from "./selection.ts";
import type { TarReport } from "./tar-job.ts";

/** Of all damages of one report together; the rest are counted. */
const NAMES_MAX = 10_000;

/** The same report with names in it. An index that cannot be read leaves it as it is. */
export async function nameDamages(report: TarReport, index: IndexReader): Promise<TarReport> {
  if (report.damageCount === 0) return report;
  const damages: Damage[] = [];
  let left = NAMES_MAX;
  try {
    for (const damage of report.damages) {
      const named = await nameOne(damage, index, left);
      left -= named.files.length;
      damages.push(named);
    }
  } catch (error) {
    if (error instanceof Failure && error.code === "E_INDEX_DAMAGED") return report;
    throw error;
  }
  return { ...report, damages, problems: report.problems.map((problem) => asDamaged(problem, damages)) };
}

async function nameOne(damage: Damage, index: IndexReader, namesMax: number): Promise<Damage> {
  const { rawFrom, rawTo, chunk } = damage;
  if (rawFrom === undefined || rawTo === undefined || chunk === undefined) return damage;
  const files: Uint8Array[] = [];
  let first: IndexEntry | undefined;
  for await (const batch of entriesInRange(index, rawFrom, rawTo)) {
    first ??= batch[0];
    files.push(...batch.slice(0, namesMax - files.length).map(({ path }) => path));
    if (files.length === namesMax) break;
  }
  const last = await lastBefore(index, rawTo);
  if (first === undefined || last === undefined) return damage;
  return { ...damage, files, held: { first: first.path, last: last.path, count: last.number - first.number + 1 } };
}

/** The last entry that begins before this raw offset. */
async function lastBefore(index: IndexReader, rawOffset: number): Promise<IndexEntry | undefined> {
  let number = index.totals.entries - 1;
  for await (const [entry] of index.entriesAt(rawOffset - 1)) {
    if (entry !== undefined) number = entry.headersAt < rawOffset ? entry.number : entry.number - 1;
    break;
  }
  for await (const [entry] of index.entriesFromNumber(Math.max(0, number))) return entry;
  return undefined;
}

/** What was asked for and lay in a damaged chunk is not missing in the archive. */
function asDamaged(problem: RestoreProblem, damages: readonly Damage[]): RestoreProblem {
  if (problem.reason !== "not-in-archive") return problem;
  const isHit = damages.some(({ files }) => files.some((path) => isAtOrBelow(problem.path, path)));
  return isHit ? { ...problem, reason: "damaged" } : problem;
}
