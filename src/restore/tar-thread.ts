/**
 * What the thread that takes entries does: gets raw pieces of the tar stream in order, and leads them to a tree, an output or nowhere. One
 * message in, one message out, without awaiting: system calls are synchronous here.
 */
import { readFileSync } from "node:fs";
import { parseIdNames } from "#archive/id-names.ts";
import { dispensable } from "#archive/source.ts";
import { assert, must } from "#base/assert.ts";
import { toFailure } from "#base/errors.ts";
import { CatSink } from "./cat-sink.ts";
import { CopySink } from "./copy-sink.ts";
import { Deletion } from "./deletion-policy.ts";
import { Output } from "./output.ts";
import { RestoreProblems } from "./problems.ts";
import { type SeenEntries, SeenSink } from "./seen-entries.ts";
import { Selection } from "./selection.ts";
import { type Slot, viewSlots } from "./slots.ts";
import { type EntrySink, TarFeed } from "./tar-feed.ts";
import type { FromTar, RestoreJob, TarJob, TarReport, ToTar } from "./tar-job.ts";
import type { TreeCounts } from "./tree-options.ts";
import { TreeWriter } from "./tree-writer.ts";
import { writeCalls } from "./write-calls.ts";

/** What a job does with entries, and at its end. */
interface Task {
  readonly sink: EntrySink;
  readonly counts: TreeCounts;
  /** Names that another pass must bring. */
  wanted(): readonly Uint8Array[];
  beginLinks(): void;
  finish(): void;
  abort(): void;
  /** What came since it was asked last. */
  seen?(): SeenEntries | undefined;
}

/**
 * Each entry leaves some garbage, and the collector lets tens of megabytes of it gather before it begins. A collection takes a few
 * milliseconds, because hardly anything is alive.
 */
const ENTRIES_PER_COLLECTION = 5_000;

export class TarThread {
  readonly #problems = new RestoreProblems();
  #slots: readonly Slot[] = [];
  #task: Task | undefined;
  #feed: TarFeed | undefined;
  #collectedAt = 0;
  #ended = false;
  #failed: FromTar | undefined;

