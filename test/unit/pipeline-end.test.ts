/** How a pipeline ends when it is stopped, when a thread dies, and when a disk hangs. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { KiB, MiB } from "#base/units.ts";
import type { Thread, ThreadKind } from "#agent/pipeline-threads.ts";
import { KeepingSink, makePipeline, runToEnd, spawnThread } from "#test/support/pipeline-kit.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { makeTempDir, patternBytes, removeTree } from "#test/support/tree.ts";

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
    expect(deaf.map((thread) => thread.terminated)).toEqual([1, 1, 1]);
    expect(clock.step()).toBe(true);
    await stopping;
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
