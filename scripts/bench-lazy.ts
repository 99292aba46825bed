/**
 * How fast a lazy storage assembles, against `cp` of the same bytes on the same disk: `bun scripts/bench-lazy.ts --chunks
 * 10000 --bytes 262144 --runs 5`. Each round stages the chunks of one session, assembles them and commits, and copies the archive
 * with `cp` and `sync`, in turns. `--cold` empties the page cache before both (only as root); `--directory` names another disk
 * than the one of bench-data. Chunks are taken by the store itself: no network, no compression.
 */
import { createHash } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { RootHasher } from "#base/root-hash.ts";
import { RootTrail } from "#base/root-trail.ts";
import { MiB } from "#base/units.ts";
import { systemClock } from "#bin/system.ts";
import { FILE_THREADS } from "#store/linux-libc.ts";
import { LinuxDisk } from "#store/linux-disk.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { SessionEvents, SessionProof } from "#store/session-types.ts";
import { Storage } from "#store/storage.ts";
import { median } from "./bench/statistics.ts";
import { inProject } from "./lib/project.ts";
import { BUN, mustRun, runMain, runVisibly, Sentence } from "./lib/run.ts";

const WINDOW_BYTES = 256 * MiB;
const silent = { debug: quiet, info: quiet, warn: quiet, error: complain, child: () => silent };

interface Options {
  readonly directory: string;
  readonly chunks: number;
  readonly bytes: number;
  readonly runs: number;
  readonly cold: boolean;
  readonly levels: 1 | 2;
  readonly chunkFsync: boolean;
}

interface Round {
  /** MB/s each, MB = 10^6 bytes. */
  readonly stage: number;
  readonly assemble: number;
  readonly copy: number;
  /** The longest time in which the event loop did nothing else while it assembled, milliseconds. */
  readonly stallMs: number;
  /** The most bytes that the disk had less than before the assembly. */
  readonly extraBytes: number;
}

function quiet(): void {
  // The measurements are what is printed.
}

function complain(message: string, fields?: object): void {
  console.error(message, fields);
}

function choose(): Options {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  const { values } = parseArgs({
    options: { directory: text, chunks: text, bytes: text, runs: text, levels: text, cold: flag, syncfs: flag },
  });
  const number = (value: string | undefined, otherwise: number): number => {
    const given = Number(value ?? otherwise);
    if (!Number.isInteger(given) || given < 1) throw new Sentence(`${value} is not a whole number of at least 1.`);
    return given;
  };
  return {
    directory: values.directory ?? inProject("bench-data"),
    chunks: number(values.chunks, 10_000),
    bytes: number(values.bytes, 256 * 1024),
    runs: number(values.runs, 3),
    cold: values.cold ?? false,
    levels: number(values.levels, 1) === 2 ? 2 : 1,
    chunkFsync: !(values.syncfs ?? false),
  };
}

/** Wakes up whoever waits whenever the session says something. */
class Signal {
  #waiters: (() => void)[] = [];
  wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }
}

/** Gives the session its chunks as fast as it takes them; resolves with what the agent would say of them. */
async function stage(store: SessionStore, signal: Signal, { chunks, bytes }: Options): Promise<SessionProof> {
  const flat = createHash("sha256");
  const root = new RootHasher();
  const trail = new RootTrail(root);
  const chunk = Buffer.from(crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65_536))));
  const stored = Buffer.concat(Array.from({ length: Math.ceil(bytes / chunk.length) }, () => chunk)).subarray(0, bytes);
  for (let sequence = 0; sequence < chunks; sequence += 1) {
    stored.writeUInt32BE(sequence, 0);
    const offset = sequence * bytes;
    const full = (): boolean => offset + bytes > (store.acknowledgement(0)[0]?.durableBytes ?? 0) + WINDOW_BYTES;
    while (store.congested || full()) await signal.wait();
    const digest = createHash("sha256").update(stored).digest();
    const placing = store.beginChunk({ file: 0, sequence, offset, storedLength: bytes });
    if (placing.verdict !== "new") throw new Error("a duplicate");
    placing.writer.write(stored);
    placing.writer.finish({ rawLength: 1, kind: "data", digest, payloadIntact: true });
    flat.update(stored);
    root.add(offset, bytes, digest);
    trail.follow();
    if (sequence % 16 === 0) await new Promise(setImmediate);
  }
  store.push();
  while (!store.settled) await signal.wait();
  const proofs = { sha256: flat.digest(), root: root.root(), trail: trail.bytes() };
  return { files: [{ file: 0, chunks, bytes: chunks * bytes, ...proofs }], entries: 1, rawBytes: 1, problems: 0 };
}

