/**
 * The door: every connection comes in here, says Hello within HELLO_TIMEOUT_MS, is checked against its certificate, and
 * goes where it belongs: to the admission desk, back to its session, into a slot, to the health desk, the read desk, or the control hub. It admits nobody itself.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Connection } from "#net/connection.ts";
import type { EventSink } from "#observe/events.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { HELLO_TIMEOUT_MS } from "#wire/limits.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import { chooseVersion } from "#wire/version.ts";
import type { AdmissionDesk } from "./admission-desk.ts";
import { ConnectionCount } from "./connection-count.ts";
import type { ControlHub } from "./control-hub.ts";
import type { HealthDesk } from "./health-desk.ts";
import { checkIdentity, purposeOf } from "./hello.ts";
import { TURNED_AWAY_MAX } from "./limits.ts";
import { Link, type LinkOwner } from "./link.ts";
import { PeerExpiry } from "./peer-expiry.ts";
import type { ReadDesk } from "./read-desk.ts";
import { connectionRefused } from "./session-ends.ts";
import type { SessionDoor } from "./session-door.ts";

export interface ReceptionOptions {
  readonly clock: Clock;
  readonly events: EventSink;
  readonly boot: string;
  readonly software: string;
  readonly desk: AdmissionDesk;
  readonly sessions: SessionDoor;
  readonly health: HealthDesk;
  readonly reads: ReadDesk;
  readonly control: ControlHub;
  /** Throws Failure E_REVOKED for a certificate that TLS takes and this server does not. */
  readonly judge: (peer: PeerIdentity) => void;
  /** A Hello of this certificate was accepted. */
  readonly seen: (peer: PeerIdentity) => void;
}

export class Reception {
  readonly #options: ReceptionOptions;
  readonly #count = new ConnectionCount();
  readonly #links = new Set<Link>();
  readonly #expiry: PeerExpiry;
  /** Links that are refused at the door and not yet closed. */
  #turnedAway = 0;
  #closed = false;
  #onEmpty: (() => void) | undefined;

  constructor(options: ReceptionOptions) {
    this.#options = options;
    this.#expiry = new PeerExpiry(options.clock, options.events);
  }

  get connectionCount(): number {
    return this.#count.total;
  }

