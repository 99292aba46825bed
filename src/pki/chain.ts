/**
 * Whether a certificate leads to one of the CAs that peers trust. The same question is answered by TLS at each handshake,
 * but there the answer is one word on the other machine; here it is a sentence at the start. TLS's answer is the one
 * that lets anybody in.
 */
import type { KeyObject } from "node:crypto";
import { errnoName } from "#base/errors.ts";
import { type Certificate, nameText } from "./certificate.ts";
import type { FileCertificate } from "./pem-file.ts";
import { validityProblem } from "./purpose.ts";

/** Certificates from the leaf up to the root. Two or three are usual. */
const CHAIN_LENGTH_MAX = 10;

export type Chain =
  /** `path` leads from the certificate itself to a self-signed CA. */
  { readonly path: readonly FileCertificate[]; readonly problem?: undefined } | { readonly problem: string };

/** Follows issuers from `leaf` through `intermediates` and `cas` to a self-signed one of `cas`, valid at `nowMs`. */
export function findChain(
  leaf: FileCertificate,
  intermediates: readonly FileCertificate[],
  cas: readonly FileCertificate[],
  nowMs: number,
): Chain {
  const path: FileCertificate[] = [leaf];
  let last = leaf;
  while (path.length <= CHAIN_LENGTH_MAX) {
    const root = cas.find(({ x509 }) => x509.fingerprint256 === last.x509.fingerprint256);
    if (root !== undefined && isSelfSigned(last)) return { path };
    const issuer = issuerOf(last, [...cas, ...intermediates], nowMs);
    if (issuer === undefined || isSelfSigned(last)) return { problem: missing(last.certificate, root !== undefined) };
    const problem = issuerProblem(issuer.certificate, nowMs);
    if (problem !== undefined) return { problem: `its issuer ${nameText(issuer.certificate.subject)}: ${problem}` };
    path.push(issuer);
    last = issuer;
  }
  return { problem: `its chain of issuers is longer than ${CHAIN_LENGTH_MAX}` };
}

/** Why a certificate must not issue others; undefined when it may. Its time of validity is not looked at. */
export function authorityProblem(certificate: Certificate): string | undefined {
  if (certificate.ca === undefined) return "it has no basic constraints, so it is not a CA";
  if (!certificate.ca) return "it is not a CA (basic constraints CA:FALSE)";
  if (certificate.keyUsages !== undefined && !certificate.keyUsages.includes("keyCertSign")) {
    return `its key usage is ${certificate.keyUsages.join(", ")}, and a CA needs keyCertSign`;
  }
  return undefined;
}

/** By its own name and its own key. */
export function isSelfSigned(one: FileCertificate): boolean {
  return one.certificate.subjectHex === one.certificate.issuerHex && verifies(one, one);
}

function issuerProblem(issuer: Certificate, nowMs: number): string | undefined {
  return authorityProblem(issuer) ?? validityProblem(issuer, nowMs);
}

/** One that is good now before one that is not: a renewed CA has the same name and key as the one it replaces. */
function issuerOf(
  last: FileCertificate,
  candidates: readonly FileCertificate[],
  nowMs: number,
): FileCertificate | undefined {
  const issuers = candidates.filter(
    (candidate) => candidate.certificate.subjectHex === last.certificate.issuerHex && verifies(last, candidate),
  );
  return issuers.find(({ certificate }) => issuerProblem(certificate, nowMs) === undefined) ?? issuers[0];
}

function verifies(one: FileCertificate, issuer: FileCertificate): boolean {
  const publicKey = publicKeyOf(issuer);
  return publicKey !== undefined && one.x509.verify(publicKey);
}

/** undefined for a kind of key that the TLS library does not know, and so cannot verify anything with. */
export function publicKeyOf({ x509 }: FileCertificate): KeyObject | undefined {
  try {
    return x509.publicKey;
  } catch (error) {
    if (errnoName(error) === "ERR_OSSL_X509_PUBLIC_KEY_DECODE_ERROR") return undefined;
    throw error;
  }
}

function missing(certificate: Certificate, trusted: boolean): string {
  const issuer = nameText(certificate.issuer);
  return trusted
    ? `the CA file ends at ${nameText(certificate.subject)}, which is not self-signed; its issuer ${issuer} is missing`
    : `no certificate in the CA file has issued it; it says that its issuer is ${issuer}`;
}
