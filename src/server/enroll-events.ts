/** What the enrolment tells the log and the event list: values, nothing is sent here. No token and no hash of one is ever in them. */
import type { Failure } from "#base/errors.ts";
import { safeText } from "#base/safe-text.ts";
import type { ObservedEvent } from "#observe/events.ts";
import type { IssuedAgent } from "./issuer.ts";
import type { TokenRecord } from "./enroll-tokens.ts";

export function tokenMade({ agent, replace, expiresWallMs }: TokenRecord): ObservedEvent {
  return {
    kind: "enroll.token-made",
    level: "info",
    message: `a token was made with which one machine may enrol as ${agent}`,
    fields: { agent, replace, expires: new Date(expiresWallMs).toISOString() },
  };
}

/** `agent` where the token told it. */
export function enrollRefused(remote: string, agent: string | undefined, failure: Failure): ObservedEvent {
  const { code, hint } = failure;
  return {
    kind: "enroll.refused",
    level: "warn",
    message: `enrolment refused: ${safeText(failure.message)}`,
    fields: { ...(agent === undefined ? {} : { agent }), remote, code, hint },
    // Addresses are many: all without a good token are counted together.
    repeatKey: `${agent ?? ""} ${code}`,
  };
}

export function certificateIssued(issued: IssuedAgent, remote: string, by: "enrolment"): ObservedEvent {
  const { name: agent, serial, fingerprint, notAfterMs } = issued;
  return {
    kind: "certificate.issued",
    level: "info",
    message: `a certificate was issued to ${agent} by ${by}`,
    fields: { agent, remote, serial, fingerprint, notAfter: new Date(notAfterMs).toISOString() },
  };
}

/** Its token is used up. */
export function agentEnrolled({ agent, replace }: TokenRecord, serial: string, remote: string): ObservedEvent {
  return {
    kind: "enroll.done",
    level: "info",
    message: `${agent} has enrolled${replace ? ", and its older certificates are revoked" : ""}`,
    fields: { agent, remote, serial, replace },
  };
}
