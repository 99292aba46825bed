/** Whether a Hello is acceptable, as functions of values. PROTOCOL.md "Transport". */
import { Failure } from "#base/errors.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import type { Message } from "#wire/messages.ts";

type Hello = Message<"hello">;

/** What a connection is for, as far as this version serves it. */
export type Purpose =
  | { readonly kind: "begin" }
  | { readonly kind: "resume"; readonly session: string }
  | { readonly kind: "stream"; readonly session: string; readonly slot: number }
  | { readonly kind: "health" }
  | { readonly kind: "read" }
  | { readonly kind: "control"; readonly keepaliveMs: number | undefined };

/** Throws Failure E_IDENTITY unless the certificate's CN is the agent's name. The schema has checked the name itself. */
export function checkIdentity(hello: Hello, peer: PeerIdentity): void {
  if (hello.agent === peer.commonName) return;
  throw new Failure(
    "E_IDENTITY",
    `the agent calls itself ${hello.agent} but its certificate is for ${peer.commonName}`,
  );
}

/** Throws Failure E_PROTOCOL for a Hello that misses something. */
export function purposeOf(hello: Hello): Purpose {
  switch (hello.role) {
    case "session":
      return hello.session === undefined ? { kind: "begin" } : { kind: "resume", session: hello.session };
    case "stream":
      if (hello.session === undefined || hello.slot === undefined) {
        throw new Failure("E_PROTOCOL", "hello of a stream without its session and slot");
      }
      return { kind: "stream", session: hello.session, slot: hello.slot };
    case "health":
      return { kind: "health" };
    case "read":
      return { kind: "read" };
    case "control":
      return { kind: "control", keepaliveMs: hello.keepaliveMs };
  }
}
