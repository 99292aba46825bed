/**
 * What an earlier start of the server has left in a storage, from when it was found until the server takes it; and the
 * sessions that could not be dealt with yet, because their disk does not give them back. It reads nothing itself.
 */
import type { Casualty, Completed, Recovered } from "./recovery.ts";

export class LeftOvers<Left> {
  #sessions: Left[] = [];
  #casualties: Casualty[] = [];
  #completed: Completed[] = [];
  /** By session, when that was first found. */
  #unread = new Map<string, number>();

  /** What was found; `sessions` are its survivors, as the server has them. */
  add({ casualties, completed, unread }: Recovered, sessions: readonly Left[], nowMs: number): void {
    this.#sessions.push(...sessions);
    this.#casualties.push(...casualties);
    this.#completed.push(...completed);
    this.#unread = new Map(unread.map((session) => [session, this.#unread.get(session) ?? nowMs]));
  }

  /** Each is handed out once. */
  take(): {
    readonly sessions: readonly Left[];
    readonly casualties: readonly Casualty[];
    readonly completed: readonly Completed[];
  } {
    const taken = { sessions: this.#sessions, casualties: this.#casualties, completed: this.#completed };
    this.#sessions = [];
    this.#casualties = [];
    this.#completed = [];
    return taken;
  }

  /** Since when a session lies here that could not be dealt with; undefined when it does not. */
  unreadSince(session: string): number | undefined {
    return this.#unread.get(session);
  }

  get unread(): readonly string[] {
    return [...this.#unread.keys()];
  }
}
