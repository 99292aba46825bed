/** Runs that one connected agent was asked for, until it answers or the time is up. Sending is the caller's. */
import { isErrorCode } from "#base/catalogue.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Message } from "#wire/messages.ts";
import { RUN_ANSWER_MS, RUN_REQUESTS_MAX } from "./limits.ts";

interface Asked {
  readonly timer: Timer;
  readonly resolve: (message: string) => void;
  readonly reject: (failure: Failure) => void;
}

export class ControlRuns {
  readonly #clock: Clock;
  readonly #agent: string;
  readonly #send: (run: Message<"run">) => void;
  readonly #asked = new Map<number, Asked>();
  #lastRequest = 0;

  constructor(clock: Clock, agent: string, send: (run: Message<"run">) => void) {
    this.#clock = clock;
    this.#agent = agent;
    this.#send = send;
  }

  /** Resolves with what the agent says of the run it took. Rejects with Failure: its own, E_TIMEOUT, E_LIMIT, E_DISCONNECTED. */
  ask(backup: string): Promise<string> {
    if (this.#asked.size >= RUN_REQUESTS_MAX) {
      const text = `${RUN_REQUESTS_MAX} wishes wait for an answer of agent ${this.#agent} already`;
      return Promise.reject(new Failure("E_LIMIT", text));
    }
    this.#lastRequest = (this.#lastRequest + 1) >>> 0;
    const request = this.#lastRequest;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(RUN_ANSWER_MS, () => {
        this.#asked.delete(request);
        reject(new Failure("E_TIMEOUT", `agent ${this.#agent} did not answer within ${RUN_ANSWER_MS / 1000} s`));
      });
      this.#asked.set(request, { timer, resolve, reject });
      this.#send({ request, backup });
    });
  }

  /** One that nobody waits for any more is nothing to anybody. */
  answered({ request, accepted, code = "", message = "" }: Message<"runAnswer">): void {
    const asked = this.#asked.get(request);
    if (asked === undefined) return;
    this.#asked.delete(request);
    asked.timer.cancel();
    if (accepted) asked.resolve(message);
    else if (isErrorCode(code)) asked.reject(new Failure(code, message));
    else asked.reject(new Failure("E_PEER", `${code}: ${message}`));
  }

  /** None of them is answered any more. */
  fail(failure: Failure): void {
    for (const { timer, reject } of this.#asked.values()) {
      timer.cancel();
      reject(failure);
    }
    this.#asked.clear();
  }
}
