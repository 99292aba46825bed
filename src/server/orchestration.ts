/**
 * What an administrator orders of running sessions and of the server as a whole: slots rotated, parked and resumed,
 * maintenance. Answers are plain values, refusals are sentences.
 */
import { type Clock, sleep } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { MaintenanceAnswer, RotateView, SlotOrderView } from "#observe/views.ts";
import type { AdmissionDesk } from "./admission-desk.ts";
import { ROTATE_WAIT_MS } from "./limits.ts";
import type { Maintenance } from "./maintenance.ts";
import type { Registry } from "./registry.ts";
import type { Session } from "./session.ts";
import type { Rotated } from "./slot-orders.ts";

export interface OrchestrationOptions {
  readonly clock: Clock;
  readonly registry: Registry;
  readonly maintenance: Maintenance;
  readonly desk: Pick<AdmissionDesk, "defer">;
}

export interface MaintenanceOrder {
  readonly turn: "on" | "off" | "status";
  readonly reason?: string | undefined;
  /** With `on`: running sessions end too. */
  readonly abort?: boolean | undefined;
}

const STEP_MS = 1_000;
const REASON = "an administrator of the server wants it";

export class Orchestration {
  readonly #options: OrchestrationOptions;

  constructor(options: OrchestrationOptions) {
    this.#options = options;
  }

  /** Waits until the stream is back, for ROTATE_WAIT_MS at most. Rejects with Failure E_SESSION_GONE, E_USAGE or E_TIMEOUT. */
  async rotate(id: string, slot: number): Promise<RotateView> {
    const { clock } = this.#options;
    const session = this.#session(id);
    const { done } = session.slots.orders.rotate(slot, "administrator", REASON);
    let rotated: Rotated | undefined;
    void done.then((one) => {
      rotated = one;
    });
    for (let waitedMs = 0; waitedMs < ROTATE_WAIT_MS && rotated === undefined; waitedMs += STEP_MS) {
      if (this.#options.registry.session(id) !== session) {
        throw new Failure("E_SESSION_GONE", `session ${id} was over before slot ${slot} had connected again`);
      }
      await stepOr(clock, done);
    }
    if (rotated !== undefined) return { session: id, ...rotated };
    throw new Failure("E_TIMEOUT", `slot ${slot} was told to connect again, and has not yet`, {
      hint: "The chunk in hand goes out first, which takes its time on a slow line. nbackup-server sessions --json shows the slot.",
    });
  }

  park(id: string, slot: number): SlotOrderView {
    this.#session(id).slots.orders.park(slot, REASON);
    return { session: id, slot, order: "park" };
  }

  resume(id: string, slot: number): SlotOrderView {
    this.#session(id).slots.orders.resume(slot, REASON);
    return { session: id, slot, order: "resume" };
  }

  async maintain({ turn, reason, abort }: MaintenanceOrder): Promise<MaintenanceAnswer> {
    const { maintenance, desk, registry } = this.#options;
    let abortedCount = 0;
    if (turn === "on") {
      // Sessions end whether the disk keeps it or not, which is told when they have.
      const kept = maintenance.turnOn(reason ?? null).then(() => undefined, toFailure);
      const failure = maintenance.deferral();
      if (failure !== undefined) {
        desk.defer(failure);
        if (abort === true) {
          const sessions = [...registry.sessions()];
          await Promise.all(sessions.map((session) => session.end(failure)));
          abortedCount = sessions.filter((session) => session.state === "ended").length;
        }
      }
      const refused = await kept;
      if (refused !== undefined) throw refused;
    } else if (turn === "off") await maintenance.turnOff();
    return { maintenance: maintenance.on, abortedCount, sessionCount: registry.sessionCount };
  }

  #session(id: string): Session {
    const session = this.#options.registry.session(id);
    if (session !== undefined) return session;
    throw new Failure("E_SESSION_GONE", `no session ${id} runs here`, {
      hint: "nbackup-server sessions lists those that run.",
    });
  }
}

/** Until it is done, or a step has passed. */
async function stepOr(clock: Clock, done: Promise<unknown>): Promise<void> {
  const stop = new AbortController();
  void done.then(() => stop.abort());
  await sleep(clock, STEP_MS, stop.signal);
}
