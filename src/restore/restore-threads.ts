/** The threads of one restore or verification: some that decompress, one that takes entries. Started, asked, ended together. */
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import type { FromInflate, ToInflate } from "./inflate-thread.ts";
import type { InflateSpec } from "./inflate.ts";
import type { PieceFault } from "./piece.ts";
import type { Inflater } from "./pipeline.ts";
import { type Slot, type SlotMemory, viewSlots } from "./slots.ts";
import { OrderedAnswers, TarConsumer } from "./tar-consumer.ts";
import type { FromTar, TarJob, ToTar } from "./tar-job.ts";

export type RestoreThreadKind = "inflate" | "tar";

/** What is needed of a Worker. */
export interface RestoreThread {
  onmessage: ((event: MessageEvent<unknown>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: unknown): void;
  terminate(): void;
}

/** Makes a thread; passed in from src/bin, where a compiled executable finds its workers. */
export type SpawnRestoreThread = (kind: RestoreThreadKind) => RestoreThread;

interface Waiting {
  resolve(outcome: number | PieceFault): void;
  reject(error: unknown): void;
}

export class RestoreThreads implements Inflater {
  readonly #threads: RestoreThread[] = [];
  readonly #inflaters: RestoreThread[];
  /** Pieces given to each decompressing thread and not answered: the one with the fewest gets the next. */
  readonly #load: number[];
  readonly #waiting = new Map<number, Waiting & { readonly thread: number }>();
  readonly #answers = new OrderedAnswers();
  readonly #memory: readonly SlotMemory[];
  #dead: Failure | undefined;
  readonly slots: readonly Slot[];
  readonly consumer: TarConsumer;

  constructor(spawn: SpawnRestoreThread, inflaterCount: number, memory: readonly SlotMemory[]) {
    this.#memory = memory;
    this.slots = viewSlots(memory);
    const tar = this.#add(spawn("tar"), "tar", (data) => this.#answers.answer(data as FromTar));
    this.consumer = new TarConsumer((message: ToTar) => this.#answers.ask(() => tar.postMessage(message)));
    this.#inflaters = Array.from({ length: inflaterCount }, () =>
      this.#add(spawn("inflate"), "inflate", (data) => this.#inflated(data as FromInflate)),
    );
    this.#load = this.#inflaters.map(() => 0);
    const start: ToInflate = { type: "start", slots: memory };
    for (const thread of this.#inflaters) thread.postMessage(start);
  }

  async start(job: TarJob): Promise<void> {
    await this.consumer.start({ type: "start", slots: this.#memory, job });
  }

  inflate(slot: Slot, storedLength: number, spec: InflateSpec): Promise<number | PieceFault> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    const thread = this.#load.indexOf(Math.min(...this.#load));
    this.#load[thread] = must(this.#load[thread], "a thread") + 1;
    // Only this much of a piece travels: it has the entry's whole row in it.
    const { mode, rawLength, crc, digest } = spec;
    const message: ToInflate = {
      type: "inflate",
      slot: slot.number,
      storedLength,
      spec: { mode, rawLength, crc, digest },
    };
    return new Promise((resolve, reject) => {
      this.#waiting.set(slot.number, { resolve, reject, thread });
      must(this.#inflaters[thread], "a thread").postMessage(message);
    });
  }

  stop(): void {
    for (const thread of this.#threads) {
      thread.onmessage = null;
      thread.onerror = null;
      thread.terminate();
    }
  }

  #add(thread: RestoreThread, kind: RestoreThreadKind, onMessage: (data: unknown) => void): RestoreThread {
    this.#threads.push(thread);
    thread.onmessage = (event): void => onMessage(event.data);
    thread.onerror = (event): void => {
      event.preventDefault();
      this.#die(new Failure("E_INTERNAL", `the ${kind} thread failed: ${event.message}`));
    };
    return thread;
  }

  #inflated({ slot, outcome }: FromInflate): void {
    const waiting = must(this.#waiting.get(slot), "a piece that waits");
    this.#waiting.delete(slot);
    this.#load[waiting.thread] = must(this.#load[waiting.thread], "a thread") - 1;
    waiting.resolve(outcome);
  }

  #die(failure: Failure): void {
    this.#dead ??= failure;
    this.#answers.die(failure);
    for (const { reject } of this.#waiting.values()) reject(failure);
    this.#waiting.clear();
  }
}
