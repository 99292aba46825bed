/**
 * What surrounds one run of an entry, in memory: hooks that a script answers, posts that are kept, states on a disk that may refuse or
 * hold anything, and sources that are what the test says.
 */
import type { Failure } from "#base/errors.ts";
import type { BackupDeps } from "#agent/backup-run.ts";
import type { EntryRunDeps } from "#agent/entry-run.ts";
import type { HookCommand, HookOutcome } from "#agent/hooks.ts";
import { Notifier, type PostRequest } from "#agent/notify.ts";
import { type StateDisk, StateStore } from "#agent/state-store.ts";
import type { SourceFacts } from "#archive/source-facts.ts";
import type { ObservedEvent } from "#observe/events.ts";

class MemoryStateDisk implements StateDisk {
  readonly files = new Map<string, Uint8Array>();
  /** Every write fails with that errno. */
  refusing: string | undefined;
  /** Every read fails with that errno. */
  unreadable: string | undefined;

  read(path: string): Promise<Uint8Array | undefined> {
    if (this.unreadable !== undefined)
      return Promise.reject(Object.assign(new Error("unreadable"), { code: this.unreadable }));
    return Promise.resolve(this.files.get(path));
  }

  replace(path: string, bytes: Uint8Array): Promise<void> {
    if (this.refusing !== undefined)
      return Promise.reject(Object.assign(new Error("refused"), { code: this.refusing }));
    this.files.set(path, Uint8Array.from(bytes));
    return Promise.resolve();
  }
}

const STATES = "/state/entries";

export class EntryWorld {
  readonly disk: MemoryStateDisk;
  readonly hooks: HookCommand[] = [];
  readonly posts: PostRequest[] = [];
  readonly events: ObservedEvent[] = [];
  readonly states: StateStore;
  readonly deps: EntryRunDeps;
  /** What a hook comes to. */
  onHook: (command: HookCommand) => HookOutcome | Promise<HookOutcome> = () => ({ kind: "exited", code: 0 });
  onPost: (request: PostRequest) => number | Promise<number> = () => 200;
  facts: readonly SourceFacts[] = [];
  /** The look at the sources fails with it. */
  lookFailure: Failure | undefined;

  constructor(backup: BackupDeps, disk = new MemoryStateDisk()) {
    const { clock, random, log } = backup;
    this.disk = disk;
    this.states = new StateStore(this.disk, STATES, log);
    this.deps = {
      backup,
      states: this.states,
      runCommand: async (command) => {
        this.hooks.push(command);
        return await this.onHook(command);
      },
      notifier: new Notifier({
        ...{ clock, random, log },
        post: async (request) => {
          this.posts.push(request);
          return await this.onPost(request);
        },
      }),
      events: { emit: (event) => void this.events.push(event) },
      sourceFacts: () => {
        if (this.lookFailure !== undefined) throw this.lookFailure;
        return this.facts;
      },
    };
  }
}
