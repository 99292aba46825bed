/**
 * One slot as the agent sees it: at most one connection that carries data, told apart by the slot's number. What the
 * connection carried when it breaks goes back to the window. It opens and closes no connection.
 */
import type { Clock } from "#base/clock.ts";
import type { SendWindow } from "#window/send-window.ts";
import { DataPump } from "./data-pump.ts";
import type { FrameLink } from "./frame-link.ts";
import { StreamMeter } from "./stream-meter.ts";
import type { Throttle } from "./throttle.ts";

export interface DataSlotDeps {
  readonly clock: Clock;
  readonly window: SendWindow;
  readonly throttle: Throttle;
  /** A chunk went out whole on the slot's connection. */
  readonly chunkEnded: (slot: DataSlot) => void;
}

export class DataSlot {
  readonly slot: number;
  readonly meter = new StreamMeter();
  readonly #deps: DataSlotDeps;
  #link: FrameLink | undefined;
  #pump: DataPump | undefined;
  #stopped = false;
  #chunksBefore = 0;

  constructor(slot: number, deps: DataSlotDeps) {
    this.slot = slot;
    this.#deps = deps;
  }

  get isUp(): boolean {
    return this.#pump !== undefined;
  }

  /** Could carry a chunk that another stream holds up, and its socket would take it. */
  get idle(): boolean {
    return this.#pump?.idle === true && this.#link?.blocked === false;
  }

  /** Chunks that it carries and the server has not said to have. */
  get underWay(): number {
    return this.#deps.window.underWay(this.slot);
  }

  /** Chunks that went out on the connection that is up, or was the last. */
  get chunksOnConnection(): number {
    return this.meter.chunks - this.#chunksBefore;
  }

  /** A connection is up and may carry data, its frames marked with `generation`. */
  up(link: FrameLink, generation: number): void {
    if (this.#stopped) return;
    this.#link = link;
    this.#chunksBefore = this.meter.chunks;
    this.#pump = new DataPump({
      ...this.#deps,
      slot: this.slot,
      generation,
      wake: () => link.wake(),
      meter: this.meter,
      chunkEnded: () => this.#deps.chunkEnded(this),
    });
    link.carry(this.#pump);
  }

  /** Begins no chunk any more on this connection; `drained` is called when the one in hand was handed out whole. */
  drain(drained: () => void): void {
    if (this.#pump === undefined) drained();
    else this.#pump.finish(drained);
  }

  /** After `drain` the server has read everything and closed the connection: nothing goes back. */
  left(): void {
    if (this.#pump === undefined) return;
    this.#clear();
    this.#deps.window.carrierLeft(this.slot);
  }

  /** The connection is gone; returns how many chunks went back to the queue. */
  down(): number {
    if (this.#pump === undefined) return 0;
    this.#clear();
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
    this.#pump?.stop();
    this.#clear();
  }

  #clear(): void {
    this.#link = undefined;
    this.#pump = undefined;
    this.meter.idle(this.#deps.clock.now());
  }
}
