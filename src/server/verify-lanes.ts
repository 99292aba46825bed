/**
 * Who may be read for a verification now: every storage has a line of its own, and of each disk one storage has its turn. So a disk that
 * hangs holds up nobody but the storages on it. What is done in a turn is passed in.
 */
import { Turns } from "#store/turns.ts";

export interface VerifyLanesOptions<Job> {
  /** Storages that give the same text take turns. A look that hangs holds up that storage alone. */
  readonly diskOf: (storage: string) => Promise<string>;
  /** Ends soon when the signal aborts, unless the disk hangs. Never rejects. */
  readonly work: (job: Job, signal: AbortSignal) => Promise<void>;
}

interface Lane<Job> {
  readonly waiting: Job[];
  readonly leave: AbortController;
  running: Promise<void>;
}

export class VerifyLanes<Job extends { readonly storage: string }> {
  readonly #options: VerifyLanesOptions<Job>;
  /** By storage, those in which something is under way. */
  readonly #lanes = new Map<string, Lane<Job>>();
  readonly #disks = new Turns();

  constructor(options: VerifyLanesOptions<Job>) {
    this.#options = options;
  }

  /** Behind what waits for the same storage already. */
  add(job: Job): void {
    const lane = this.#lanes.get(job.storage);
    if (lane !== undefined && !lane.leave.signal.aborted) {
      lane.waiting.push(job);
      return;
    }
    const begun: Lane<Job> = { waiting: [job], leave: new AbortController(), running: Promise.resolve() };
    this.#lanes.set(job.storage, begun);
    const before = lane?.running ?? Promise.resolve();
    begun.running = before.then(() => this.#run(job.storage, begun));
  }

  idle(storage: string): boolean {
    return !this.#lanes.has(storage);
  }

  /** What waits there is given back, what is under way is told to end. Resolves when it has. Never rejects. */
  leave(storage: string): { readonly waiting: readonly Job[]; readonly over: Promise<void> } {
    const lane = this.#lanes.get(storage);
    if (lane === undefined) return { waiting: [], over: Promise.resolve() };
    lane.leave.abort();
    return { waiting: lane.waiting.splice(0), over: lane.running };
  }

  /** As `leave`, of all. */
  async stop(): Promise<void> {
    await Promise.all([...this.#lanes.keys()].map((storage) => this.leave(storage).over));
  }

  async #run(storage: string, lane: Lane<Job>): Promise<void> {
    for (let job = lane.waiting.shift(); job !== undefined; job = lane.waiting.shift()) await this.#one(job, lane);
    if (this.#lanes.get(storage) === lane) this.#lanes.delete(storage);
  }

  async #one(job: Job, { leave }: Lane<Job>): Promise<void> {
    // Of a directory that is not there nobody knows the disk; the work finds out what is wrong with it.
    const disk = await this.#options.diskOf(job.storage).catch(() => `storage ${job.storage}`);
    await this.#disks.run(disk, () => this.#options.work(job, leave.signal));
  }
}
