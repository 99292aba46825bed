/**
 * What the reader thread does: fills one slab after another with raw chunks until the tree is read, the run is stopped, or
 * something breaks. One loop without awaiting: in this thread nothing else happens. Sends one message per chunk.
 */
import { ChunkReader } from "#archive/chunk-reader.ts";
import { Excludes } from "#archive/exclude.ts";
import { LinuxSource } from "#archive/linux-source.ts";
import type { FileSource } from "#archive/source.ts";
import { must } from "#base/assert.ts";
import { toFailure } from "#base/errors.ts";
import type { FromReader, ReaderStart } from "./pipeline-messages.ts";
import { applyPriority } from "./pipeline-priority.ts";
import { ProblemBatches } from "./pipeline-problems.ts";
import { SlabControl } from "./pipeline-slabs.ts";

/**
 * Each entry leaves a few hundred bytes of garbage, and the collector lets tens of megabytes of it gather before it begins. A
 * collection takes a few milliseconds, because hardly anything is alive.
 */
const ENTRIES_PER_COLLECTION = 4_000;

export type Post = (message: FromReader) => void;

/** Thrown between two paths once the run is stopped: a tree may go on for long without filling a chunk. */
const STOPPED: unique symbol = Symbol("stopped");

/**
 * Runs to the end of the tree; every outcome is a message, posted when nothing is open any more: what comes after it may be
 * cut short. `wall` gives milliseconds since 1970; `source` is for tests.
 */
export function runReader(start: ReaderStart, post: Post, wall: () => number, source?: FileSource): void {
  try {
    applyPriority(start.priority);
    post(readAll(start, post, wall, source ?? new LinuxSource({ roots: start.roots.map((root) => root.path) })));
  } catch (error) {
    const failure = toFailure(error);
    post({ type: "failed", code: failure.code, message: failure.message, hint: failure.hint });
  }
}

/** Posts the chunks and problems, and gives the reader's last message. */
function readAll(start: ReaderStart, post: Post, wall: () => number, source: FileSource): FromReader {
  const control = new SlabControl(start.memory);
  const slabs = start.memory.slabs.map((slab) => new Uint8Array(slab));
  const problems = new ProblemBatches((batch) => post({ type: "problems", problems: batch }));
  const reader = new ChunkReader({
    source,
    roots: start.roots,
    excludes: new Excludes(start.exclude),
    rules: start.rules,
    chunkBytes: start.chunkBytes,
    wall,
    report: (path, reason, errno) => problems.add(path, reason, errno),
    onPath: (path) => {
      if (control.stopped) throw STOPPED;
      control.publishPath(path);
    },
  });
  try {
    let uncollected = 0;
    for (let slab = control.take(); slab !== undefined; slab = control.take()) {
      const chunk = reader.next(must(slabs[slab], "a slab"));
      problems.flush();
      if (chunk === undefined) return { type: "end", findings: problems.findings() };
      post({ type: "chunk", slab, chunk });
      uncollected += chunk.kind === "index" ? 0 : chunk.entries;
      if (uncollected < ENTRIES_PER_COLLECTION) continue;
      uncollected = 0;
      Bun.gc(true);
    }
    return { type: "stopped" };
  } catch (error) {
    if (error !== STOPPED) throw error;
    return { type: "stopped" };
  } finally {
    reader.close();
  }
}
