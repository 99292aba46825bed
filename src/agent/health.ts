/** Asks a server how it is: one connection, one answer. PROTOCOL.md "Health". What it means for people is the caller's part. */
import { Failure } from "#base/errors.ts";
import { failureFromFields } from "#wire/failure.ts";
import type { Message } from "#wire/messages.ts";
import { type HandshakeDeps, openLink } from "./handshake.ts";

/** The server gives its disks 5 s; who asks wants to know, and not to wait. */
const ANSWER_MS = 15_000;

export interface ServerHealth extends Message<"health"> {
  /** `nbackup-server 0.1.0` */
  readonly software: string;
}

/** Rejects with the dialer's failure, the server's refusal, E_TIMEOUT or E_DISCONNECTED. */
export function askHealth(deps: HandshakeDeps): Promise<ServerHealth> {
  const { promise, resolve, reject } = Promise.withResolvers<ServerHealth>();
  const stop = new AbortController();
  const timer = deps.clock.after(ANSWER_MS, () => {
    reject(new Failure("E_TIMEOUT", `the server did not say how it is within ${ANSWER_MS / 1000} s`));
    stop.abort();
  });
  openLink(
    deps,
    { role: "health" },
    {
      name: "health connection",
      signal: stop.signal,
      welcomed: ({ link, welcome }) => {
        stop.signal.addEventListener("abort", () => link.destroy(undefined), { once: true });
        link.handle({
          message: (message) => {
            if (message.type === "refused") link.destroy(failureFromFields(message.body));
            if (message.type !== "health") return;
            resolve({ ...message.body, software: welcome.software });
            link.end();
          },
          closed: (failure) => {
            reject(failure ?? new Failure("E_DISCONNECTED", "the server closed the connection without an answer"));
          },
        });
        link.enter("agent/health");
      },
    },
  ).catch(reject);
  return promise.finally(() => timer.cancel());
}
