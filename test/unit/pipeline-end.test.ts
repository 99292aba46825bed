/** How a pipeline ends when it is stopped, when a thread dies, and when a disk hangs. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { LinuxSource } from "#archive/linux-source.ts";
import { WALK_EVERYTHING } from "#archive/walk-rules.ts";
import { errnoName } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { runReader } from "#agent/pipeline-reader.ts";
import { makeSharedMemory, SlabControl, slabBytes } from "#agent/pipeline-slabs.ts";
import type { Thread, ThreadKind } from "#agent/pipeline-threads.ts";
import { roots } from "#test/support/archive-kit.ts";
import { KeepingSink, makePipeline, runToEnd, spawnThread } from "#test/support/pipeline-kit.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { makeSmallFiles, makeTempDir, patternBytes, removeTree } from "#test/support/tree.ts";

let dir = "";
beforeAll(() => {
  dir = makeTempDir();
  for (let i = 0; i < 4; i += 1) fs.writeFileSync(path.join(dir, `f${i}`), patternBytes(MiB, i));
});
afterAll(() => removeTree(dir));

/** A thread made of `source`, in the place of the real one of `kind`; the others are real. */
function replace(kind: ThreadKind, source: string): (wanted: ThreadKind) => Thread {
  const url = URL.createObjectURL(new Blob([source], { type: "application/typescript" }));
  return (wanted) => (wanted === kind ? new Worker(url) : spawnThread(wanted));
}

/** Descriptors of this process at `top` and below. */
function openBelow(top: string): number {
  return fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${fd}`).startsWith(top);
    } catch (error) {
      // The one that lists the descriptors is gone by now.
      if (errnoName(error) === "ENOENT") return false;
      throw error;
    }
  }).length;
}

/** A thread that never does anything, and never ends by itself or when told. */
class DeafThread implements Thread {
  onmessage = null;
  onerror = null;
  terminated = 0;
  addEventListener(): void {
    // It has nothing to tell.
  }
  postMessage(): void {
    // It hears nothing.
  }
  terminate(): void {
    this.terminated += 1;
  }
}

describe("stopping", () => {
  test("ends a reader that waits for a slab, at once and for good", async () => {
    const sink = new KeepingSink();
    sink.room = 0;
    const pipeline = makePipeline([dir], { chunkBytes: 64 * KiB });
    pipeline.start(sink);
    while (pipeline.progress().rawBytes < 4 * 64 * KiB) await new Promise((resolve) => setImmediate(resolve));
    await pipeline.stop();
    await pipeline.stop();
    pipeline.poke();
    expect([sink.summary, sink.failure, sink.chunks.length]).toEqual([undefined, undefined, 0]);
  });
  test("may come before the first chunk, before the start, and in the middle of a chunk", async () => {
    const early = makePipeline([dir]);
    await early.stop();
    const started = makePipeline([dir]);
    started.start(new KeepingSink());
    await started.stop();
    const sink = new KeepingSink();
    const middle = makePipeline([dir], { chunkBytes: 64 * KiB });
    const stopped = new Promise<void>((resolve) => {
      sink.onChunk = () => {
        if (sink.chunks.length === 3) resolve(middle.stop());
      };
    });
    middle.start(sink);
    await stopped;
    expect(sink.chunks.length).toBe(3);
    expect(sink.summary).toBeUndefined();
  });
  test("leaves no file and no directory open, in the middle of a file or after the end", async () => {
    const deep = path.join(dir, "a/b/c");
    fs.mkdirSync(deep, { recursive: true });
    fs.writeFileSync(path.join(deep, "large"), patternBytes(2 * MiB, 9));
    for (let i = 0; i < 5; i += 1) {
      const sink = new KeepingSink();
      const middle = makePipeline([deep], { chunkBytes: 64 * KiB });
      const stopped = new Promise<void>((resolve) => {
        sink.onChunk = () => {
          if (sink.chunks.length === 5) resolve(middle.stop());
        };
      });
      middle.start(sink);
      await stopped;
      expect(openBelow(dir)).toBe(0);
      await runToEnd(makePipeline([deep], { chunkBytes: 64 * KiB }));
      expect(openBelow(dir)).toBe(0);
    }
  });
  test("ends a reader that walks on without filling a chunk", async () => {
    const wide = path.join(dir, "wide");
    makeSmallFiles(wide, 300, 0);
    const messages: string[] = [];
    const memory = makeSharedMemory(1, slabBytes(MiB, "gzip"));
    const source = new LinuxSource({ roots: roots(wide).map((root) => root.path) });
    let looks = 0;
    const lstat = source.lstat.bind(source);
    source.lstat = (at) => {
      looks += 1;
      if (looks === 100) new SlabControl(memory).stop();
      return lstat(at);
    };
    const priority = { nice: 0, ioClass: { kind: "none" } } as const;
    const start = { memory, roots: roots(wide), exclude: [], rules: WALK_EVERYTHING, chunkBytes: MiB, priority };
    runReader(
      { type: "start", ...start },
      (message) => messages.push(message.type),
      () => 0,
      source,
    );
    expect([looks, messages]).toEqual([100, ["stopped"]]);
    expect(openBelow(dir)).toBe(0);
  });
  test("does not wait for ever for a thread that hangs in the kernel", async () => {
    const clock = new SimClock();
    const deaf: DeafThread[] = [];
    const spawn = (): Thread => {
      const thread = new DeafThread();
      deaf.push(thread);
      return thread;
    };
    const pipeline = makePipeline([dir], { clock, spawn });
    pipeline.start(new KeepingSink());
    let stopped = false;
    const stopping = pipeline.stop().then(() => {
      stopped = true;
    });
    await Promise.resolve();
    expect(stopped).toBe(false);
    // The reader gets its time to close what it has open.
    expect(deaf.map((thread) => thread.terminated)).toEqual([1, 1, 0]);
    expect(clock.step()).toBe(true);
    await stopping;
    expect(deaf.map((thread) => thread.terminated)).toEqual([1, 1, 1]);
    expect(clock.now()).toBeLessThanOrEqual(2000);
  });
});

describe("a thread that dies", () => {
  test("by an error fails the run with what it was", async () => {
    const spawn = replace(
      "compress",
      `self.onmessage = (e) => { if (e.data.type !== "start") throw new Error("out of luck"); }`,
    );
    const sink = await runToEnd(makePipeline([dir], { spawn }));
    expect(sink.failure?.code).toBe("E_INTERNAL");
    expect(sink.failure?.message).toContain("out of luck");
  });
  test("by ending fails the run", async () => {
    const spawn = replace("reader", `self.onmessage = () => process.exit(0);`);
    const sink = await runToEnd(makePipeline([dir], { spawn }));
    expect(sink.failure?.code).toBe("E_INTERNAL");
  });
  test("before it could start fails the run", async () => {
    const sink = await runToEnd(makePipeline([dir], { spawn: replace("reader", "import 'no-such-module-at-all';") }));
    expect(sink.failure?.code).toBe("E_INTERNAL");
  });
});
