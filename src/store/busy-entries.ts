/** Which backup entries of a storage have a session, and which one: only that one gives the entry back. It touches no disk. */
import { entryDirectory } from "./archive-names.ts";

interface Holder {
  readonly agent: string;
  readonly backup: string;
  readonly session: string;
}

export class BusyEntries {
  /** By `agent/backup`. */
  readonly #sessions = new Map<string, string>();

  get size(): number {
    return this.#sessions.size;
  }

  has({ agent, backup }: Omit<Holder, "session">): boolean {
    return this.#sessions.has(entryDirectory(agent, backup));
  }

  /** Whoever held it before does not any more. */
  take({ agent, backup, session }: Holder): void {
    this.#sessions.set(entryDirectory(agent, backup), session);
  }

  free({ agent, backup, session }: Holder): void {
    const entry = entryDirectory(agent, backup);
    if (this.#sessions.get(entry) === session) this.#sessions.delete(entry);
  }
}
