/**
 * One slot as the agent sees it: at most one connection that carries data, told apart by the slot's number. What the
 * connection carried when it breaks goes back to the window. It opens and closes no connection.
 */
import type { Clock } from "#base/clock.ts";
import type { SendWindow } from "#window/send-window.ts";
import { DataPump } from "./data-pump.ts";
import type { FrameLink } from "./frame-link.ts";
import type { Throttle } from "./throttle.ts";

export interface DataSlotDeps {
  readonly clock: Clock;
  readonly window: SendWindow;
  readonly throttle: Throttle;
}

export class DataSlot {
  readonly slot: number;
  readonly #deps: DataSlotDeps;
  #link: FrameLink | undefined;
  #pump: DataPump | undefined;
  #stopped = false;
  /** On connections that are gone. */
  #sentBefore = 0;

  constructor(slot: number, deps: DataSlotDeps) {
    this.slot = slot;
    this.#deps = deps;
  }

  get isUp(): boolean {
    return this.#pump !== undefined;
  }

  /** Bytes of Data frames, on all of its connections so far. */
  get sentBytes(): number {
    return this.#sentBefore + (this.#pump?.sentBytes ?? 0);
  }

  /** Could carry a chunk that another stream holds up, and its socket would take it. */
  get idle(): boolean {
    return this.#pump?.idle === true && this.#link?.blocked === false;
  }

  /** A connection is up and may carry data, its frames marked with `generation`. */
  up(link: FrameLink, generation: number): void {
    if (this.#stopped) return;
    this.#link = link;
    this.#pump = new DataPump({ ...this.#deps, slot: this.slot, generation, wake: () => link.wake() });
    link.carry(this.#pump);
  }

  /** The connection is gone; returns how many chunks went back to the queue. */
  down(): number {
    if (this.#pump === undefined) return 0;
    this.#sentBefore = this.sentBytes;
    this.#link = undefined;
    this.#pump = undefined;
    return this.#deps.window.carrierLost(this.slot);
  }

  /** There may be something to send. */
  wake(): void {
    this.#link?.wake();
  }

  /** Sends `chunk` as well, although a slot carries it. Only when idle. */
  rescue(chunk: Parameters<DataPump["offer"]>[0]): void {
    this.#pump?.offer(chunk);
    this.#link?.wake();
  }

  /** No chunk begins any more; one that has begun goes out if its connection lets it. */
  stop(): void {
    this.#stopped = true;
    this.#sentBefore = this.sentBytes;
    this.#pump?.stop();
    this.#pump = undefined;
    this.#link = undefined;
  }
}
