/**
 * Who is at the other end of a connection. TLS has verified the chain, once; this looks at what may have changed since
 * (a resumed session is not verified again, an open one outlives its certificate) and at what TLS does not look at (the
 * name). So it is asked at the handshake, on every Hello and hourly. Who is revoked is not known here.
 */
import { X509Certificate } from "node:crypto";
import { Failure } from "#base/errors.ts";
import { must } from "#base/assert.ts";
import { type Certificate, commonNames, displayName, parseCertificate } from "./certificate.ts";
import { MalformedDer } from "./der.ts";
import { quoted } from "./printable.ts";
import { agentNameProblem, noun, type Role, usageProblem, validityProblem } from "./purpose.ts";

export interface PeerIdentity {
  /** Of an agent: its name. Of a server: for logs only, safe to print; TLS checks its host names. */
  readonly commonName: string;
  /** SHA-256 of the certificate's DER, 64 lower-case hex digits. */
  readonly fingerprint: string;
  /** The certificate's time of validity, wall-clock milliseconds since 1970 UTC. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Serial number, lower-case hex without leading zeros. */
  readonly serial: string;
}

/**
 * Checks the certificate that a peer in `role` has presented: an X509Certificate or DER; `nowMs` is the wall clock.
 * Throws Failure E_TLS (not a certificate, not valid now, not for this role) or E_IDENTITY (an agent without exactly
 * one CN that is a name). A missing certificate is E_TLS too.
 */
export function peerIdentity(peer: X509Certificate | Uint8Array | undefined, role: Role, nowMs: number): PeerIdentity {
  if (peer === undefined) throw new Failure("E_TLS", `${noun(role)} presented no certificate`);
  const certificate = parsePeer(peer instanceof X509Certificate ? peer.raw : peer, role);
  const problem = validityProblem(certificate, nowMs) ?? usageProblem(certificate, role);
  if (problem !== undefined) {
    throw new Failure("E_TLS", `the certificate of ${role} ${quoted(displayName(certificate))}: ${problem}`);
  }
  return {
    commonName: role === "agent" ? agentName(certificate) : displayName(certificate),
    fingerprint: certificate.fingerprint,
    notBeforeMs: certificate.notBeforeMs,
    notAfterMs: certificate.notAfterMs,
    serial: certificate.serial,
  };
}

function agentName(certificate: Certificate): string {
  const problem = agentNameProblem(certificate);
  if (problem === undefined) return must(commonNames(certificate)[0], "the agent's CN");
  throw new Failure("E_IDENTITY", `the agent's certificate: ${problem}`, {
    hint: "Make the agent's certificate again with nbackup-server pki agent NAME.",
  });
}

function parsePeer(der: Uint8Array, role: Role): Certificate {
  try {
    return parseCertificate(der);
  } catch (error) {
    throw error instanceof MalformedDer ? malformed(error, role) : error;
  }
}

function malformed(error: MalformedDer, role: Role): Failure {
  return new Failure("E_TLS", `the certificate of ${noun(role)} cannot be read: ${error.message}`, { cause: error });
}
