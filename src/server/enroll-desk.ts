/**
 * The enrolment port's connections: PROTOCOL.md "Enrolment". Whoever comes is a stranger, so there are few at a time, each step has its
 * time, and the oldest stranger gives way to a new one. What a token is worth and who gets a certificate is the office's to say.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Connection } from "#net/connection.ts";
import type { EventSink } from "#observe/events.ts";
import { ENROLL_INSTALL_MS, ENROLL_STEP_MS } from "#wire/limits.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import { enrollRefused } from "./enroll-events.ts";
import { EnrollGuard, networkOf } from "./enroll-guard.ts";
import type { TokenRecord } from "./enroll-tokens.ts";
import { ENROLL_CONNECTIONS_MAX, ENROLL_NETWORK_CONNECTIONS_MAX } from "./limits.ts";
import { Link, type LinkOwner } from "./link.ts";

export interface EnrollOffice {
  /** DER of the CA that the server's certificate leads to. */
  authority(): Uint8Array;
  /** Throws Failure E_ENROLL_TOKEN. */
  find(secret: Uint8Array): TokenRecord;
  /** Resolves when all that must outlive this process does. Rejects with a Failure for the agent. */
  issue(token: TokenRecord, request: Uint8Array, remote: string): Promise<Message<"certificate">>;
  /** The agent has it on its disk. Rejects with a Failure for the agent. */
  installed(token: TokenRecord, fingerprint: Uint8Array, remote: string): Promise<void>;
}

export interface EnrollDeskOptions {
  readonly clock: Clock;
  readonly events: EventSink;
  readonly office: EnrollOffice;
}

export class EnrollDesk {
  readonly #options: EnrollDeskOptions;
  readonly #guard: EnrollGuard;
  /** In order of arrival. */
  readonly #visitors = new Set<Visitor>();

  constructor(options: EnrollDeskOptions) {
    this.#options = options;
    this.#guard = new EnrollGuard(options.clock.now());
  }

  get connectionCount(): number {
    return this.#visitors.size;
  }

  /** Takes a connection whose TLS handshake is done; in the turn in which it came. */
  accept(connection: Connection): void {
    if (!this.#makeRoom(networkOf(connection.remoteAddress))) {
      connection.destroy();
      return;
    }
    const visitor = new Visitor(connection, this.#options, this.#guard, () => this.#visitors.delete(visitor));
    this.#visitors.add(visitor);
  }

  /** Closes what is open. */
  close(failure: Failure): void {
    for (const visitor of [...this.#visitors]) visitor.dismiss(failure);
  }

  /** Who has shown a good token keeps its place; of the others the oldest goes. */
  #makeRoom(network: string): boolean {
    const all = [...this.#visitors];
    const near = all.filter((visitor) => visitor.network === network);
    const crowd = near.length >= ENROLL_NETWORK_CONNECTIONS_MAX ? near : all;
    if (crowd === all && all.length < ENROLL_CONNECTIONS_MAX) return true;
    const oldest = crowd.find((visitor) => !visitor.granted);
    if (oldest === undefined) return false;
    // At once: its end is told later, and more may come before.
    this.#visitors.delete(oldest);
    oldest.destroy();
    return true;
  }
}

class Visitor implements LinkOwner {
  readonly network: string;
  readonly #options: EnrollDeskOptions;
  readonly #guard: EnrollGuard;
  readonly #link: Link;
  #timer: Timer;
  /** A good one, of which this connection is the user. */
  #token: TokenRecord | undefined;

  constructor(connection: Connection, options: EnrollDeskOptions, guard: EnrollGuard, onClosed: () => void) {
    const { clock, events } = options;
    this.#options = options;
    this.#guard = guard;
    this.network = networkOf(connection.remoteAddress);
    this.#link = new Link({
      ...{ connection, clock, events, agent: undefined, state: "server/enroll" },
      onClosed: () => {
        this.#timer.cancel();
        onClosed();
      },
    });
    // Each step has a time of its own, and there are no Pings.
    this.#link.pace(2 * ENROLL_INSTALL_MS, 4 * ENROLL_INSTALL_MS);
    this.#timer = this.#limit(ENROLL_STEP_MS);
    this.#link.open(this);
  }

  get granted(): boolean {
    return this.#token !== undefined;
  }

  message(message: AnyMessage): void {
    this.#timer.cancel();
    switch (message.type) {
      case "askAuthority":
        this.#link.send("authority", { certificate: this.#options.office.authority() });
        this.#link.end();
        return;
      case "enroll":
        this.#judge(message.body);
        return;
      case "certify":
        void this.#certify(message.body.request);
        return;
      case "installed":
        void this.#installed(message.body.fingerprint);
        return;
      default:
        throw new Failure("E_PROTOCOL", `${message.type} on an enrolment connection`);
    }
  }

  beat(): void {
    // No Pings here.
  }

  drained(): void {
    // Nothing waits to be sent.
  }

  gone(): void {
    this.#timer.cancel();
  }

  dismiss(failure: Failure): void {
    this.#link.dismiss(failure);
  }

  destroy(): void {
    this.#link.destroy();
  }

  #judge({ secret }: Message<"enroll">): void {
    const { clock, events, office } = this.#options;
    const { remoteAddress } = this.#link;
    try {
      this.#guard.check(remoteAddress, clock.now());
      this.#token = office.find(secret);
    } catch (error) {
      const failure = toFailure(error);
      const answered = failure.code !== "E_ENROLL_TOKEN" || this.#guard.wrong(remoteAddress, clock.now());
      if (answered) {
        this.#refuse(failure);
        return;
      }
      events.emit(enrollRefused(remoteAddress, undefined, failure));
      this.#link.destroy();
      return;
    }
    const { agent } = this.#token;
    this.#link.hand(this, "server/enroll-request", `machine that enrols as ${agent}`);
    this.#link.send("granted", { agent, wallMs: clock.wall() });
    this.#timer = this.#limit(ENROLL_STEP_MS);
  }

  async #certify(request: Uint8Array): Promise<void> {
    const token = this.#token;
    if (token === undefined) return;
    try {
      const answer = await this.#options.office.issue(token, Uint8Array.from(request), this.#link.remoteAddress);
      if (this.#link.over) return;
      this.#link.hand(this, "server/enroll-issued", this.#link.label);
      this.#link.send("certificate", answer);
      this.#timer = this.#limit(ENROLL_INSTALL_MS);
    } catch (error) {
      this.#refuse(toFailure(error));
    }
  }

  async #installed(fingerprint: Uint8Array): Promise<void> {
    const token = this.#token;
    if (token === undefined) return;
    try {
      await this.#options.office.installed(token, Uint8Array.from(fingerprint), this.#link.remoteAddress);
      this.#link.send("enrolled", {});
      this.#link.end();
    } catch (error) {
      this.#refuse(toFailure(error));
    }
  }

  #refuse(failure: Failure): void {
    this.#options.events.emit(enrollRefused(this.#link.remoteAddress, this.#token?.agent, failure));
    this.#link.refuse(failure);
  }

  #limit(limitMs: number): Timer {
    return this.#options.clock.after(limitMs, () => {
      this.#refuse(new Failure("E_TIMEOUT", `nothing came within ${limitMs / 1000} s`));
    });
  }
}
