/** Renewals that were asked for on the control connection, until they are answered, it breaks, or the time is up. */
import type { Clock, Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { failureFromFields } from "#wire/failure.ts";
import type { Message } from "#wire/messages.ts";

/** The server signs within milliseconds, and waits for one sync of its disk. */
const ANSWER_MS = 60_000;

interface Asked {
  readonly request: number;
  readonly timer: Timer;
  readonly resolve: (certificatePem: string) => void;
  readonly reject: (failure: Failure) => void;
}

export class ControlRenewals {
  readonly #clock: Clock;
  #asked: Asked | undefined;
  #lastRequest = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves with PEM. Rejects with what the server says, E_TIMEOUT, or what `fail` is told; E_LIMIT while another one waits. */
  ask(certificateRequest: Uint8Array, send: (renew: Message<"renew">) => void): Promise<string> {
    if (this.#asked !== undefined)
      return Promise.reject(new Failure("E_LIMIT", "a renewal waits for its answer already"));
    this.#lastRequest = (this.#lastRequest + 1) >>> 0;
    const request = this.#lastRequest;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(ANSWER_MS, () => {
        this.#asked = undefined;
        reject(new Failure("E_TIMEOUT", `the server did not answer a renewal within ${ANSWER_MS / 1000} s`));
      });
      this.#asked = { request, timer, resolve, reject };
      send({ request, certificateRequest });
    });
  }

  /** One that nobody waits for any more is nothing to anybody. */
  answered({ request, certificate, failure }: Message<"renewAnswer">): void {
    const asked = this.#asked;
    if (asked?.request !== request) return;
    this.#asked = undefined;
    asked.timer.cancel();
    if (certificate !== undefined) asked.resolve(certificate);
    else if (failure !== undefined) asked.reject(failureFromFields(failure));
  }

  /** It is not answered any more. */
  fail(failure: Failure): void {
    const asked = this.#asked;
    this.#asked = undefined;
    asked?.timer.cancel();
    asked?.reject(failure);
  }
}
