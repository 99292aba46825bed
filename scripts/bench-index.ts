/**
 * What the index of an archive is worth: `bun scripts/bench-index.ts` makes an archive of 10 GB in bench-data (or where `--directory` says)
 * and takes one file out of it, `--runs` times: from opening both files to the end of the threads; then it measures how much more memory an
 * archive of a million entries takes than one of few large files and the same length, for a restore (a dry run), a verification and
 * finding one file.
 * `--gigabytes`, `--entries` for other sizes; `--cold` empties the page cache before each run (only as root); `--keep` keeps
 * the archives, and the large one is used again.
 */
import * as fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import type { ArchiveAccess } from "#restore/archive-access.ts";
import { openArchiveFile } from "#restore/file-access.ts";
import { openIndexed } from "#restore/index-open.ts";
import { planFor, planForFile, planToVerify } from "#restore/index-plan.ts";
import { type JobDeps, runArchiveJob, verifyArchive } from "#restore/job-runner.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import { makeArchive, madePath } from "./bench/made-archive.ts";
import { median } from "./bench/statistics.ts";
import { inProject } from "./lib/project.ts";
import { BUN, mustRun, runMain, Sentence } from "./lib/run.ts";

const GB = 10 ** 9;
const MiB = 2 ** 20;
const FILE_BYTES = 1_000_000;
const SMALL_BYTES = 100;
/** With its header. */
const SMALL_RAW_BYTES = 1024;
const SECONDS_MAX = 0.5;
const SHARE_MAX = 0.01;
const MORE_BYTES_MAX = 50 * MiB;
const WORK = ["restore", "verify", "one-file"] as const;
type Work = (typeof WORK)[number];

const spawn: SpawnRestoreThread = (kind) =>
  new Worker(new URL(import.meta.resolve(`#bin/${kind}-worker.ts`)).href, { smol: true });

function deps(): JobDeps {
  return { spawn, cores: Math.max(1, navigator.hardwareConcurrency), signal: new AbortController().signal };
}

/** Counts what is read. */
class Counted implements ArchiveAccess {
  readonly #access: ArchiveAccess;
  readBytes = 0;

  constructor(file: string) {
    this.#access = openArchiveFile(file);
  }

  get size(): number {
    return this.#access.size;
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    const length = await this.#access.read(into, offset);
    this.readBytes += length;
    return length;
  }

  close(): Promise<void> {
    return this.#access.close();
  }
}

interface Taken {
  readonly seconds: number;
  /** Of all threads: what it takes on a machine that does other things too. */
  readonly cpuSeconds: number;
  readonly readBytes: number;
}

async function takeFile(archive: string, number: number): Promise<Taken> {
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  const access = new Counted(archive);
  const file = new Counted(`${archive}.idx`);
  const fd = fs.openSync("/dev/null", "w");
  const name = Buffer.from(madePath(number));
  const plan = await planForFile(await openIndexed(access, file), name);
  const { report, indexFault } = await runArchiveJob(access, { kind: "cat", path: name, fd }, deps(), plan);
  if (report.problemCount + report.damageCount > 0 || indexFault !== undefined)
    throw new Error("it was not read as it is");
  await Promise.all([access.close(), file.close()]);
  fs.closeSync(fd);
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { seconds, cpuSeconds: (user + system) / 1e6, readBytes: access.readBytes + file.readBytes };
}

/** One of the works over the whole archive, in a process of its own; prints the most memory that it took. */
async function measureHere(work: Work, archive: string, files: number): Promise<number> {
  const access = openArchiveFile(archive);
  const file = openArchiveFile(`${archive}.idx`);
  const indexed = await openIndexed(access, file);
  if (work === "one-file") {
    await takeFile(archive, files - 1);
  } else if (work === "verify") {
    const { verification } = await verifyArchive(access, undefined, deps(), await planToVerify(indexed));
    if (!verification.ok || verification.index.state !== "agrees") throw new Error("the archive is not as it was made");
  } else {
    const { report } = await runArchiveJob(access, restoreJob(), deps(), await planFor(indexed, []));
    if (report.problemCount + report.damageCount > 0) throw new Error("the archive is not as it was made");
  }
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(fs.readFileSync("/proc/self/status", "utf8"))?.[1];
  console.log(Number(peak) * 1024);
  return 0;
}

