/**
 * Connections that belong to a session come back through here: session connections that resume, streams that take a
 * slot. PROTOCOL.md "A session". Only the same agent and run may come; an older connection in the same place is asked
 * whether it lives before the newer one takes over.
 */
import { Failure, toFailure } from "#base/errors.ts";
import type { EventSink } from "#observe/events.ts";
import { failureFields } from "#wire/failure.ts";
import { PROTOCOL_VERSION_MAX } from "#wire/limits.ts";
import { BUSY_RETRY_MS } from "./limits.ts";
import type { Link, LinkOwner } from "./link.ts";
import type { Registry } from "./registry.ts";
import type { Session } from "./session.ts";
import { connectionRefused } from "./session-ends.ts";
import { committedOf } from "./session-events.ts";
import type { PastSession } from "./session-types.ts";
import type { StorageShelf } from "./storage-shelf.ts";
import type { VerifyWait } from "./verify-wait.ts";

/** Who comes, and for which session. */
export interface Claim {
  readonly agent: string;
  readonly run: string;
  readonly session: string;
}

export interface SessionDoorOptions {
  readonly registry: Registry;
  readonly storages: StorageShelf;
  readonly verifyWait: VerifyWait;
  readonly events: EventSink;
  readonly boot: string;
  readonly software: string;
}

export class SessionDoor {
  readonly #options: SessionDoorOptions;
  /** Connections that are being asked whether they live, and somebody waits for the answer. */
  readonly #probed = new Set<Link>();

  constructor(options: SessionDoorOptions) {
    this.#options = options;
  }

  resume(link: Link, claim: Claim): void {
    void this.#guarded(link, claim, () => this.#resume(link, claim));
  }

  join(link: Link, claim: Claim, slot: number): void {
    void this.#guarded(link, claim, () => this.#join(link, claim, slot));
  }

  async #guarded(link: Link, claim: Claim, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const failure = toFailure(error);
      // Agents that come back after the end of a session get here too: nothing to be alarmed about.
      this.#options.events.emit({ ...connectionRefused(link.remoteAddress, claim.agent, failure), level: "info" });
      link.refuse(failure);
    }
  }

  async #resume(link: Link, claim: Claim): Promise<void> {
    if (await this.#answered(link, claim)) return;
    // It may lie in a storage that cannot be looked into, or where it cannot be read: then nobody can say that it is gone.
    const unknown = await this.#options.storages.mayHold(claim.session);
    if (link.over || (await this.#answered(link, claim))) return;
    throw unknown ?? gone(claim, undefined);
  }

  /** True when the session is known, running or over, and the connection has its place or its answer. */
  async #answered(link: Link, claim: Claim): Promise<boolean> {
    const session = this.#running(claim);
    if (session !== undefined) await this.#free(() => session.main, "session connection", claim);
    if (link.over) return true;
    // It may have ended while the older connection was asked.
    if (session !== undefined && this.#running(claim) === session) {
      session.resume(link);
      return true;
    }
    const past = this.#past(claim);
    if (past !== undefined) this.#answerPast(link, past);
    return past !== undefined;
  }

  async #join(link: Link, claim: Claim, slot: number): Promise<void> {
    const session = this.#running(claim);
    if (session !== undefined) {
      session.slots.checkSlot(slot);
      await this.#free(() => session.stream(slot), `slot ${slot}`, claim);
    }
    if (link.over) return;
    if (session === undefined || this.#running(claim) !== session) {
      const past = this.#past(claim);
      throw past?.outcome.kind === "suspended" ? past.outcome.failure : gone(claim, past);
    }
    session.joinStream(link, slot);
  }

  /** Resolves when nobody who lives stands in the place; throws Failure E_BUSY when somebody does. */
  async #free(place: () => Link | undefined, what: string, claim: Claim): Promise<void> {
    const older = place();
    if (older === undefined) return;
    // Who is asked already need not be asked twice: the first to ask gets the answer.
    if (this.#probed.has(older)) throw busy(what, claim);
    this.#probed.add(older);
    const alive = await older.probe();
    this.#probed.delete(older);
    const now = place();
    if (alive || (now !== undefined && now !== older)) throw busy(what, claim);
  }

  /** The session of that id, if it runs and is this agent's and run's. */
  #running(claim: Claim): Session | undefined {
    const session = this.#options.registry.session(claim.session);
    return session !== undefined && mayCome(session.plan, claim) ? session : undefined;
  }

  /** How a session ended that is still remembered, by this start of the server or on a storage's disk. */
  #past(claim: Claim): PastSession | undefined {
    const past = this.#options.registry.past(claim.session) ?? this.#recorded(claim.session);
    return past !== undefined && mayCome(past, claim) ? past : undefined;
  }

  #recorded(id: string): PastSession | undefined {
    for (const storage of this.#options.storages.opened()) {
      const record = storage.commitRecord(id);
      if (record === undefined) continue;
      return { id, agent: record.agent, run: record.run, outcome: { kind: "committed", answer: record } };
    }
    return undefined;
  }

  /** Welcome, and then how it ended. Throws why it waits when it goes on after the server's next start. */
  #answerPast(link: Link, past: PastSession): void {
    const { outcome } = past;
    if (outcome.kind === "suspended") throw outcome.failure;
    link.hand(ENDED, "server/finishing", `agent ${past.agent}, session connection`);
    const { boot, software } = this.#options;
    link.send("welcome", { version: PROTOCOL_VERSION_MAX, software, boot, generation: 0, slotGeneration: 0 });
    if (outcome.kind === "committed") {
      link.send("committed", committedOf(outcome.answer));
      this.#options.verifyWait.take(link, past.agent, outcome.answer);
    } else {
      link.send("ended", { session: past.id, ...failureFields(outcome.failure) });
      link.end();
    }
  }
}

/** Of a connection that came back after the end, and is told how that was at once. */
const ENDED: LinkOwner = {
  message() {
    // It is being closed.
  },
  beat() {
    // As above.
  },
  drained() {
    // As above.
  },
  gone() {
    // As above.
  },
};

/** Another agent learns nothing of the session, not even that there is one. */
function mayCome(session: { readonly agent: string; readonly run: string }, claim: Claim): boolean {
  return session.agent === claim.agent && session.run === claim.run;
}

function gone(claim: Claim, past: PastSession | undefined): Failure {
  const text = `session ${claim.session} of this run of agent ${claim.agent}`;
  if (past === undefined) return new Failure("E_SESSION_GONE", `there is no ${text}`);
  const how = past.outcome.kind === "committed" ? "committed" : past.outcome.failure.code;
  return new Failure("E_SESSION_GONE", `there is no ${text} any more: ${how}`);
}

function busy(what: string, claim: Claim): Failure {
  return new Failure("E_BUSY", `another connection of session ${claim.session} that lives is its ${what}`, {
    retryAfterMs: BUSY_RETRY_MS,
  });
}
