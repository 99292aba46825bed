/**
 * One slot as the agent sees it: at most one connection that carries data, told apart by the slot's number. What the
 * connection carried when it breaks goes back to the window.
 */
import type { Clock } from "#base/clock.ts";
import type { SendWindow } from "#window/send-window.ts";
import { DataPump } from "./data-pump.ts";
import type { FrameLink } from "./frame-link.ts";
import type { Throttle } from "./throttle.ts";

export type DataSlotState = "connecting" | "up" | "done";

export class DataSlot {
  readonly slot: number;
  readonly #deps: { readonly clock: Clock; readonly window: SendWindow; readonly throttle: Throttle };
  #link: FrameLink | undefined;
  #pump: DataPump | undefined;
  #state: DataSlotState = "connecting";
  #reconnects = 0;

  constructor(slot: number, deps: { readonly clock: Clock; readonly window: SendWindow; readonly throttle: Throttle }) {
    this.slot = slot;
    this.#deps = deps;
  }

  get state(): DataSlotState {
    return this.#state;
  }

  /** Connections lost so far. */
  get reconnects(): number {
    return this.#reconnects;
  }

  get rttMs(): number | undefined {
    return this.#link?.rtt.value;
  }

  /** Could carry a chunk that another stream holds up. */
  get idle(): boolean {
    return this.#pump?.idle === true;
  }

  /** A connection is up and may carry data, its frames marked with `generation`. */
  up(link: FrameLink, generation: number): void {
    this.#link = link;
    this.#state = "up";
    this.#pump = new DataPump({ ...this.#deps, slot: this.slot, generation, wake: () => link.wake() });
    link.carry(this.#pump);
    link.wake();
  }

  /** The connection is gone; returns how many chunks went back to the queue. */
  down(): number {
    if (this.#state !== "up") return 0;
    this.#link = undefined;
    this.#pump = undefined;
    this.#state = "connecting";
    this.#reconnects += 1;
    return this.#deps.window.carrierLost(this.slot);
  }

  /** There may be something to send. */
  wake(): void {
    this.#link?.wake();
  }

  /** Sends `chunk`, which another slot carries, as well. Only when idle. */
  rescue(chunk: Parameters<DataPump["offer"]>[0]): void {
    this.#pump?.offer(chunk);
    this.#link?.wake();
  }

  /** Nothing more is to be sent. A stream connection says Goodbye; one that also is the session's stays. */
  finish(options: { readonly goodbye: boolean }): void {
    const link = this.#link;
    this.#link = undefined;
    this.#pump = undefined;
    this.#state = "done";
    if (link === undefined || !options.goodbye) return;
    link.send("goodbye", {});
    link.end();
  }
}