  /** The answer, which is the only message to send for this one. Does not throw. */
  handle(message: ToTar): FromTar {
    // Pieces that were on their way when it failed.
    if (this.#failed !== undefined && message.type !== "abort") return this.#failed;
    try {
      return this.#handle(message);
    } catch (error) {
      const { code, message: text, hint } = toFailure(error);
      this.#failed = { type: "failed", code, message: text, hint };
      this.#abort();
      return this.#failed;
    }
  }

  #handle(message: ToTar): FromTar {
    if (message.type === "start") {
      this.#slots = viewSlots(message.slots);
      this.#task = makeTask(message.job, this.#problems);
      this.#feed = new TarFeed(this.#task.sink);
      return this.#taken();
    }
    const task = must(this.#task, "the start message");
    const feed = must(this.#feed, "the start message");
    assert(!this.#ended || message.type === "abort", "a message behind the last one");
    switch (message.type) {
      case "piece":
        feed.push(this.#raw(message.slot, message.length), message.piece);
        return this.#taken();
      case "bytes":
        feed.push(this.#raw(message.slot, message.length), undefined);
        return this.#taken();
      case "missing":
        feed.missing(message.piece, message.fault, message.rawLength, message.resumeAt);
        return this.#taken();
      case "broken":
        feed.broken(message.fault, message.offset);
        return this.#taken();
      case "incomplete":
        task.sink.incomplete();
        return this.#taken();
      case "end-pass": {
        feed.endPass(message.partial);
        const wanted = task.wanted();
        if (wanted.length > 0) task.beginLinks();
        return { type: "pass", wanted };
      }
      case "finish":
        task.finish();
        this.#ended = true;
        return { type: "report", report: this.#report(task, feed) };
      case "abort":
        this.#abort();
        return { type: "report", report: this.#report(task, feed) };
    }
  }

  #abort(): void {
    if (!this.#ended) this.#task?.abort();
    this.#ended = true;
  }

  #raw(slot: number, length: number): Uint8Array {
    return must(this.#slots[slot], "a slot").raw.subarray(0, length);
  }

  #taken(): FromTar {
    const entries = this.#feed?.entries ?? 0;
    if (entries - this.#collectedAt >= ENTRIES_PER_COLLECTION) {
      this.#collectedAt = entries;
      Bun.gc(true);
    }
    return {
      type: "taken",
      progress: { entries, bytes: this.#task?.counts.bytes ?? 0, path: this.#feed?.lastPath },
      seen: this.#task?.seen?.(),
    };
  }

  #report(task: Task, feed: TarFeed): TarReport {
    return {
      entries: feed.entries,
      counts: { ...task.counts },
      problems: this.#problems.listed,
      problemCount: this.#problems.count,
      replacedLinks: this.#problems.links,
      replacedLinkCount: this.#problems.linkCount,
      damages: feed.damages,
      damageCount: feed.damageCount,
    };
  }
}

function makeTask(job: TarJob, problems: RestoreProblems): Task {
  switch (job.kind) {
    case "restore":
      return restoreTask(job, problems);
    case "cat":
      return catTask(job.path, job.fd, problems);
    case "copy":
      return copyTask(job.paths, job.fd, problems);
    case "verify":
      return verifyTask(job.compare);
  }
}

const NOTHING = {
  wanted: (): readonly Uint8Array[] => [],
  beginLinks: (): void => undefined,
  finish: (): void => undefined,
  abort: (): void => undefined,
};

const LOOK_ONLY: EntrySink = {
  entry: () => undefined,
  data: () => undefined,
  lost: () => undefined,
  entryEnd: () => undefined,
  incomplete: () => undefined,
};

function verifyTask(compare: boolean): Task {
  const counts: TreeCounts = { restored: 0, kept: 0, bytes: 0, deleted: 0 };
  if (!compare) return { ...NOTHING, sink: LOOK_ONLY, counts };
  const sink = new SeenSink();
  return { ...NOTHING, sink, counts, seen: () => sink.take() };
}

function restoreTask(job: RestoreJob, problems: RestoreProblems): Task {
  const selection = new Selection(job.paths);
  const writer = new TreeWriter({
    ...{ target: job.target, selection, overwrite: job.overwrite, stripComponents: job.stripComponents },
    ...{ dryRun: job.dryRun, temporaryName: job.temporaryName, startedSeconds: job.startedSeconds },
    deletion: job.deleteExcept && new Deletion(job.deleteExcept),
    metadata: {
      ...{ privileged: job.privileged, owners: job.owners, uid: job.uid, gids: new Set(job.gids) },
      userId: idsOf("/etc/passwd"),
      groupId: idsOf("/etc/group"),
    },
    problem: (path, reason, errno) => problems.add(path, reason, errno),
    linkReplaced: (path) => problems.linkReplaced(path),
  });
  return {
    sink: writer,
    counts: writer.counts,
    wanted: () => writer.deferred.targets(),
    beginLinks: () => writer.beginLinks(),
    finish: () => {
      for (const path of selection.missing()) problems.add(path, "not-in-archive");
      writer.finish();
    },
    abort: () => writer.abort(),
  };
}

function catTask(path: Uint8Array, fd: number, problems: RestoreProblems): Task {
  const sink = new CatSink(path, new Output(writeCalls(), fd));
  return {
    ...NOTHING,
    sink,
    counts: { restored: 0, kept: 0, bytes: 0, deleted: 0 },
    wanted: () => (sink.wanted === undefined ? [] : [sink.wanted]),
    beginLinks: () => sink.beginLinks(),
    finish: () => {
      for (const reason of sink.finish()) problems.add(path, reason);
    },
  };
}

function copyTask(paths: readonly Uint8Array[], fd: number, problems: RestoreProblems): Task {
  const selection = new Selection(paths);
  const sink = new CopySink(selection, new Output(writeCalls(), fd), (path, reason) => problems.add(path, reason));
  return {
    ...NOTHING,
    sink,
    counts: sink.counts,
    finish: () => {
      for (const path of selection.missing()) problems.add(path, "not-in-archive");
      sink.finish();
    },
  };
}

/** Names to numbers of this machine. A system without the file knows nobody. Throws Failure E_EXHAUSTED. */
function idsOf(file: string): (name: string) => number | undefined {
  const ids = readIds(file);
  return (name) => ids.get(name);
}

function readIds(file: string): ReadonlyMap<string, number> {
  try {
    return new Map([...parseIdNames(readFileSync(file, "utf8"))].map(([id, name]) => [name, id]));
  } catch (error) {
    dispensable(error, "open");
    return new Map();
  }
}
