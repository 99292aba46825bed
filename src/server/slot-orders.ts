/**
 * Orders about the slots of one session: rotate, park, resume. PROTOCOL.md "Orchestration". It says them on the session
 * connection, remembers those that stand, and tells when a slot was rotated. Whether a stream should go is decided elsewhere.
 */
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { wireText } from "#wire/failure.ts";
import { ORDER_REASON_CHARS_MAX } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import type { Link } from "./link.ts";
import type { SlotTable } from "./slots.ts";

export type OrderBy = "administrator" | "flow rotation";

export interface OrderHost {
  readonly clock: Clock;
  readonly slots: SlotTable;
  /** Data on the session connection, as slot 0. */
  readonly dataOnMain: boolean;
  main(): Link | undefined;
  stream(slot: number): Link | undefined;
  /** Chunks are taken: neither finishing nor ending. */
  receiving(): boolean;
  event(kind: string, message: string, fields: Record<string, unknown>): void;
}

/** A stream that was told to connect again. */
export interface Rotation {
  readonly slot: number;
  readonly fromGeneration: number;
  /** `192.0.2.7:40812` */
  readonly fromRemote: string;
}

export interface Rotated extends Rotation {
  readonly toGeneration: number;
  readonly toRemote: string;
}

/** An order that was not followed for so long holds up no other one: a chunk on a slow line takes minutes. */
const STANDS_MS = 600_000;

interface Rotating extends Rotation {
  readonly atMs: number;
  readonly by: OrderBy;
  readonly reason: string;
  readonly done: PromiseWithResolvers<Rotated>;
}

export class SlotOrders {
  readonly #host: OrderHost;
  readonly #rotating = new Map<number, Rotating>();
  /** Why, by slot. */
  readonly #parked = new Map<number, string>();

  constructor(host: OrderHost) {
    this.#host = host;
  }

  /** Chunks are taken, and the agent can be told. */
  get open(): boolean {
    return this.#host.receiving() && this.#host.main() !== undefined;
  }

  /** A stream is on its way out and back. */
  rotatingAt(nowMs: number): boolean {
    for (const { atMs } of this.#rotating.values()) if (nowMs - atMs < STANDS_MS) return true;
    return false;
  }

  isRotating(slot: number): boolean {
    return this.#rotating.has(slot);
  }

  isParked(slot: number): boolean {
    return this.#parked.has(slot);
  }

  /** Resolves when the slot has its new connection. Throws Failure E_USAGE when there is nothing to rotate. */
  rotate(slot: number, by: OrderBy, reason: string): { readonly rotation: Rotation; readonly done: Promise<Rotated> } {
    this.#check(slot);
    const main = this.#main();
    if (this.#parked.has(slot)) throw this.#refusal(`slot ${slot} is parked`);
    const link = this.#host.dataOnMain ? main : this.#host.stream(slot);
    if (link === undefined) throw this.#refusal(`slot ${slot} is not up but ${this.#host.slots.state(slot)}`);
    const done = this.#rotating.get(slot)?.done ?? Promise.withResolvers<Rotated>();
    const fromGeneration = this.#host.slots.generation(slot);
    const atMs = this.#host.clock.now();
    const rotation: Rotating = { slot, fromGeneration, fromRemote: link.remoteAddress, by, reason, done, atMs };
    this.#rotating.set(slot, rotation);
    this.#say(main, slot, "rotate", reason);
    return { rotation, done: done.promise };
  }

  /** Throws Failure E_USAGE when the slot cannot be parked. */
  park(slot: number, reason: string): void {
    this.#check(slot);
    const { dataOnMain, slots } = this.#host;
    const main = this.#host.main();
    if (dataOnMain) throw this.#refusal("the session has no streams: its data goes over its own connection");
    if (this.#parked.has(slot)) return;
    const others = slots
      .view()
      .some((one) => one.slot !== slot && one.state === "receiving" && !this.isParked(one.slot));
    if (!others) throw this.#refusal(`slot ${slot} would leave no stream that is up`);
    this.#parked.set(slot, reason);
    this.#rotating.delete(slot);
    if (slots.state(slot) !== "receiving") slots.disable(slot);
    if (main !== undefined) this.#say(main, slot, "park", reason);
    this.#host.event("stream.parked", `slot ${slot} is taken out of use`, { slot, reason });
  }

  /** Throws Failure E_USAGE when the slot is not parked. */
  resume(slot: number, reason: string): void {
    this.#check(slot);
    if (!this.#parked.delete(slot)) throw this.#refusal(`slot ${slot} is not parked`);
    const { slots } = this.#host;
    const main = this.#host.main();
    slots.enable(slot);
    if (main !== undefined) this.#say(main, slot, "resume", reason);
    this.#host.event("stream.resumed", `slot ${slot} is in use again`, { slot, reason });
  }

  /** On a resumed session connection, between Welcome and Sack: what stands. */
  tell(link: Link): void {
    for (const [slot, reason] of this.#parked) this.#say(link, slot, "park", reason);
    for (const { slot, fromGeneration, reason } of this.#rotating.values()) {
      if (this.#host.dataOnMain) continue;
      const isUp = this.#host.stream(slot) !== undefined && this.#host.slots.generation(slot) === fromGeneration;
      if (isUp) this.#say(link, slot, "rotate", reason);
    }
  }

  /** A connection took the slot. */
  joined(slot: number, link: Link): void {
    const rotating = this.#rotating.get(slot);
    if (rotating === undefined) return;
    this.#rotating.delete(slot);
    const { by, reason, fromGeneration, fromRemote, done } = rotating;
    const toGeneration = this.#host.slots.generation(slot);
    const rotated = { slot, fromGeneration, fromRemote, toGeneration, toRemote: link.remoteAddress };
    const message = `slot ${slot} was rotated: ${fromRemote} became ${link.remoteAddress}`;
    this.#host.event("stream.rotated", message, { ...rotated, by, reason });
    done.resolve(rotated);
  }

  /** The connection of the slot is gone. */
  left(slot: number): void {
    if (this.#parked.has(slot)) this.#host.slots.disable(slot);
  }

  #check(slot: number): void {
    const { slots } = this.#host;
    if (!this.#host.receiving())
      throw this.#refusal("the session is finishing or ending: its slots are no longer in use");
    if (!slots.has(slot))
      throw this.#refusal(`there is no slot ${slot}, the session has slots 0 to ${slots.count - 1}`);
  }

  #main(): Link {
    const main = this.#host.main();
    if (main === undefined) throw this.#refusal("the session connection is not up, so its agent cannot be told");
    return main;
  }

  #say(link: Link, slot: number, order: Message<"slotOrder">["order"], reason: string): void {
    link.send("slotOrder", { slot, order, reason: wireText(reason, ORDER_REASON_CHARS_MAX) });
  }

  #refusal(text: string): Failure {
    return new Failure("E_USAGE", text, { hint: "nbackup-server sessions --json shows the slots of each session." });
  }
}
