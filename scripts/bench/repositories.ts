/**
 * restic and borg into a new repository on the destination's disk, straight, without a network: an advantage that is
 * theirs. Making the repository is not counted. Defaults of both, so restic encrypts and compresses by zstd, and borg
 * (with encryption by a key in the repository) compresses by lz4.
 */
import path from "node:path";
import { mustRun } from "#scripts/lib/run.ts";
import type { BenchContext, Contender, Outcome } from "./contender.ts";
import type { Corpus } from "./corpora.ts";
import { startMeasured } from "./measure.ts";

async function bytesBelow(directory: string): Promise<number> {
  return Number((await mustRun(["du", "-s", "-b", directory])).split(/\s/)[0]);
}

async function backUp(
  name: string,
  command: readonly string[],
  env: Record<string, string>,
  repository: string,
): Promise<Outcome> {
  const started = performance.now();
  const running = await startMeasured(name, command, { env });
  const usage = await running.done;
  // Both sync what they write as they go; this catches what they did not.
  await mustRun(["sync", "-f", repository]);
  const wallSeconds = (performance.now() - started) / 1000;
  const archiveBytes = await bytesBelow(repository);
  return { wallSeconds, processes: [usage], archiveBytes, archive: undefined, commitSeconds: undefined };
}

async function runRestic(corpus: Corpus, context: BenchContext): Promise<Outcome> {
  const repository = path.join(context.scratch, "restic");
  const env = {
    RESTIC_PASSWORD: "bench",
    RESTIC_REPOSITORY: repository,
    RESTIC_CACHE_DIR: path.join(context.scratch, "restic-cache"),
  };
  await mustRun(["restic", "init", "-q"], { env });
  return await backUp("restic", ["restic", "backup", "-q", corpus.directory], env, repository);
}

async function runBorg(corpus: Corpus, context: BenchContext): Promise<Outcome> {
  const repository = path.join(context.scratch, "borg");
  const env = {
    BORG_PASSPHRASE: "bench",
    BORG_BASE_DIR: path.join(context.scratch, "borg-home"),
    BORG_REPO: repository,
  };
  await mustRun(["borg", "init", "--encryption=repokey-blake2"], { env });
  return await backUp("borg", ["borg", "create", "::bench", corpus.directory], env, repository);
}

export const REPOSITORIES: readonly Contender[] = [
  {
    name: "restic",
    description: "restic backup, new repository on the local disk",
    baseline: undefined,
    run: runRestic,
  },
  { name: "borg", description: "borg create, new repository on the local disk", baseline: undefined, run: runBorg },
];
