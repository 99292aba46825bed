/**
 * The agent's half of an enrolment, PROTOCOL.md "Enrolment": first the server's CA, asked for on a connection that nobody has verified and
 * compared with the token; then, on one that TLS has verified by that CA, the token, the request, and that the certificate is on the disk. It
 * reads and writes no files.
 */
import { createHash } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Connection } from "#net/connection.ts";
import { encodePem } from "#pki/pem.ts";
import type { EnrollToken } from "#pki/enroll-token.ts";
import { failureFromFields } from "#wire/failure.ts";
import { ENROLL_INSTALL_MS } from "#wire/limits.ts";
import type { Message, MessageType } from "#wire/messages.ts";
import type { ReceiveState } from "#wire/states.ts";
import { FrameLink } from "./frame-link.ts";

/** The server syncs its disk before it answers, and may wait a second for a certificate to begin. */
const ANSWER_MS = 20_000;

/**
 * The CA of the token, PEM, from a connection to whoever answers there. Nothing but the question is sent. Rejects with Failure
 * E_ENROLL_SERVER when it is another CA's server, or somebody in between.
 */
export async function fetchAuthority(connection: Connection, token: EnrollToken, clock: Clock): Promise<string> {
  const dialogue = new Dialogue(connection, clock, "agent/authority");
  try {
    const { certificate } = await dialogue.ask("askAuthority", {}, "authority");
    const fingerprint = createHash("sha256").update(certificate).digest("hex");
    // What hashes to the token's fingerprint is what the token was made for, byte by byte.
    if (fingerprint === token.caFingerprint) return encodePem("CERTIFICATE", certificate);
    throw new Failure(
      "E_ENROLL_SERVER",
      `the server's CA is not the one that the token names: ${shortly(fingerprint)}, expected ${shortly(token.caFingerprint)}`,
    );
  } finally {
    dialogue.end();
  }
}

/** A conversation with a server that TLS has verified by the token's CA. */
export class EnrollClient {
  readonly #dialogue: Dialogue;

  constructor(connection: Connection, clock: Clock) {
    this.#dialogue = new Dialogue(connection, clock, "agent/enroll");
  }

  /** Shows the token; whose it is comes back. Rejects with what the server refuses it with. */
  enroll(secret: Uint8Array, software: string): Promise<Message<"granted">> {
    return this.#dialogue.ask("enroll", { secret, software }, "granted");
  }

  /** PKCS#10, DER. */
  certify(request: Uint8Array): Promise<Message<"certificate">> {
    return this.#dialogue.ask("certify", { request }, "certificate", "agent/certify");
  }

  /** The certificate is on the disk: 64 hex digits of SHA-256. When this resolves the token is used up. */
  async installed(fingerprint: string): Promise<void> {
    await this.#dialogue.ask(
      "installed",
      { fingerprint: Buffer.from(fingerprint, "hex") },
      "enrolled",
      "agent/installed",
    );
  }

  end(): void {
    this.#dialogue.end();
  }
}

/** One question, one answer. */
class Dialogue {
  readonly #link: FrameLink;
  readonly #clock: Clock;
  #due: { readonly type: MessageType; readonly resolve: (body: unknown) => void } | undefined;
  #reject: (failure: Failure) => void = () => undefined;
  #over: Failure | undefined;

  constructor(connection: Connection, clock: Clock, state: ReceiveState) {
    this.#clock = clock;
    this.#link = new FrameLink({
      ...{ connection, clock, state, name: "enrolment" },
      // There are no Pings here, and each answer is waited for on its own.
      beat: () => undefined,
      keepaliveMs: ENROLL_INSTALL_MS,
    });
    this.#link.handle({
      message: ({ type, body }) => {
        if (type === "refused") this.#fail(failureFromFields(body));
        else if (type === this.#due?.type) this.#due.resolve(body);
      },
      closed: (failure) => this.#fail(withoutAWord(failure)),
    });
  }

  /** `state`: what this side waits for once the question is sent, where that does not follow by itself. */
  async ask<Q extends MessageType, A extends MessageType>(
    question: Q,
    body: Message<Q>,
    answer: A,
    state?: ReceiveState,
  ): Promise<Message<A>> {
    if (this.#over !== undefined) throw this.#over;
    const { promise, resolve, reject } = Promise.withResolvers<Message<A>>();
    this.#due = { type: answer, resolve: (found) => resolve(found as Message<A>) };
    this.#reject = reject;
    const timer = this.#clock.after(ANSWER_MS, () => {
      this.#link.destroy(new Failure("E_TIMEOUT", `the server did not answer within ${ANSWER_MS / 1000} s`));
    });
    if (state !== undefined) this.#link.enter(state);
    this.#link.send(question, body);
    return await promise.finally(() => timer.cancel());
  }

  end(): void {
    this.#link.end();
  }

  /** What came first counts. */
  #fail(failure: Failure): void {
    this.#over ??= failure;
    this.#reject(this.#over);
  }
}

/** On this port nobody presents a certificate, so that cannot be what the server does not like. */
function withoutAWord(failure: Failure | undefined): Failure {
  if (failure !== undefined && failure.code !== "E_TLS") return failure;
  return new Failure("E_DISCONNECTED", "the server closed the enrolment connection without a word", {
    hint: "It may have too many at this moment: try again in a minute, and look at its log.",
    ...(failure === undefined ? {} : { cause: failure }),
  });
}

function shortly(fingerprint: string): string {
  return `${fingerprint.slice(0, 16)}…`;
}
