/** From nothing to a welcomed connection: dial, Hello, Welcome. PROTOCOL.md "A session". */
import type { Clock } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Connection, Dialer } from "#net/connection.ts";
import { failureFromFields } from "#wire/failure.ts";
import { HELLO_TIMEOUT_MS, PROBE_TIMEOUT_MS, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import { checkVersion } from "#wire/version.ts";
import { FrameLink, type PingFacts } from "./frame-link.ts";

/** Who this agent is, the same in every Hello of a run. */
export interface AgentIdentity {
  readonly agent: string;
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  /** UUID, made anew by every run of the process. */
  readonly run: string;
}

export interface LinkTarget {
  readonly role: "session" | "stream" | "health" | "read" | "control";
  readonly session?: string;
  readonly slot?: number;
  /** role control. */
  readonly keepaliveMs?: number;
}

export interface HandshakeDeps {
  readonly clock: Clock;
  readonly dialer: Dialer;
  readonly identity: AgentIdentity;
}

export interface OpenedLink {
  readonly link: FrameLink;
  readonly welcome: Message<"welcome">;
}

/** An older connection may be probed before the answer comes. */
const WELCOME_TIMEOUT_MS = HELLO_TIMEOUT_MS + PROBE_TIMEOUT_MS;

export interface OpenOptions {
  readonly name: string;
  readonly pingFacts?: () => PingFacts;
  readonly beat?: () => void;
  readonly signal: AbortSignal;
  /** Marks the packets of a connection that carries data. */
  readonly dscp?: number | undefined;
  /** The local port that the connection must not have. */
  readonly otherThanPort?: number | undefined;
  /** Called in the turn in which Welcome arrived, because more may follow in it: must call `handle` and `enter`. */
  readonly welcomed: (opened: OpenedLink) => void;
}

/**
 * Opens a connection and introduces itself; resolves after `welcomed`. Rejects with the dialer's failure, the server's
 * refusal, E_TIMEOUT, E_DISCONNECTED or E_INTERRUPTED.
 */
export async function openLink(deps: HandshakeDeps, target: LinkTarget, options: OpenOptions): Promise<OpenedLink> {
  const connection = await dialOther(deps.dialer, options);
  if (options.signal.aborted) {
    connection.destroy();
    throw new Failure("E_INTERRUPTED", `${options.name}: interrupted while connecting`);
  }
  const link = new FrameLink({ connection, clock: deps.clock, keepaliveMs: target.keepaliveMs, ...options });
  return new Promise((resolve, reject) => {
    const timer = deps.clock.after(WELCOME_TIMEOUT_MS, () => {
      link.destroy(
        new Failure(
          "E_TIMEOUT",
          `${options.name}: the server did not answer Hello within ${WELCOME_TIMEOUT_MS / 1000} s`,
        ),
      );
    });
    const onAbort = (): void => link.destroy(new Failure("E_INTERRUPTED", `${options.name}: interrupted`));
    const settle = (): void => {
      timer.cancel();
      options.signal.removeEventListener("abort", onAbort);
    };
    options.signal.addEventListener("abort", onAbort, { once: true });
    link.handle({
      message: (message) => {
        if (message.type === "welcome") {
          settle();
          if (!versionFits(link, message.body.version)) return;
          link.welcomed(message.body);
          const opened = { link, welcome: message.body };
          options.welcomed(opened);
          resolve(opened);
        } else if (message.type === "refused") {
          link.destroy(failureFromFields(message.body));
        }
      },
      closed: (failure) => {
        settle();
        reject(failure ?? new Failure("E_DISCONNECTED", `${options.name}: the server closed the connection`));
      },
    });
    link.send("hello", {
      role: target.role,
      versionMin: PROTOCOL_VERSION_MIN,
      versionMax: PROTOCOL_VERSION_MAX,
      ...deps.identity,
      session: target.session,
      slot: target.slot,
      keepaliveMs: target.keepaliveMs,
    });
  });
}

/** The kernel may give a port again that was just given back: then another one while the first still has it. */
async function dialOther(dialer: Dialer, { signal, dscp, otherThanPort }: OpenOptions): Promise<Connection> {
  const first = await dialer.dial(signal, { dscp });
  if (first.localPort !== otherThanPort) return first;
  first.attach({ data: () => undefined, drain: () => undefined, closed: () => undefined });
  try {
    return await dialer.dial(signal, { dscp });
  } finally {
    first.destroy();
  }
}

/** False when the server chose a version that was not offered; the link is closed then. */
function versionFits(link: FrameLink, version: number): boolean {
  try {
    checkVersion(version);
    return true;
  } catch (error) {
    link.destroy(toFailure(error));
    return false;
  }
}
