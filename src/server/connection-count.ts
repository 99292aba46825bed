/**
 * How many connections there are: in all, of each certificate, and of those that have not said Hello. Pure counting;
 * what is over a limit is refused by the caller.
 */
import { Failure } from "#base/errors.ts";
import {
  AGENT_CONNECTIONS_MAX,
  AGENT_PRE_HELLO_CONNECTIONS_MAX,
  CONNECTIONS_MAX,
  LIMIT_RETRY_MS,
  PRE_HELLO_CONNECTIONS_MAX,
} from "./limits.ts";

class Tally {
  #total = 0;
  readonly #byAgent = new Map<string, number>();

  get total(): number {
    return this.#total;
  }

  of(agent: string): number {
    return this.#byAgent.get(agent) ?? 0;
  }

  add(agent: string, change: 1 | -1): void {
    this.#total += change;
    const count = this.of(agent) + change;
    if (count === 0) this.#byAgent.delete(agent);
    else this.#byAgent.set(agent, count);
  }
}

export class ConnectionCount {
  readonly #open = new Tally();
  readonly #preHello = new Tally();

  get total(): number {
    return this.#open.total;
  }

  /** Throws Failure E_LIMIT when one more connection of this certificate would be too many. */
  check(agent: string): void {
    const limits = [
      [this.#open.total, CONNECTIONS_MAX, "connections are open"],
      [this.#open.of(agent), AGENT_CONNECTIONS_MAX, `connections of agent ${agent} are open`],
      [this.#preHello.total, PRE_HELLO_CONNECTIONS_MAX, "connections have not said what they want"],
      [
        this.#preHello.of(agent),
        AGENT_PRE_HELLO_CONNECTIONS_MAX,
        `connections of agent ${agent} have not said what they want`,
      ],
    ] as const;
    for (const [count, countMax, what] of limits) {
      if (count < countMax) continue;
      throw new Failure("E_LIMIT", `${count} ${what} already`, {
        hint: "Lower parallels, or look for an agent that opens connections without end.",
        retryAfterMs: LIMIT_RETRY_MS,
      });
    }
  }

  opened(agent: string): void {
    this.#open.add(agent, 1);
    this.#preHello.add(agent, 1);
  }

  /** It said an acceptable Hello, was refused, or closed: it counts as one without Hello no more. */
  spoke(agent: string): void {
    this.#preHello.add(agent, -1);
  }

  closed(agent: string): void {
    this.#open.add(agent, -1);
  }
}
