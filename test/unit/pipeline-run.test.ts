/** The reader and compress threads together: the same bytes whatever their number, in order, within the room they are given. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { crc32 } from "node:zlib";
import { LinuxSource } from "#archive/linux-source.ts";
import { NO_SOCKETS } from "#base/chunk.ts";
import { errnoName } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import { KiB, MiB } from "#base/units.ts";
import { systemClock } from "#bin/system.ts";
import { readFiles, roots } from "#test/support/archive-kit.ts";
import { InlineProducer } from "#test/support/inline-producer.ts";
import { collect, openIndex } from "#test/support/index-kit.ts";
import { KeepingSink, makePipeline, runToEnd, testHeader } from "#test/support/pipeline-kit.ts";
import { makeSmallFiles, makeTempDir, patternBytes, removeTree } from "#test/support/tree.ts";

let dir = "";
beforeAll(() => {
  dir = makeTempDir();
  makeSmallFiles(path.join(dir, "small"), 600, 3000);
  fs.writeFileSync(path.join(dir, "large"), patternBytes(5 * MiB + 77));
  fs.writeFileSync(path.join(dir, "secret"), "");
});
afterAll(() => removeTree(dir));

/** What an index says, but for what the clock has a share in. */
async function contents(index: Uint8Array): Promise<unknown> {
  const reader = await openIndex(index);
  const entries = (await collect(reader.entries())).map((entry) => ({ ...entry, racy: false }));
  return { header: reader.header, totals: reader.totals, entries, chunks: await collect(reader.chunks()) };
}

