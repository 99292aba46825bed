/**
 * Who is here: running sessions by id, who holds each agent's backup entry, and how the last sessions ended. It judges
 * nothing and ends nobody.
 */
import { assert, must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { AGENT_ENTRIES_MAX, ENDED_SESSIONS_MAX, LIMIT_RETRY_MS } from "./limits.ts";
import type { Occupant } from "./occupant.ts";
import type { Session } from "./session.ts";
import type { PastSession } from "./session-types.ts";

export class Registry {
  readonly #sessions = new Map<string, Session>();
  readonly #entries = new Map<string, Occupant>();
  /** How many entries each agent holds. */
  readonly #held = new Map<string, number>();
  /** In order of their end. */
  readonly #past = new Map<string, PastSession>();

  sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  session(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  past(id: string): PastSession | undefined {
    return this.#past.get(id);
  }

  occupant(agent: string, backup: string): Occupant | undefined {
    return this.#entries.get(entryKey(agent, backup));
  }

  /** The entry must be free. Throws Failure E_LIMIT when the agent holds AGENT_ENTRIES_MAX. */
  occupy(agent: string, backup: string, occupant: Occupant): void {
    const key = entryKey(agent, backup);
    assert(!this.#entries.has(key), `entry ${key} is held already`);
    const held = this.#held.get(agent) ?? 0;
    if (held >= AGENT_ENTRIES_MAX) {
      throw new Failure("E_LIMIT", `${held} backups of agent ${agent} run or wait already`, {
        hint: "Look for an agent that invents backup names, or let its backups run after one another.",
        retryAfterMs: LIMIT_RETRY_MS,
      });
    }
    this.#entries.set(key, occupant);
    this.#held.set(agent, held + 1);
  }

  /** The applicant's session takes over what the applicant held. */
  admit(applicant: Occupant, session: Session): void {
    const key = entryKey(session.plan.agent, session.plan.backup);
    assert(this.#entries.get(key) === applicant, `entry ${key} is not held by who was admitted`);
    this.#entries.set(key, session);
    this.#sessions.set(session.plan.id, session);
  }

  /** A session that nobody had to apply for; its entry must be free. Throws as `occupy` does. */
  enter(session: Session): void {
    this.occupy(session.plan.agent, session.plan.backup, session);
    this.#sessions.set(session.plan.id, session);
  }

  /** Gives the entry back if this one holds it. */
  vacate(agent: string, backup: string, occupant: Occupant): void {
    const key = entryKey(agent, backup);
    if (this.#entries.get(key) !== occupant) return;
    this.#entries.delete(key);
    const left = must(this.#held.get(agent), `entries of agent ${agent}`) - 1;
    if (left === 0) this.#held.delete(agent);
    else this.#held.set(agent, left);
  }

  /** A session is over: its entry is free, its end is remembered. */
  close(session: Session, past: PastSession): void {
    this.#sessions.delete(session.plan.id);
    this.vacate(session.plan.agent, session.plan.backup, session);
    this.remember(past);
  }

  /** How a session ended that may never have run here. */
  remember(past: PastSession): void {
    this.#past.set(past.id, past);
    for (const oldest of this.#past.keys()) {
      if (this.#past.size <= ENDED_SESSIONS_MAX) break;
      this.#past.delete(oldest);
    }
  }
}

/** A name has no slash, so two entries never share a key. */
function entryKey(agent: string, backup: string): string {
  return `${agent}/${backup}`;
}