  /** Its connections, whatever they are for, those included that have not said Hello. */
  linksOf(agent: string): Link[] {
    return [...this.#links].filter((link) => link.agent === agent);
  }

  /** Takes a connection whose TLS handshake is done; in the turn in which it came. */
  accept(connection: Connection): void {
    const { clock, events } = this.#options;
    if (this.#closed) {
      connection.destroy();
      return;
    }
    let agent: string;
    try {
      agent = connection.peer().commonName;
      this.#count.check(agent);
    } catch (error) {
      this.#turnAway(connection, toFailure(error));
      return;
    }
    this.#count.opened(agent);
    const link = new Link({
      connection,
      clock,
      events,
      agent,
      judge: this.#options.judge,
      onClosed: () => {
        newcomer.closed();
        this.#forget(link);
        this.#count.closed(agent);
      },
    });
    const newcomer = new Newcomer(link, agent, this.#options, this.#expiry, () => this.#count.spoke(agent));
    this.#links.add(link);
    link.open(newcomer);
  }

  /** No connection comes in any more; those that are left hear why and are closed. Resolves when the last one is. */
  close(failure: Failure): Promise<void> {
    this.#closed = true;
    for (const link of [...this.#links]) link.dismiss(failure);
    if (this.#links.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
    });
  }

  /** Closes at once what is left. */
  destroy(): void {
    for (const link of [...this.#links]) link.destroy();
  }

  #forget(link: Link): void {
    this.#links.delete(link);
    if (this.#links.size === 0) this.#onEmpty?.();
  }

  /** Refused before it may say anything. */
  #turnAway(connection: Connection, failure: Failure): void {
    const { clock, events } = this.#options;
    // The agent's name is not known for sure: the certificate may be the reason.
    events.emit(connectionRefused(connection.remoteAddress, undefined, failure));
    if (this.#turnedAway >= TURNED_AWAY_MAX) {
      connection.destroy();
      return;
    }
    this.#turnedAway += 1;
    const onClosed = (): void => {
      this.#turnedAway -= 1;
      this.#forget(link);
    };
    const link = new Link({ connection, clock, events, agent: undefined, onClosed });
    this.#links.add(link);
    link.open(NOBODY);
    link.refuse(failure);
  }
}

/** A connection until its Hello was accepted; after that it only hears that the connection is closed. */
class Newcomer implements LinkOwner {
  readonly #link: Link;
  /** As the certificate says. */
  readonly #agent: string;
  readonly #options: ReceptionOptions;
  readonly #expiry: PeerExpiry;
  readonly #onSpoke: () => void;
  readonly #timer: Timer;
  #done = false;

  /** `onSpoke` is called once: it counts as one without Hello no more. */
  constructor(link: Link, agent: string, options: ReceptionOptions, expiry: PeerExpiry, onSpoke: () => void) {
    this.#link = link;
    this.#agent = agent;
    this.#options = options;
    this.#expiry = expiry;
    this.#onSpoke = onSpoke;
    this.#timer = options.clock.after(HELLO_TIMEOUT_MS, () => {
      this.#spoke();
      this.#refuse(new Failure("E_TIMEOUT", `no hello within ${HELLO_TIMEOUT_MS} ms`));
    });
  }

  message(message: AnyMessage): void {
    this.#spoke();
    try {
      if (message.type !== "hello") throw new Failure("E_PROTOCOL", `${message.type} before hello`);
      this.#welcome(message.body);
    } catch (error) {
      this.#refuse(toFailure(error));
    }
  }

  beat(): void {
    // Before Welcome the server has nothing to say: the agent waits for one frame.
  }

  drained(): void {
    // Nothing waits to be sent.
  }

  gone(failure: Failure | undefined): void {
    this.#spoke();
    // What just went away is nothing to tell; what the peer did wrong is.
    if (failure === undefined || failure.retryable) return;
    this.#options.events.emit(connectionRefused(this.#link.remoteAddress, this.#agent, failure));
  }

  /** Its connection is closed, by this side too: nothing is waited for any more. */
  closed(): void {
    this.#spoke();
  }

  #welcome(hello: Message<"hello">): void {
    const { desk, sessions, health, reads, control, boot, software } = this.#options;
    const peer = this.#link.peer();
    checkIdentity(hello, peer);
    this.#expiry.saw(peer);
    this.#options.seen(peer);
    const version = chooseVersion(hello);
    const purpose = purposeOf(hello);
    const { agent, run } = hello;
    switch (purpose.kind) {
      case "begin":
        this.#link.hand(desk.receive(this.#link, agent, run), "server/begin", `agent ${agent}, session connection`);
        this.#link.send("welcome", { version, software, boot, generation: 0, slotGeneration: 0 });
        return;
      case "resume":
        sessions.resume(this.#link, { agent, run, session: purpose.session });
        return;
      case "stream":
        sessions.join(this.#link, { agent, run, session: purpose.session }, purpose.slot);
        return;
      case "health":
        this.#link.hand(health.receive(this.#link), "server/health", `agent ${agent}, health connection`);
        this.#link.send("welcome", { version, software, boot, generation: 0, slotGeneration: 0 });
        void health.answer(this.#link);
        return;
      case "read":
        this.#link.hand(reads.receive(this.#link, agent), "server/read", `agent ${agent}, read connection`);
        this.#link.send("welcome", { version, software, boot, generation: 0, slotGeneration: 0 });
        return;
      case "control": {
        const welcome = (): void =>
          this.#link.send("welcome", { version, software, boot, generation: 0, slotGeneration: 0 });
        const claim = { agent, software: hello.software, keepaliveMs: purpose.keepaliveMs };
        void control.receive(this.#link, claim, welcome);
        return;
      }
    }
  }

  #refuse(failure: Failure): void {
    this.#options.events.emit(connectionRefused(this.#link.remoteAddress, this.#agent, failure));
    this.#link.refuse(failure);
  }

  /** The first frame came, or will not come. */
  #spoke(): void {
    if (this.#done) return;
    this.#done = true;
    this.#timer.cancel();
    this.#onSpoke();
  }
}

const NOBODY: LinkOwner = {
  message() {
    // It is being closed.
  },
  beat() {
    // It is being closed.
  },
  drained() {
    // It is being closed.
  },
  gone() {
    // It is being closed.
  },
};
