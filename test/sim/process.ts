/**
 * One process of the simulation, agent or server: whatever happens to it, timers, connections and its disk, comes in
 * through here, so that it can stand still and go on later, or be killed at any event and never do anything again.
 */
import type { Clock, Timer } from "#base/clock.ts";
import type { SimClock } from "#test/support/sim-clock.ts";
import type { ProcessConnection } from "./process-connection.ts";

export class SimProcess {
  readonly name: string;
  readonly clock: Clock;
  /** Called before each event with its number, from 0; may kill the process, and then the event does not happen. */
  onEvent: (index: number) => void = () => undefined;
  readonly connections = new Set<ProcessConnection>();
  readonly #sim: SimClock;
  readonly #timers = new Set<Timer>();
  /** What happened while it stood still, and happens when it goes on. */
  #held: (() => void)[] = [];
  #state: "running" | "frozen" | "dead" = "running";
  #events = 0;
  /** Of the wall clock of its machine against the true one. */
  #wallOffsetMs = 0;

  constructor(name: string, sim: SimClock) {
    this.name = name;
    this.#sim = sim;
    this.clock = {
      now: () => sim.now(),
      wall: () => sim.wall() + this.#wallOffsetMs,
      after: (delayMs, fn) => this.#after(delayMs, fn),
    };
  }

  get isAlive(): boolean {
    return this.#state !== "dead";
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  /** Timers set and neither fired nor cancelled. */
  get timerCount(): number {
    return this.#timers.size;
  }

  setWallOffset(ms: number): void {
    this.#wallOffsetMs = ms;
  }

  /** Something happens to the process: now, when it goes on, or never. */
  enter(event: () => void): void {
    if (this.#state === "frozen") {
      this.#held.push(event);
      return;
    }
    if (this.#state === "dead") return;
    const index = this.#events;
    this.#events += 1;
    this.onEvent(index);
    if (this.isAlive) event();
  }

  /** Resolves when the process runs; never when it is dead. */
  running(): Promise<void> {
    if (this.#state === "running") return Promise.resolve();
    return new Promise((resolve) => this.enter(resolve));
  }

  /** Stands still, as a process that is stopped or a machine that sleeps. */
  freeze(): void {
    if (this.#state !== "running") return;
    this.#state = "frozen";
    for (const connection of this.connections) connection.hold();
  }

  /** Goes on: what happened meanwhile happens now, one event after another. */
  thaw(): void {
    if (this.#state !== "frozen") return;
    this.#state = "running";
    const held = this.#held;
    this.#held = [];
    for (const event of held) this.#sim.after(0, () => this.enter(event));
    for (const connection of this.connections) connection.release();
  }

  /**
   * Ends at once. `silent`: its machine is gone too, and its peers hear nothing; else the system closes its connections.
   */
  kill(silent: boolean): void {
    if (this.#state === "dead") return;
    this.#state = "dead";
    this.#held = [];
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    for (const connection of this.connections) connection.abandon(silent);
    this.connections.clear();
  }

  #after(delayMs: number, fn: () => void): Timer {
    if (this.#state === "dead") return { cancel: () => undefined };
    let over = false;
    const timer = this.#sim.after(delayMs, () => {
      this.#timers.delete(handle);
      // Between becoming due and happening it may be cancelled: the process may be standing still.
      this.enter(() => {
        if (!over) fn();
      });
    });
    const handle: Timer = {
      cancel: () => {
        over = true;
        timer.cancel();
        this.#timers.delete(handle);
      },
    };
    this.#timers.add(handle);
    return handle;
  }
}