/** Looks every 5 ms at how late it is and, less often, at the free space, until stopped. */
function watch(storage: Storage): { stop(): { stallMs: number; leastFreeBytes: number } } {
  let [lastMs, stallMs, leastFreeBytes, beats] = [performance.now(), 0, Number.POSITIVE_INFINITY, 0];
  const timer = setInterval(() => {
    const nowMs = performance.now();
    stallMs = Math.max(stallMs, nowMs - lastMs - 5);
    lastMs = nowMs;
    beats += 1;
    if (beats % 10 !== 0) return;
    void storage.space().then(({ freeBytes }) => {
      leastFreeBytes = Math.min(leastFreeBytes, freeBytes);
    });
  }, 5);
  const stop = (): { stallMs: number; leastFreeBytes: number } => {
    clearInterval(timer);
    return { stallMs, leastFreeBytes };
  };
  return { stop };
}

async function settleDisk(cold: boolean): Promise<void> {
  await mustRun(["sync"]);
  if (cold) await writeFile("/proc/sys/vm/drop_caches", "3");
}

async function round(storage: Storage, options: Options, number: number): Promise<Round> {
  const signal = new Signal();
  const wake = (): void => signal.wake();
  const events: SessionEvents = {
    ...{ durable: wake, relief: wake, verified: wake },
    lost: quiet,
    failed: (failure) => complain(String(failure)),
  };
  const id = (part: string): string => `${part}-0000-4000-8000-${String(number).padStart(12, "0")}`;
  const store = await storage.createSession(
    {
      ...{ session: id("00000001"), run: id("00000002"), agent: "bench", backup: "lazy", generation: 1, parallels: 0 },
      ...{ compression: "gzip", compressionLevel: 1, chunkBytes: 16 * MiB, windowBytes: WINDOW_BYTES },
      ...{ expectedBytes: 0, lastEntries: 0, lastRawBytes: 0, startWallMs: Date.now() },
    },
    events,
  );
  const total = options.chunks * options.bytes;
  const rate = (ms: number): number => total / 1000 / ms;
  const stagedAtMs = performance.now();
  const proof = await stage(store, signal, options);
  const stageMs = performance.now() - stagedAtMs;
  await settleDisk(options.cold);
  const { freeBytes } = await storage.space();
  const watcher = watch(storage);
  let [beganMs, endedMs] = [0, 0];
  const answer = await store.finish(proof, (phase) => {
    if (phase === "assembling" && beganMs === 0) beganMs = performance.now();
    if (phase === "committing" && endedMs === 0) endedMs = performance.now();
  });
  const { stallMs, leastFreeBytes } = watcher.stop();
  await settleDisk(options.cold);
  const archive = path.join(options.directory, "lazy", answer.archive);
  const copy = path.join(options.directory, "lazy-copy");
  const copiedAtMs = performance.now();
  await mustRun(["cp", "--reflink=never", archive, copy]);
  await mustRun(["sync", copy]);
  const copyMs = performance.now() - copiedAtMs;
  await rm(copy);
  return {
    ...{ stage: rate(stageMs), assemble: rate(endedMs - beganMs), copy: rate(copyMs), stallMs },
    extraBytes: freeBytes - leastFreeBytes,
  };
}

async function main(): Promise<number> {
  const options = choose();
  const baseDir = path.join(options.directory, "lazy");
  await rm(baseDir, { recursive: true, force: true });
  await mkdir(baseDir, { recursive: true });
  const spawnThread = (): Worker =>
    new Worker(new URL(import.meta.resolve("#bin/disk-worker.ts")).href, { smol: true });
  const storage = await Storage.open({
    ...{ name: "lazy", baseDir, maxBackups: 1, minAgeMs: 0, pendingBytesMax: 8 * MiB, clock: systemClock, log: silent },
    reserve: { percent: 0, bytesMax: 0 },
    staging: { shardLevels: options.levels, chunkFsync: options.chunkFsync },
    disk: new LinuxDisk({ privileged: process.getuid?.() === 0, spawnThread }),
  });
  const rounds: Round[] = [];
  console.log("| round | staged MB/s | assembled MB/s | cp and sync MB/s | ratio | longest stall ms | extra MiB |");
  console.log("| ----- | ----------- | -------------- | ---------------- | ----- | ---------------- | --------- |");
  for (let number = 1; number <= options.runs; number += 1) {
    const one = await round(storage, options, number);
    rounds.push(one);
    const cells = [number, one.stage.toFixed(0), one.assemble.toFixed(0), one.copy.toFixed(0)];
    const ratio = (one.assemble / one.copy).toFixed(2);
    console.log(`| ${[...cells, ratio, one.stallMs.toFixed(1), (one.extraBytes / MiB).toFixed(0)].join(" | ")} |`);
  }
  console.log(`median ratio ${median(rounds.map((one) => one.assemble / one.copy)).toFixed(2)}`);
  await storage.close();
  await rm(baseDir, { recursive: true });
  return 0;
}

/** As many threads for file calls as the server has: run from its sources a program must be told by the environment. */
function mainWithThreads(): Promise<number> {
  if (process.env["UV_THREADPOOL_SIZE"] !== undefined) return main();
  const command = [BUN, ...process.argv.slice(1)];
  return runVisibly(command, { env: { UV_THREADPOOL_SIZE: String(FILE_THREADS) } });
}

await runMain(mainWithThreads);
