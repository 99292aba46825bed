/**
 * Issues agents' certificates in the server's name, for enrolment and renewal: the CA's key named by tls.ca_key, the CA among those of
 * tls.ca_cert that it belongs to. Who may have one is decided by the callers; what a certificate of an agent may be, here.
 */
import { must } from "#base/assert.ts";
import { type Clock, sleep } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { checkAgentName, refuseServerName } from "#pki/agent-names.ts";
import { type OpenAuthority, openAuthorityFiles } from "#pki/authority.ts";
import { type Certificate, parseCertificate } from "#pki/certificate.ts";
import { certifyAgent } from "#pki/issue.ts";
import { parsePem } from "#pki/pem.ts";
import { quoted } from "#pki/printable.ts";
import { validityProblem } from "#pki/purpose.ts";
import { readRequest } from "#pki/request.ts";
import { LEAF_DAYS, leafValidity } from "#pki/validity.ts";

export interface IssuerOptions {
  /** PEM; one CA or more. */
  readonly caCertFile: string;
  readonly caKeyFile: string;
  /** The server's own certificate, whose names no agent may have. DER. */
  readonly serverCertificate: () => Uint8Array;
  /** When everything issued for the agent so far was revoked, wall milliseconds; undefined: never. */
  readonly revokedBefore: (agent: string) => number | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

export interface IssuedAgent {
  readonly name: string;
  /** The certificate alone. */
  readonly certPem: string;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  /** SHA-256 of the DER, 64 lower-case hex digits. */
  readonly fingerprint: string;
  /** Wall-clock milliseconds since 1970 UTC. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Longer than this nobody waits for a certificate's beginning: a revocation lies in the future, so a clock was wrong. */
const BEGIN_WAIT_MAX_MS = 2_000;

export class Issuer {
  readonly #options: IssuerOptions;
  readonly #authority: OpenAuthority;

  private constructor(options: IssuerOptions, authority: OpenAuthority) {
    this.#options = options;
    this.#authority = authority;
  }

  /** Reads the CA. Rejects with Failure E_CERTIFICATE, which names the file and says what is wrong. */
  static async open(options: IssuerOptions): Promise<Issuer> {
    const { caCertFile, caKeyFile, clock } = options;
    return new Issuer(options, await openAuthorityFiles(caCertFile, caKeyFile, clock.wall()));
  }

  /**
   * A certificate for the key of a request, which must be for `name`. It is valid when this resolves, and begins after `afterMs`, wall
   * milliseconds, and after what is revoked. Rejects with Failure E_REQUEST, E_NAME (not a name for an agent) and E_CERTIFICATE (the CA
   * is not valid now).
   */
  async issueAgent(name: string, requestDer: Uint8Array, afterMs?: number): Promise<IssuedAgent> {
    const { clock, random, revokedBefore, serverCertificate } = this.#options;
    const request = readRequest(requestDer);
    if (request.name !== name) {
      throw new Failure(
        "E_REQUEST",
        `the certificate request is for ${quoted(request.name)}, expected ${quoted(name)}`,
      );
    }
    checkAgentName(name);
    refuseServerName(name, parseCertificate(serverCertificate()), "by its certificate");
    const nowMs = clock.wall();
    this.#checkAuthority(nowMs);
    const before = [revokedBefore(name), afterMs].filter((time) => time !== undefined);
    const revokedMs = before.length === 0 ? undefined : Math.max(...before);
    const limits = { caNotAfterMs: this.#authority.notAfterMs, revokedMs };
    const validity = leafValidity(nowMs, LEAF_DAYS, limits);
    const waitMs = validity.notBeforeMs - nowMs;
    if (waitMs > BEGIN_WAIT_MAX_MS) throw clockFailure(name, validity.notBeforeMs, nowMs);
    const certPem = await certifyAgent(this.#authority, name, request.publicKeyDer, validity, random);
    if (waitMs > 0) await sleep(clock, waitMs);
    const certificate = decode(certPem);
    const { serial, fingerprint, notBeforeMs, notAfterMs } = certificate;
    return { name, certPem: `${certPem}\n`, serial, fingerprint, notBeforeMs, notAfterMs };
  }

  /** A server runs for years: its CA may have ended since it was opened. */
  #checkAuthority(nowMs: number): void {
    const { certDer } = this.#authority;
    const problem = validityProblem(parseCertificate(certDer), nowMs);
    if (problem !== undefined) {
      throw new Failure("E_CERTIFICATE", `the CA of this server cannot issue certificates: ${problem}`);
    }
  }
}

function decode(certPem: string): Certificate {
  return parseCertificate(must(parsePem(Buffer.from(certPem))[0], "the certificate just made").der);
}

function clockFailure(name: string, beginMs: number, nowMs: number): Failure {
  const [begin, now] = [new Date(beginMs).toISOString(), new Date(nowMs).toISOString()];
  const text = `certificates of ${quoted(name)} are revoked up to ${begin}, and here it is ${now}`;
  return new Failure("E_CERTIFICATE", text, { hint: "Check the server's clock: a revocation lies in the future." });
}
