/**
 * Has archives read again that were not read for `scrub_days` of their storage, when nothing else is to be verified: the longest unread
 * first, over all storages. Where it is stands in the storages' records of when each was read, so a restart changes nothing.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import { toFailure } from "#base/errors.ts";
import type { StorageConfig } from "#config/types.ts";
import type { EventSink } from "#observe/events.ts";
import { SCRUB_EARLY, SCRUB_LOOK_MS } from "./limits.ts";
import type { StorageShelf } from "./storage-shelf.ts";
import type { Verifier } from "./verifier.ts";

export interface ScrubberOptions {
  /** As they are now: a reload changes them. */
  readonly configs: () => readonly StorageConfig[];
  readonly storages: StorageShelf;
  readonly verifier: Verifier;
  readonly clock: Clock;
  readonly events: EventSink;
}

export class Scrubber {
  readonly #options: ScrubberOptions;
  #timer: Timer | undefined;
  /** A look is under way, or what it has found is being read. */
  #underWay = false;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = every(this.#options.clock, SCRUB_LOOK_MS, () => void this.#look());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Begins with what is due, if anything is. Never rejects. */
  async #look(): Promise<void> {
    if (this.#underWay || !this.#options.verifier.idle) return;
    this.#underWay = true;
    // What could not be read, or not be noted, would be due again at once: it waits for the next look, and keeps up no other.
    const tried = new Set<string>();
    try {
      for (let next = await this.#next(tried); next !== undefined; next = await this.#next(tried)) {
        const { storage, archive } = next;
        tried.add(keyOf(storage, archive));
        await new Promise<boolean>((over) => this.#options.verifier.scrub(storage, archive, over));
      }
    } finally {
      this.#underWay = false;
    }
  }

  async #next(tried: ReadonlySet<string>): Promise<{ readonly storage: string; readonly archive: string } | undefined> {
    const { storages, clock, events } = this.#options;
    for (const { name, scrubEveryMs } of this.#options.configs()) {
      if (this.#timer === undefined) return undefined;
      if (scrubEveryMs === 0) continue;
      try {
        const { verifications } = await storages.open(name);
        const all = await verifications.due(scrubEveryMs * SCRUB_EARLY, clock.wall());
        const due = all.find(({ archive }) => !tried.has(keyOf(name, archive)));
        if (due !== undefined) return { storage: name, archive: due.archive };
      } catch (error) {
        const { code, message } = toFailure(error);
        if (this.#timer === undefined) return undefined;
        const text = `storage ${name} cannot be scrubbed now: ${message}`;
        events.emit({
          kind: "scrub.failed",
          level: "warn",
          message: text,
          fields: { storage: name, code },
          repeatKey: name,
        });
      }
    }
    return undefined;
  }
}

function keyOf(storage: string, archive: string): string {
  return `${storage} ${archive}`;
}
