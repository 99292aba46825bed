/**
 * An agent on the way to a session: it said Hello, then Begin, and waits to be admitted or refused. It holds its backup
 * entry as soon as that is free. The desk decides; this only knows how far things are and leaves when it must.
 */
import type { Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import type { Link, LinkOwner } from "./link.ts";
import type { Occupant } from "./occupant.ts";

export interface ApplicantDesk {
  begin(applicant: Applicant): void;
  /** It gives up what its run has begun elsewhere, instead of beginning anything. */
  disown(applicant: Applicant, disown: Message<"disown">): void;
  /** It left before it was admitted or refused. */
  left(applicant: Applicant, reason: Failure | undefined): void;
}

export class Applicant implements LinkOwner, Occupant {
  readonly link: Link;
  readonly agent: string;
  readonly run: string;
  readonly fixed = false;
  readonly earlierWallMs = undefined;
  readonly #desk: ApplicantDesk;
  #begin: Message<"begin"> | undefined;
  /** Until Begin comes. */
  #patience: Timer | undefined;
  #over = false;
  /** In the line, from 1; 0 when it stands in none. */
  #position = 0;
  #toldPosition = 0;

  constructor(desk: ApplicantDesk, link: Link, agent: string, run: string) {
    this.#desk = desk;
    this.link = link;
    this.agent = agent;
    this.run = run;
  }

  /** `timer` ends the wait for its Begin. */
  expectBegin(timer: Timer): void {
    this.#patience = timer;
  }

  /** Begin came. */
  get asked(): boolean {
    return this.#begin !== undefined;
  }

  /** What it asks for; only once Begin came. */
  get request(): Message<"begin"> {
    if (this.#begin === undefined) throw new Failure("E_INTERNAL", "an applicant was judged before its Begin");
    return this.#begin;
  }

  /** Admitted, refused or gone: nothing more may be done for it. */
  get over(): boolean {
    return this.#over;
  }

  links(): readonly Link[] {
    return [this.link];
  }

  reservedMs(): number {
    return 0;
  }

  end(failure: Failure): Promise<void> {
    if (this.#settle()) {
      this.link.refuse(failure);
      this.#desk.left(this, failure);
    }
    return Promise.resolve();
  }

  refuse(failure: Failure): void {
    if (this.#settle()) this.link.refuse(failure);
  }

  /** It has said all that it came for. */
  served(): void {
    if (this.#settle()) this.link.end();
  }

  /** The session takes the link over. */
  admitted(): void {
    this.#settle();
  }

  /** Says its position in the line, from 1, if it is new. */
  tell(position: number): void {
    this.#position = position;
    if (this.#over || position === this.#toldPosition || this.link.blocked) return;
    this.#toldPosition = position;
    this.link.send("queued", { position });
  }

  message(message: AnyMessage): void {
    if (message.type === "begin") {
      this.#patience?.cancel();
      this.#begin = message.body;
      this.#desk.begin(this);
    } else if (message.type === "disown" && !this.asked) {
      this.#patience?.cancel();
      this.#desk.disown(this, message.body);
    } else if (message.type === "disown" && this.#settle()) {
      this.link.end();
      this.#desk.left(this, new Failure("E_DISOWNED", "the agent gave up waiting"));
    }
  }

  beat(): void {
    this.link.ping();
  }

  drained(): void {
    this.tell(this.#position);
  }

  gone(failure: Failure | undefined): void {
    if (this.#settle()) this.#desk.left(this, failure);
  }

  /** True the first time. */
  #settle(): boolean {
    const first = !this.#over;
    this.#over = true;
    this.#patience?.cancel();
    return first;
  }
}
