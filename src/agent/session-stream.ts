/**
 * One stream of a session: the connection that feeds one slot. It is opened, opened again when it breaks, and drained on
 * purpose: to come back from another port (rotate), or to stay away until it is wanted again (park). Who wants that is not
 * its business.
 */
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Message } from "#wire/messages.ts";
import type { DataSlot } from "./data-slot.ts";
import { Departure } from "./departure.ts";
import type { FrameLink, FrameLinkHandlers } from "./frame-link.ts";
import type { OpenedLink } from "./handshake.ts";
import type { Reconnector } from "./reconnector.ts";
import type { SlotActivity } from "./session-progress.ts";

export interface SessionStreamDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly slot: DataSlot;
  readonly makeReconnector: (name: string, up: (opened: OpenedLink) => void) => Reconnector;
  /** True for a connection to an earlier start of the server, which was closed. */
  readonly isLate: (link: FrameLink, welcome: Message<"welcome">) => boolean;
  readonly messagesOf: (link: FrameLink, firstSack: () => void) => FrameLinkHandlers["message"];
  readonly joined: () => void;
  /** The connection broke. */
  readonly lost: () => void;
  readonly stalled: () => boolean;
}

export class SessionStream {
  readonly slot: DataSlot;
  /** Connections that broke, and those that were exchanged on purpose. */
  reconnects = 0;
  rotations = 0;
  readonly #deps: SessionStreamDeps;
  readonly #name: string;
  readonly #reconnector: Reconnector;
  #link: FrameLink | undefined;
  #departure: Departure | undefined;
  #wanted = false;
  /** Port of the connection that this one took the place of. */
  #portBefore: number | undefined;
  #over = false;

  constructor(deps: SessionStreamDeps) {
    this.#deps = deps;
    this.slot = deps.slot;
    this.#name = `stream ${deps.slot.slot}`;
    this.#reconnector = deps.makeReconnector(this.#name, (opened) => this.#joined(opened));
  }

  get activity(): SlotActivity {
    if (this.#departure !== undefined) return "draining";
    if (!this.#wanted) return "parked";
    return this.slot.isUp ? "up" : "idle";
  }

  get rttMs(): number | undefined {
    return this.#link?.rtt.value;
  }

  /** The stream is to carry data. One that is being drained comes back when that is done. */
  activate(): void {
    if (this.#wanted || this.#over) return;
    this.#wanted = true;
    if (this.#link === undefined) this.#reconnector.start();
  }

  /** The stream is to stay away, once it is drained. */
  park(): void {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#portBefore = undefined;
    if (this.#link === undefined) this.#reconnector.rest();
    else this.#leave(this.#link);
  }

  /** Another connection is to take the place of the one that is up; false when there is none to be exchanged. */
  rotate(): boolean {
    const link = this.#link;
    if (link === undefined || !this.slot.isUp || this.#departure !== undefined || !this.#wanted) return false;
    this.#portBefore = link.localPort;
    this.#leave(link);
    return true;
  }

  nudge(): void {
    this.#reconnector.nudge();
  }

  progressed(): void {
    this.#reconnector.progressed();
  }

  /** Everything was sent: the connection is not needed any more. */
  close(): void {
    const link = this.#link;
    this.#stop();
    if (link === undefined) return;
    link.handle({ message: () => undefined, closed: () => undefined });
    link.send("goodbye", {});
    link.end();
  }

  /** The end of a session that was given up. */
  abandon(): void {
    const link = this.#link;
    this.#stop();
    link?.destroy(undefined);
  }

  /** The connection is to nobody any more. */
  break(failure: Failure): void {
    this.#link?.destroy(failure);
  }

  #stop(): void {
    this.#over = true;
    this.#reconnector.stop();
    this.#departure?.ended(undefined);
    this.#departure = undefined;
    this.#link = undefined;
  }

  #leave(link: FrameLink): void {
    const { clock, stalled } = this.#deps;
    if (this.#departure !== undefined) return;
    this.#departure = new Departure({ clock, link, slot: this.slot, name: this.#name, stalled });
    this.#departure.begin();
  }

  #joined({ link, welcome }: OpenedLink): void {
    link.enter("agent/stream");
    if (this.#deps.isLate(link, welcome)) return;
    this.#link = link;
    link.handle({
      message: this.#deps.messagesOf(link, () => this.#up(link, welcome.slotGeneration)),
      closed: (failure) => {
        if (this.#link === link) this.#closed(link, failure);
      },
    });
    this.#deps.joined();
  }

  #up(link: FrameLink, generation: number): void {
    if (this.#link !== link || this.#departure !== undefined) return;
    const { localPort } = link;
    const before = this.#portBefore;
    this.#portBefore = undefined;
    if (before !== undefined) {
      this.rotations += 1;
      this.#deps.log.info("stream rotated", { slot: this.slot.slot, portBefore: before, port: localPort });
    }
    this.slot.up(link, generation);
  }

  #closed(link: FrameLink, failure: Failure | undefined): void {
    const inOrder = this.#departure?.ended(failure) ?? false;
    this.#link = undefined;
    this.#departure = undefined;
    if (inOrder) this.slot.left();
    else this.#broke(failure);
    if (!this.#wanted) this.#reconnector.rest();
    else if (inOrder) this.#reconnector.renew(link.localPort);
    else this.#reconnector.lost(failure ?? new Failure("E_DISCONNECTED", `the server closed ${this.#name}`));
  }

  #broke(failure: Failure | undefined): void {
    const requeued = this.slot.down();
    this.reconnects += 1;
    this.#portBefore = undefined;
    const { code, message } = failure ?? new Failure("E_DISCONNECTED", `the server closed ${this.#name}`);
    this.#deps.log.warn("stream lost", { slot: this.slot.slot, requeued, code, reason: message });
    this.#deps.lost();
  }
}
