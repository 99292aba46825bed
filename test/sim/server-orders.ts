/**
 * An administrator of the simulated server who rotates, parks and resumes slots of whatever runs, at random. What the agent
 * makes of it is checked by the witness like everything else.
 */
import { Failure } from "#base/errors.ts";
import type { Chance } from "./chance.ts";
import type { ServerHost } from "./server-host.ts";
import type { Trace } from "./trace.ts";

export class ServerOrders {
  readonly #server: ServerHost;
  readonly #chance: Chance;
  readonly #trace: Trace;

  constructor(server: ServerHost, chance: Chance, trace: Trace) {
    this.#server = server;
    this.#chance = chance;
    this.#trace = trace;
  }

  /** One order about one slot of one session, if there is any. Refusals are answers too. */
  give(): void {
    const admin = this.#server.running?.server?.admin;
    if (admin === undefined) return;
    const session = this.#chance.some([...admin.running()]);
    if (session === undefined) return;
    const { orders, slots } = session.slots;
    const slot = this.#chance.some(slots.view())?.slot ?? 0;
    const order = this.#chance.pick(["rotate", "rotate", "park", "resume"] as const);
    try {
      if (order === "rotate") orders.rotate(slot, "administrator", "the simulator wants it");
      else orders[order](slot, "the simulator wants it");
      this.#trace.count(`order ${order}`);
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== "E_USAGE") throw error;
      this.#trace.note(`order ${order} ${slot}: ${error.message}`);
    }
  }
}
