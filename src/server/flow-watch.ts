/**
 * Looks at the streams of all sessions every few seconds: their rates are measured for whoever shows them, and with
 * `flow_rotation` the one that flow-policy.ts finds slow is told to connect again. It has one timer.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import type { FlowRotationConfig } from "#config/types.ts";
import { FlowPolicy } from "./flow-policy.ts";
import type { Session } from "./session.ts";

const LOOK_MS = 5_000;
/** A short eval_window wants at least so many looks. */
const LOOKS_MIN = 6;

export interface FlowWatchOptions {
  readonly clock: Clock;
  readonly sessions: () => Iterable<Session>;
  /** Undefined: nothing is rotated. */
  readonly rotation: FlowRotationConfig | undefined;
}

export class FlowWatch {
  readonly #options: FlowWatchOptions;
  #policies = new Map<Session, FlowPolicy>();
  #rotation: FlowRotationConfig | undefined;
  #timer: Timer | undefined;

  constructor(options: FlowWatchOptions) {
    this.#options = options;
    this.#rotation = options.rotation;
  }

  /** The rule was changed: what was seen so far counts for nothing under another one. */
  use(rotation: FlowRotationConfig | undefined): void {
    if (Bun.deepEquals(rotation, this.#rotation)) return;
    this.#rotation = rotation;
    this.#policies.clear();
    if (this.#timer === undefined) return;
    this.stop();
    this.start();
  }

  start(): void {
    const { clock } = this.#options;
    const rotation = this.#rotation;
    const windowMs = rotation?.enabled === true ? rotation.evalWindowMs : Number.POSITIVE_INFINITY;
    this.#timer ??= every(clock, Math.min(LOOK_MS, Math.max(200, windowMs / LOOKS_MIN)), () => this.#look());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    const { clock, sessions } = this.#options;
    const rotation = this.#rotation;
    const nowMs = clock.now();
    const kept = new Map<Session, FlowPolicy>();
    for (const session of sessions()) {
      session.slots.meters.look(nowMs);
      if (rotation?.enabled !== true) continue;
      const policy = this.#policies.get(session) ?? new FlowPolicy(rotation);
      kept.set(session, policy);
      const { orders } = session.slots;
      const held = session.facts.stalled || orders.rotatingAt(nowMs) || !orders.open;
      const slot = policy.take(nowMs, session.slots.samples(), held);
      if (slot !== undefined) orders.rotate(slot, "flow rotation", `slower than ${rotation.minMbps} Mbit/s`);
    }
    this.#policies = kept;
  }
}
