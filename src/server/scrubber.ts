/**
 * Has archives read again that were not read for `scrub_days` of their storage, when nothing else of it is to be verified: the longest
 * unread first, each storage by itself, so that a disk that hangs holds up no other. Where it is stands in the storages' records of when each was read, so a restart changes nothing.
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
  /** By storage: a look is under way, or what it has found is being read. */
  readonly #underWay = new Set<string>();

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = every(this.#options.clock, SCRUB_LOOK_MS, () => {
      for (const config of this.#options.configs()) if (config.scrubEveryMs > 0) void this.#look(config);
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Begins with what is due, if anything is. Never rejects. */
  async #look({ name }: StorageConfig): Promise<void> {
    if (this.#underWay.has(name) || !this.#options.verifier.idle(name)) return;
    this.#underWay.add(name);
    // What could not be read, or not be noted, would be due again at once: it waits for the next look, and keeps up no other.
    const tried = new Set<string>();
    try {
      for (let next = await this.#next(name, tried); next !== undefined; next = await this.#next(name, tried)) {
        const archive = next;
        tried.add(archive);
        await new Promise<boolean>((over) => this.#options.verifier.scrub(name, archive, over));
      }
    } finally {
      this.#underWay.delete(name);
    }
  }

  async #next(name: string, tried: ReadonlySet<string>): Promise<string | undefined> {
    const { storages, clock, events } = this.#options;
    // A reload may have taken it out, or its key, since.
    const everyMs = this.#options.configs().find((config) => config.name === name)?.scrubEveryMs ?? 0;
    if (this.#timer === undefined || everyMs === 0) return undefined;
    try {
      const { verifications } = await storages.open(name);
      const all = await verifications.due(everyMs * SCRUB_EARLY, clock.wall());
      return all.find(({ archive }) => !tried.has(archive))?.archive;
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
      return undefined;
    }
  }
}
