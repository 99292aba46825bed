/**
 * How fast an archive becomes files again, against GNU tar on the same archive: whole processes in alternating rounds, on a tmpfs, where
 * creating a file costs the same for both. The archives are made as the agent makes them, without a network.
 */
import { closeSync, existsSync, openSync, writeSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { ChunkReader, rawBufferBytes } from "#archive/chunk-reader.ts";
import { Excludes } from "#archive/exclude.ts";
import { LinuxSource } from "#archive/linux-source.ts";
import { sourceRoots } from "#archive/source-roots.ts";
import { WALK_EVERYTHING } from "#archive/walk-rules.ts";
import type { CompressionMode } from "#base/chunk.ts";
import { DEFAULT_CHUNK_BYTES } from "#base/chunk-size.ts";
import { compress } from "#compress/codec.ts";
import { nativeExecutable } from "#scripts/lib/executables.ts";
import { Sentence } from "#scripts/lib/run.ts";
import { type Corpus, type CorpusName, ensureCorpus } from "./corpora.ts";
import { startMeasured, type Usage } from "./measure.ts";
import { pairedRatio, summarize, type Summary } from "./statistics.ts";

export interface RestoreRow {
  readonly corpus: CorpusName;
  readonly mode: CompressionMode;
  readonly tarSeconds: Summary;
  readonly nbackupSeconds: Summary;
  /** How many times as fast as tar, round by round. */
  readonly speed: Summary;
  readonly peakBytes: number;
  /** Speed that is asked for; undefined where nothing is. */
  readonly required: number | undefined;
  readonly met: boolean;
}

/** A filesystem in memory. */
const MEMORY = "/dev/shm";
const SCRATCH = path.join(MEMORY, "nbackup-bench");
/** The level each mode has by default. */
const LEVEL: Readonly<Record<CompressionMode, number>> = { gzip: 5, zst: 1 };
const CASES: readonly { corpus: CorpusName; mode: CompressionMode; required: number | undefined }[] = [
  { corpus: "big", mode: "gzip", required: 2 },
  { corpus: "small", mode: "gzip", required: 1 },
  { corpus: "big", mode: "zst", required: undefined },
  { corpus: "small", mode: "zst", required: undefined },
];

/** Everything but the index and the network is what the agent does. */
function makeArchive(corpus: Corpus, mode: CompressionMode, file: string): void {
  const chunkBytes = DEFAULT_CHUNK_BYTES[mode];
  const roots = sourceRoots([{ path: corpus.directory, optional: false }]);
  const reader = new ChunkReader({
    source: new LinuxSource({ roots: roots.map((root) => root.path) }),
    ...{ roots, excludes: new Excludes([]), rules: WALK_EVERYTHING, chunkBytes },
    wall: () => Date.now(),
    report: (_path, reason) => {
      throw new Sentence(`The corpus could not be read: ${reason}.`);
    },
  });
  const buffer = new Uint8Array(rawBufferBytes(chunkBytes));
  const fd = openSync(file, "w");
  for (let chunk = reader.next(buffer); chunk !== undefined; chunk = reader.next(buffer)) {
    if (chunk.kind !== "index")
      writeSync(fd, compress(buffer.subarray(0, chunk.rawLength), { mode, level: LEVEL[mode] }));
  }
  reader.close();
  closeSync(fd);
}

async function once(name: string, command: readonly string[], target: string): Promise<readonly [number, Usage]> {
  await rm(target, { recursive: true, force: true });
  await mkdir(target);
  const started = performance.now();
  const usage = await (await startMeasured(name, command)).done;
  return [(performance.now() - started) / 1000, usage];
}

export async function measureRestore(rounds: number): Promise<readonly RestoreRow[]> {
  if (!existsSync(MEMORY)) throw new Sentence(`The restore is measured in ${MEMORY}, which is missing.`);
  const target = path.join(SCRATCH, "target");
  const rows: RestoreRow[] = [];
  try {
    for (const { corpus: name, mode, required } of CASES) {
      await rm(SCRATCH, { recursive: true, force: true });
      await mkdir(SCRATCH, { recursive: true });
      const archive = path.join(SCRATCH, `archive.tar.${mode === "gzip" ? "gz" : "zst"}`);
      makeArchive(await ensureCorpus(name), mode, archive);
      const [tar, nbackup, peaks]: [number[], number[], number[]] = [[], [], []];
      const runTar = async (): Promise<void> => {
        tar.push((await once("tar", ["tar", "-xaf", archive, "-C", target], target))[0]);
      };
      const runNbackup = async (): Promise<void> => {
        const command = [nativeExecutable("server"), "restore", archive, "--to", target];
        const [seconds, usage] = await once("nbackup", command, target);
        nbackup.push(seconds);
        peaks.push(usage.peakBytes);
      };
      for (let round = 0; round < rounds; round += 1) {
        for (const run of round % 2 === 0 ? [runTar, runNbackup] : [runNbackup, runTar]) await run();
        console.error(
          `restore ${name} ${mode} ${round + 1}/${rounds} tar ${tar.at(-1)?.toFixed(2)} s, nbackup ${nbackup.at(-1)?.toFixed(2)} s`,
        );
      }
      const speed = pairedRatio(tar, nbackup);
      rows.push({
        ...{ corpus: name, mode, required, speed, tarSeconds: summarize(tar), nbackupSeconds: summarize(nbackup) },
        peakBytes: Math.max(...peaks),
        met: required === undefined || speed.median >= required,
      });
    }
  } finally {
    await rm(SCRATCH, { recursive: true, force: true });
  }
  return rows;
}

export function restoreCells(rows: readonly RestoreRow[]): string[][] {
  return rows.map(({ corpus, mode, tarSeconds, nbackupSeconds, speed, peakBytes, required, met }) => [
    `${corpus}, ${mode}`,
    tarSeconds.median.toFixed(2),
    nbackupSeconds.median.toFixed(2),
    `${speed.median.toFixed(2)} × (${speed.min.toFixed(2)}-${speed.max.toFixed(2)})`,
    (peakBytes / 2 ** 20).toFixed(0),
    required === undefined ? "" : `${required} ×: ${met ? "met" : "NOT MET"}`,
  ]);
}