describe("the pipeline", () => {
  test("gives the same archive with 1, 2 and 7 compress threads as without threads", async () => {
    for (const mode of ["gzip", "zst"] as const) {
      const compression = { mode, level: 1 };
      const chunkBytes = 256 * KiB;
      const source = new LinuxSource({ roots: roots(dir).map((root) => root.path) });
      const inline = new InlineProducer({
        source,
        roots: roots(dir),
        exclude: [],
        compression,
        chunkBytes,
        index: testHeader(mode),
        clock: systemClock,
      });
      const expected = await runToEnd(inline);
      expect(expected.chunks.length).toBeGreaterThan(25);
      for (const workers of [1, 2, 7]) {
        const sink = await runToEnd(makePipeline([dir], { compression, chunkBytes, workers }));
        expect(sink.failure).toBeUndefined();
        expect(sink.archive.equals(expected.archive)).toBe(true);
        expect(sink.chunks.map((chunk) => [chunk.kind, chunk.rawLength])).toEqual(
          expected.chunks.map((chunk) => [chunk.kind, chunk.rawLength]),
        );
        expect(sink.summary).toEqual(expected.summary);
        expect(await contents(sink.index)).toEqual(await contents(expected.index));
      }
    }
  }, 120_000);
  test("gives chunks that hold the archive, each with its own proof", async () => {
    const sink = await runToEnd(makePipeline([dir], { chunkBytes: 128 * KiB }));
    const { tar, chunks } = readFiles([dir], { chunkBytes: 128 * KiB });
    expect(
      Buffer.concat(sink.chunks.map((chunk) => Bun.gunzipSync(chunk.stored as Uint8Array<ArrayBuffer>))).equals(tar),
    ).toBe(true);
    for (const chunk of sink.chunks) {
      expect(chunk.crc).toBe(crc32(chunk.stored));
      expect(Buffer.from(chunk.digest).toString("hex")).toBe(
        new Bun.CryptoHasher("sha256").update(chunk.stored).digest("hex"),
      );
    }
    const entries = chunks.reduce((total, chunk) => total + chunk.entries, 0);
    expect(sink.summary).toEqual({ entries, rawBytes: tar.length, problemCount: 0, sockets: NO_SOCKETS, unread: [] });
  });
  test("goes on when poked, as far as there is room, and asks for little more than its slabs hold", async () => {
    const sink = new KeepingSink();
    sink.room = 1;
    const pipeline = makePipeline([dir], { chunkBytes: 128 * KiB });
    sink.onChunk = () => pipeline.poke();
    await runToEnd(pipeline, sink);
    expect(sink.refusals).toBeGreaterThan(0);
    expect(sink.reservedMost).toBe(1);
    expect(sink.archive.equals((await runToEnd(makePipeline([dir], { chunkBytes: 128 * KiB }))).archive)).toBe(true);
    const free = await runToEnd(makePipeline([dir], { chunkBytes: 128 * KiB }));
    // At the end five blocks of the index, which are made when it is their turn and take no slab, may wait behind the slabs.
    expect(free.reservedMost).toBeLessThanOrEqual(6 + 5);
  });
  test("stands still without room, reads no further than its slabs, and carries on later", async () => {
    const sink = new KeepingSink();
    sink.room = 0;
    const pipeline = makePipeline([dir], { chunkBytes: 64 * KiB });
    pipeline.start(sink);
    // Six slabs: the directory, the headers of the large file, and four chunks of its data.
    await until(() => pipeline.progress().rawBytes > 4 * 64 * KiB);
    expect(sink.chunks.length).toBe(0);
    expect(pipeline.progress().rawBytes).toBeLessThan(5 * 64 * KiB);
    expect(pathText(pipeline.progress().currentPath)).toStartWith(dir);
    sink.room = Number.POSITIVE_INFINITY;
    pipeline.poke();
    await sink.ended;
    expect(sink.summary?.rawBytes).toBeGreaterThan(7 * MiB);
    await pipeline.stop();
  });
  test("leaves out what is excluded, and sockets, which it names beside the problems", async () => {
    const special = path.join(dir, "special");
    fs.mkdirSync(special);
    const socket = Bun.listen({ unix: path.join(special, "socket"), socket: { data: () => undefined } });
    const sink = await runToEnd(makePipeline([special], { exclude: ["*.none"] }));
    socket.stop(true);
    removeTree(special);
    expect(sink.problemList).toEqual([]);
    expect(sink.summary).toMatchObject({ entries: 1, problemCount: 0, sockets: { count: 1 } });
    expect(sink.summary?.sockets.paths.map(pathText)).toEqual([`${special}/socket`]);
  });
  test("fails with the code of a source that is gone, or of a pattern that cannot be", async () => {
    const gone = await runToEnd(makePipeline([path.join(dir, "no such")]));
    expect(gone.failure?.toString()).toBe(`E_SOURCE_MISSING: source ${dir}/no such does not exist (ENOENT)`);
    const pattern = await runToEnd(makePipeline([dir], { exclude: ["[x"] }));
    expect(pattern.failure?.code).toBe("E_CONFIG");
  });
  test("runs its threads at the priority it is told", async () => {
    const priority = { nice: 5, ioClass: { kind: "idle" } } as const;
    const sink = new KeepingSink();
    sink.room = 0;
    const before = niceOf(String(process.pid));
    const pipeline = makePipeline([dir], { priority });
    pipeline.start(sink);
    // The reader and both compress threads; each changes only itself.
    await until(() => threadsAtNice(5) >= 3);
    expect(niceOf(String(process.pid))).toBe(before);
    await pipeline.stop();
  });
});

/** Field 19 of /proc/self/task/TID/stat; the name in field 2 may hold spaces. A thread that is gone has none. */
function niceOf(tid: string): string {
  try {
    const stat = fs.readFileSync(`/proc/self/task/${tid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16] ?? "";
  } catch (error) {
    if (errnoName(error) === "ENOENT" || errnoName(error) === "ESRCH") return "";
    throw error;
  }
}

function threadsAtNice(nice: number): number {
  return fs.readdirSync("/proc/self/task").filter((tid) => niceOf(tid) === String(nice)).length;
}

/** Turns of the event loop until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
