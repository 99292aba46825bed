/**
 * From a backup entry to an admitted session: connects, asks, waits in the server's queue, and tries again with backoff
 * as `retry` says. A place in the queue is not a failed attempt.
 */
import { type BackoffLimits, backoffDelayMs } from "#base/backoff.ts";
import { sleep } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { Message } from "#wire/messages.ts";
import type { FrameLink } from "./frame-link.ts";
import { failureOf, type HandshakeDeps, openLink, type OpenOptions } from "./handshake.ts";

export interface AdmissionDeps extends HandshakeDeps {
  readonly random: Random;
  readonly log: Logger;
}

export interface AdmissionRequest {
  readonly begin: Message<"begin">;
  readonly retry: BackoffLimits & { readonly attemptsMax: number };
}

export interface AdmissionEvents {
  /** Position in the server's queue, from 1. */
  readonly queued: (position: number) => void;
  /** An attempt failed and another one follows after `delayMs`. */
  readonly retrying: (failure: Failure, delayMs: number) => void;
  /** In the turn in which Admitted arrived; must call `handle` on the link. */
  readonly admitted: (link: FrameLink, admitted: Message<"admitted">) => void;
}

/** Resolves after `events.admitted`. Rejects with the last attempt's failure, or at once with one that no retry mends. */
export async function requestSession(
  deps: AdmissionDeps,
  request: AdmissionRequest,
  events: AdmissionEvents,
  link: Pick<OpenOptions, "pingFacts" | "signal">,
): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await askOnce(deps, request.begin, events, link, () => {
        attempt = 0;
      });
      return;
    } catch (error) {
      const failure = toFailure(error);
      if (link.signal.aborted) throw new Failure("E_INTERRUPTED", "interrupted before the session began");
      if (!failure.retryable || attempt + 1 >= request.retry.attemptsMax) throw failure;
      const delayMs = failure.retryAfterMs ?? backoffDelayMs(request.retry, attempt, deps.random.unit());
      events.retrying(failure, delayMs);
      await sleep(deps.clock, delayMs, link.signal);
      if (link.signal.aborted) throw new Failure("E_INTERRUPTED", "interrupted before the session began");
    }
  }
}

/** One attempt. `waiting` is called when the server has put it in its queue. */
function askOnce(
  deps: AdmissionDeps,
  begin: Message<"begin">,
  events: AdmissionEvents,
  options: Pick<OpenOptions, "pingFacts" | "signal">,
  waiting: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const ask = (link: FrameLink): void => {
      const onAbort = (): void => link.destroy(new Failure("E_INTERRUPTED", "interrupted before the session began"));
      const settle = (): void => options.signal.removeEventListener("abort", onAbort);
      options.signal.addEventListener("abort", onAbort, { once: true });
      link.handle({
        message: (message) => {
          if (message.type === "queued") {
            waiting();
            events.queued(message.body.position);
          } else if (message.type === "refused") {
            link.destroy(failureOf(message.body));
          } else if (message.type === "admitted") {
            settle();
            link.setGeneration(message.body.generation);
            events.admitted(link, message.body);
            resolve();
          }
        },
        closed: (failure) => {
          settle();
          reject(
            failure ?? new Failure("E_DISCONNECTED", "the server closed the connection before it admitted the session"),
          );
        },
      });
      link.enter("agent/admission");
      link.send("begin", begin);
    };
    openLink(
      deps,
      { role: "session" },
      { ...options, name: "session connection", welcomed: (opened) => ask(opened.link) },
    ).catch(reject);
  });
}
