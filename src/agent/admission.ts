/**
 * From a backup entry to an admitted session: connects, asks, waits in the server's queue, and tries again with backoff
 * as `retry` says. A place in the queue is not a failed attempt.
 */
import type { BackoffLimits } from "#base/backoff.ts";
import { sleep } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { disownFields, failureFromFields } from "#wire/failure.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import type { FrameLink } from "./frame-link.ts";
import { Deferral } from "./deferral.ts";
import { disownBegun } from "./farewell.ts";
import { type HandshakeDeps, openLink, type OpenOptions } from "./handshake.ts";
import { retryDelayMs } from "./retry-delay.ts";

export interface AdmissionDeps extends HandshakeDeps {
  readonly random: Random;
  readonly log: Logger;
}

export interface AdmissionRequest {
  readonly begin: Message<"begin">;
  readonly retry: BackoffLimits & {
    readonly attemptsMax: number;
    /** What may be tried again is tried for so long, however often that is. */
    readonly patienceMs?: number | undefined;
  };
  /** How long a server that defers is waited for. */
  readonly deferredMsMax: number;
}

export interface AdmissionEvents {
  /** Position in the server's queue, from 1. */
  readonly queued: (position: number) => void;
  /** An attempt failed and another one follows after `delayMs`. */
  readonly retrying: (failure: Failure, delayMs: number) => void;
  /** The server has no time now and says when to come again: no failed attempt. */
  readonly deferred: (failure: Failure, delayMs: number) => void;
  /** In the turn in which Admitted arrived; must call `handle` on the link. What it throws gives the session up. */
  readonly admitted: (link: FrameLink, admitted: Message<"admitted">) => void;
}

/**
 * A server that is alive and says nothing about a Begin for so long has lost it, or hangs: it probes an older session for 10 s,
 * and then removes that from its disk. A place in line is an answer.
 */
const ANSWER_MS = 600_000;

const INTERRUPTED = "interrupted before the session began";

/** Resolves after `events.admitted`. Rejects with the last attempt's failure, or at once with one that no retry mends. */
export async function requestSession(
  deps: AdmissionDeps,
  request: AdmissionRequest,
  events: AdmissionEvents,
  link: Pick<OpenOptions, "pingFacts" | "signal" | "dscp">,
): Promise<void> {
  // The server may have begun a session of which nobody knows: Begin was sent and never answered.
  let open = false;
  const interrupted = async (cause: Failure): Promise<Failure> => {
    const failure = new Failure("E_INTERRUPTED", INTERRUPTED, { cause });
    if (open) await disownBegun(deps, request.begin.backup, failure);
    return failure;
  };
  const { attemptsMax, patienceMs = 0 } = request.retry;
  let sinceMs = deps.clock.now();
  const deferral = new Deferral(request.deferredMsMax);
  for (let attempt = 0; ; attempt += 1) {
    const asking: Asking = {
      waiting: () => {
        attempt = 0;
        // The server was there: what it does later is another matter.
        sinceMs = deps.clock.now();
        deferral.over();
      },
      open: (now) => {
        open = now;
      },
    };
    try {
      await askOnce(deps, request.begin, events, link, asking);
      return;
    } catch (error) {
      const failure = toFailure(error);
      if (link.signal.aborted) throw await interrupted(failure);
      const now = deps.clock.now();
      // A server that defers is there, and has said when: that counts for no attempt.
      const deferred = deferral.covers(failure, now);
      if (deferred) [attempt, sinceMs] = [-1, now];
      if (!failure.retryable) throw failure;
      const delayMs = retryDelayMs(request.retry, failure, Math.max(0, attempt), deps.random.unit());
      const inTime = now + delayMs - sinceMs <= patienceMs;
      if (attempt + 1 >= attemptsMax && !inTime) throw failure;
      if (deferred) events.deferred(failure, delayMs);
      else events.retrying(failure, delayMs);
      await sleep(deps.clock, delayMs, link.signal);
      if (link.signal.aborted) throw await interrupted(failure);
    }
  }
}

/** How far one attempt is. */
interface Asking {
  /** The server has put it in its queue. */
  readonly waiting: () => void;
  /** Whether Begin is on its way without an answer. */
  readonly open: (now: boolean) => void;
}

/** One attempt. */
function askOnce(
  deps: AdmissionDeps,
  begin: Message<"begin">,
  events: AdmissionEvents,
  options: Pick<OpenOptions, "pingFacts" | "signal" | "dscp">,
  asking: Asking,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const ask = (link: FrameLink): void => {
      const onAbort = (): void => {
        // Admitted may be on its way: without a word the server would keep that session until it expires.
        asking.open(false);
        link.send("disown", { code: "E_INTERRUPTED", message: INTERRUPTED });
        link.end();
      };
      const unanswered = deps.clock.after(ANSWER_MS, () => {
        link.destroy(new Failure("E_TIMEOUT", `the server did not answer Begin within ${ANSWER_MS / 60_000} minutes`));
      });
      const settle = (): void => {
        unanswered.cancel();
        options.signal.removeEventListener("abort", onAbort);
      };
      options.signal.addEventListener("abort", onAbort, { once: true });
      const message = (said: AnyMessage): void => {
        if (said.type === "queued") {
          unanswered.cancel();
          asking.waiting();
          events.queued(said.body.position);
        } else if (said.type === "refused") {
          asking.open(false);
          link.destroy(failureFromFields(said.body));
        } else if (said.type === "admitted") {
          settle();
          asking.open(false);
          handOver(link, said.body, events).then(resolve, reject);
        }
      };
      const closed = (failure: Failure | undefined): void => {
        settle();
        const text = "the server closed the connection before it admitted the session";
        reject(failure ?? new Failure("E_DISCONNECTED", text));
      };
      link.handle({ message, closed });
      link.enter("agent/admission");
      asking.open(true);
      link.send("begin", begin);
    };
    const welcomed: OpenOptions["welcomed"] = (opened) => ask(opened.link);
    openLink(deps, { role: "session" }, { ...options, name: "session connection", welcomed }).catch(reject);
  });
}

/** Calls `events.admitted` before anything else happens; if it throws, the server hears that nothing will come. */
async function handOver(link: FrameLink, admitted: Message<"admitted">, events: AdmissionEvents): Promise<void> {
  link.setGeneration(admitted.generation);
  try {
    events.admitted(link, admitted);
  } catch (error) {
    link.handle({ message: () => undefined, closed: () => undefined });
    link.send("disown", disownFields(toFailure(error)));
    link.end();
    throw error;
  }
}