function restoreJob(): Parameters<typeof runArchiveJob>[1] {
  return {
    ...{ kind: "restore", target: Buffer.from("/nonexistent"), paths: [], overwrite: "always", stripComponents: 0 },
    ...{ dryRun: true, owners: false, deleteExcept: undefined, privileged: false, uid: 0, gids: [] },
    ...{ temporaryName: ".bench.tmp", startedSeconds: 0 },
  };
}

async function peakOf(work: Work, archive: string, files: number): Promise<number> {
  const printed = await mustRun([
    BUN,
    import.meta.path,
    "--measure",
    work,
    "--archive",
    archive,
    "--entries",
    String(files),
  ]);
  return Number(printed);
}

async function oneFile(directory: string, gigabytes: number, runs: number, cold: boolean): Promise<boolean> {
  const archive = path.join(directory, "large.tar.gz");
  const files = Math.round((gigabytes * GB) / FILE_BYTES);
  if (!fs.existsSync(archive)) makeArchive(archive, { files, fileBytes: FILE_BYTES });
  const { size } = fs.statSync(archive);
  console.log(
    `archive of ${(size / GB).toFixed(2)} GB, ${files} files, index of ${fs.statSync(`${archive}.idx`).size} bytes`,
  );
  const all: Taken[] = [];
  for (let run = 0; run < runs; run += 1) {
    if (cold) fs.writeFileSync("/proc/sys/vm/drop_caches", "3");
    all.push(await takeFile(archive, Math.floor(((run + 0.5) / runs) * files)));
  }
  const seconds = median(all.map((one) => one.seconds));
  const cpuSeconds = median(all.map((one) => one.cpuSeconds));
  const slowest = Math.max(...all.map((one) => one.seconds));
  const share = Math.max(...all.map((one) => one.readBytes)) / size;
  console.log(
    `one file: median ${seconds.toFixed(3)} s, slowest ${slowest.toFixed(3)} s, CPU ${cpuSeconds.toFixed(3)} s, reads at most ${(100 * share).toFixed(4)} %`,
  );
  return slowest < SECONDS_MAX && share < SHARE_MAX;
}

async function memory(directory: string, entries: number): Promise<boolean> {
  const few = path.join(directory, "few.tar.gz");
  const many = path.join(directory, "many.tar.gz");
  const fewFiles = Math.max(1, Math.round((entries * SMALL_RAW_BYTES) / FILE_BYTES));
  makeArchive(few, { files: fewFiles, fileBytes: FILE_BYTES });
  makeArchive(many, { files: entries, fileBytes: SMALL_BYTES });
  console.log(
    `archive of ${entries} files, index of ${(fs.statSync(`${many}.idx`).size / entries).toFixed(1)} bytes a file`,
  );
  let met = true;
  for (const work of WORK) {
    const less = await peakOf(work, few, fewFiles);
    const more = await peakOf(work, many, entries);
    console.log(`${work}: ${(less / MiB).toFixed(0)} MiB, with ${entries} entries ${(more / MiB).toFixed(0)} MiB`);
    met &&= more - less < MORE_BYTES_MAX;
  }
  return met;
}

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const { values } = parseArgs({
    options: {
      directory: text,
      gigabytes: text,
      entries: text,
      runs: text,
      cold: flag,
      keep: flag,
      measure: text,
      archive: text,
    },
  });
  const number = (value: string | undefined, otherwise: number): number => {
    const given = Number(value ?? otherwise);
    if (!(given > 0)) throw new Sentence(`${value} is not a number above 0.`);
    return given;
  };
  const entries = number(values.entries, 1_000_000);
  const work = WORK.find((one) => one === values.measure);
  if (work !== undefined && values.archive !== undefined) return await measureHere(work, values.archive, entries);
  const directory = path.join(values.directory ?? inProject("bench-data"), "index");
  fs.mkdirSync(directory, { recursive: true });
  const fast = await oneFile(directory, number(values.gigabytes, 10), number(values.runs, 9), values.cold ?? false);
  const small = await memory(directory, entries);
  if (values.keep !== true) fs.rmSync(directory, { recursive: true });
  console.log(fast && small ? "all bars met" : "a bar was missed");
  return fast && small ? 0 : 1;
}

await runMain(main);
