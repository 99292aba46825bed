/**
 * Renewal of agents' certificates over their control connections, PROTOCOL.md "Control": whether one is given, and what is kept of
 * it. Signing is issuer.ts's; who may hold a control connection was judged at its Hello, and is judged once more here.
 */
import { createHash } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { EventSink } from "#observe/events.ts";
import type { PeerIdentity } from "#pki/peer-identity.ts";
import { isoSeconds } from "#pki/purpose.ts";
import { renewalAllowedMs } from "#pki/renewal.ts";
import { failureFields } from "#wire/failure.ts";
import type { Message } from "#wire/messages.ts";
import type { CertificateRegister } from "./certificate-register.ts";
import type { IssuedAgent } from "./issuer.ts";
import { CONTROL_CONNECTIONS_MAX, RENEWAL_MEMORY_MS, RENEWAL_PAUSE_MS } from "./limits.ts";
import type { Link } from "./link.ts";
import type { Revocations } from "./revocations.ts";

export interface RenewalDeskOptions {
  readonly clock: Clock;
  readonly events: EventSink;
  readonly revocations: Revocations;
  /** Who signs; undefined while this server has no key to sign with. Asked each time. */
  readonly issuer: () => { issueAgent(name: string, requestDer: Uint8Array): Promise<IssuedAgent> } | undefined;
  readonly register: Pick<CertificateRegister, "issued"> | undefined;
}

/** The last certificate of an agent, in case its answer was lost. */
interface Renewed {
  /** SHA-256 of the request. */
  readonly request: string;
  readonly atMs: number;
  readonly issued: IssuedAgent;
}

/** A new certificate that ends no later than this after the old one is not worth the change. */
const GAIN_MS_MIN = 3_600_000;

export class RenewalDesk {
  readonly #options: RenewalDeskOptions;
  /** By agent, the longest ago first. */
  readonly #renewed = new Map<string, Renewed>();
  readonly #busy = new Set<string>();

  constructor(options: RenewalDeskOptions) {
    this.#options = options;
  }

  /** Whether agents may ask. */
  get renews(): boolean {
    return this.#options.issuer() !== undefined;
  }

  /** Answers one Renew of the agent whose control connection `link` is. Never rejects. */
  async receive(link: Link, agent: string, { request, certificateRequest }: Message<"renew">): Promise<void> {
    try {
      const { certPem } = await this.#renew(link, agent, certificateRequest);
      link.send("renewAnswer", { request, certificate: certPem });
    } catch (error) {
      const failure = toFailure(error);
      const { code, hint } = failure;
      this.#options.events.emit({
        ...{ kind: "certificate.renewal-failed", level: "warn", repeatKey: `${agent} ${code}`, byAgent: agent },
        message: `agent ${agent} got no new certificate: ${failure.message}`,
        fields: { agent, remote: link.remoteAddress, code, hint },
      });
      link.send("renewAnswer", { request, failure: failureFields(failure) });
    }
  }

  async #renew(link: Link, agent: string, requestDer: Uint8Array): Promise<IssuedAgent> {
    if (this.#busy.has(agent)) throw tooOften(agent);
    this.#busy.add(agent);
    try {
      return await this.#issue(link, agent, requestDer);
    } finally {
      this.#busy.delete(agent);
    }
  }

  async #issue(link: Link, agent: string, requestDer: Uint8Array): Promise<IssuedAgent> {
    const { clock, events, register, revocations } = this.#options;
    const peer = link.peer();
    const digest = createHash("sha256").update(requestDer).digest("hex");
    const last = this.#remembered(agent);
    if (last?.request === digest && !revocations.isRevoked(agent, last.issued)) return last.issued;
    if (last !== undefined && clock.now() - last.atMs < RENEWAL_PAUSE_MS) throw tooOften(agent);
    const issuer = this.#options.issuer();
    if (issuer === undefined) throw new Failure("E_RENEWAL", "this server has no key of the CA", { hint: NO_KEY_HINT });
    this.#checkDue(peer);
    const issued = await issuer.issueAgent(agent, requestDer);
    if (issued.notAfterMs < peer.notAfterMs + GAIN_MS_MIN) throw noGain(issued, peer);
    // Before anybody has it: a name in use must not look free. If the answer is lost, an unused certificate is remembered.
    await register?.issued(agent, issued);
    this.#renewed.delete(agent);
    this.#renewed.set(agent, { request: digest, atMs: clock.now(), issued });
    events.emit({
      ...{ kind: "certificate.renewed", level: "info", byAgent: agent, repeatKey: agent },
      message: `agent ${agent} got a new certificate, valid until ${isoSeconds(issued.notAfterMs)}`,
      fields: { agent, remote: link.remoteAddress, serial: issued.serial, notAfter: isoSeconds(issued.notAfterMs) },
    });
    return issued;
  }

  /** By this machine's clock: an agent that believes it to be years later shall not use up certificates. */
  #checkDue(peer: PeerIdentity): void {
    const allowedMs = renewalAllowedMs(peer);
    const nowMs = this.#options.clock.wall();
    if (nowMs >= allowedMs) return;
    const text = `the certificate is valid until ${isoSeconds(peer.notAfterMs)} and not due before ${isoSeconds(allowedMs)}; here it is ${isoSeconds(nowMs)}`;
    throw new Failure("E_RENEWAL", text, { hint: "Check the clocks of both machines." });
  }

  #remembered(agent: string): Renewed | undefined {
    const nowMs = this.#options.clock.now();
    for (const [name, { atMs }] of this.#renewed) {
      if (nowMs - atMs < RENEWAL_MEMORY_MS && this.#renewed.size <= CONTROL_CONNECTIONS_MAX) break;
      this.#renewed.delete(name);
    }
    return this.#renewed.get(agent);
  }
}

const NO_KEY_HINT =
  "Set tls.ca_key in server.yaml, or renew by hand: nbackup-server pki renew NAME where the CA's key is.";

function tooOften(agent: string): Failure {
  const text = `agent ${agent} asked for a certificate less than ${RENEWAL_PAUSE_MS / 1000} s ago`;
  return new Failure("E_LIMIT", text, { hint: "It asks again by itself.", retryAfterMs: RENEWAL_PAUSE_MS });
}

function noGain(issued: IssuedAgent, peer: PeerIdentity): Failure {
  const ends = `${isoSeconds(issued.notAfterMs)}, the old one at ${isoSeconds(peer.notAfterMs)}`;
  return new Failure("E_RENEWAL", `a new certificate would end with the CA at ${ends}`, {
    hint: "The CA ends soon: nbackup-server pki renew ca, and bring the new ca.pem to every machine.",
  });
}
