/**
 * Loads what `tls` in a configuration names and checks it as the peers will: better one sentence at the start than a
 * handshake that fails at two in the morning. It opens no sockets; src/net hands the result to TLS. Called again on
 * reload, where a Failure leaves the old identity in place.
 */
import type { KeyObject } from "node:crypto";
import { must } from "#base/assert.ts";
import { type Certificate, displayName, nameText } from "./certificate.ts";
import { authorityProblem, findChain, publicKeyOf } from "./chain.ts";
import { type FileCertificate, type FileKey, fileFailure, readCertificates, readPrivateKey } from "./pem-file.ts";
import { quoted } from "./printable.ts";
import {
  agentNameProblem,
  isoSeconds,
  noun,
  type Role,
  usageProblem,
  validityProblem,
  validityState,
} from "./purpose.ts";

export interface IdentityFiles {
  /** PEM: one CA or more. */
  readonly caPath: string;
  /** PEM: our certificate, then intermediate CAs if there are any. */
  readonly certPath: string;
  /** PEM: its private key, without a password. */
  readonly keyPath: string;
  readonly role: Role;
  /** Wall clock, milliseconds since 1970 UTC. */
  readonly nowMs: number;
}

/** Everything TLS needs, normalised: PEM with LF and nothing but the blocks. Holds the private key: never log it. */
export interface Identity {
  readonly role: Role;
  /** All CAs of the file; goes to TLS as `ca`. */
  readonly caPem: string;
  /** Our certificate, then the intermediates; goes to TLS as `cert`. */
  readonly certPem: string;
  /** PKCS#8; goes to TLS as `key`. */
  readonly keyPem: string;
  /** Of an agent: its name, checked. Of a server: its first CN or host, safe to print. */
  readonly commonName: string;
  /** SHA-256 of our certificate's DER, 64 lower-case hex digits. */
  readonly fingerprint: string;
  /** When our certificate begins and ends, wall-clock milliseconds since 1970 UTC. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** The CA at the end of our certificate's way, DER: what a peer must know to trust us. */
  readonly rootDer: Uint8Array;
  /** When the first CA on our certificate's way to its root ends. */
  readonly caNotAfterMs: number;
  /** Whole sentences without a final stop, each beginning with its file; for the log at the start and check-config. */
  readonly warnings: readonly string[];
}

/** Less left than this is a warning. */
const EXPIRY_WARNING_MS = 30 * 86_400_000;

const RSA_BITS_MIN = 2048;

/**
 * Loads and checks; throws Failure E_CERTIFICATE, which names the file and says what was found and what to do.
 */
export function loadIdentity(files: IdentityFiles): Identity {
  const { caPath, certPath, keyPath, role, nowMs } = files;
  const cas = readCertificates(caPath);
  const [own, ...intermediates] = readCertificates(certPath);
  if (own === undefined) throw fileFailure(certPath, "holds no certificate");
  const key = readPrivateKey(keyPath);
  const warnings = checkAuthorities(caPath, cas, nowMs);
  checkPair(files, [own, ...intermediates], key);
  checkOwn(certPath, own, role, nowMs);
  warnings.push(...ownWarnings(certPath, own.certificate, role), ...keyWarnings(keyPath, key));
  const chain = findChain(own, intermediates, cas, nowMs);
  if (chain.problem !== undefined) {
    throw fileFailure(
      certPath,
      chain.problem,
      `${caPath} must hold the CA of both sides' certificates; intermediate ones stand in ${certPath} after our own.`,
    );
  }
  // A certificate that is its own CA has nobody above it.
  const issuers = chain.path.length === 1 ? chain.path : chain.path.slice(1);
  const caNotAfterMs = Math.min(...issuers.map(({ certificate }) => certificate.notAfterMs));
  warnings.push(
    ...expiryWarning(certPath, own.certificate.notAfterMs, nowMs),
    ...expiryWarning(caPath, caNotAfterMs, nowMs),
  );
  return {
    role,
    caPem: cas.map(({ pem }) => pem).join(""),
    certPem: [own, ...intermediates].map(({ pem }) => pem).join(""),
    keyPem: key.pem,
    commonName: displayName(own.certificate),
    fingerprint: own.certificate.fingerprint,
    notBeforeMs: own.certificate.notBeforeMs,
    notAfterMs: own.certificate.notAfterMs,
    rootDer: must(chain.path.at(-1), "the end of the chain").certificate.der,
    caNotAfterMs,
    warnings,
  };
}

/** Each must be a CA. One of several may be out of its time, during a change of CAs, but not all of them. */
function checkAuthorities(caPath: string, cas: readonly FileCertificate[], nowMs: number): string[] {
  const warnings: string[] = [];
  for (const { certificate } of cas) {
    const problem = authorityProblem(certificate);
    if (problem !== undefined) {
      throw fileFailure(
        caPath,
        `${nameText(certificate.subject)}: ${problem}`,
        "Name the certificate of the CA itself under tls.ca_cert; nbackup-server pki init makes one.",
      );
    }
    const expired = validityProblem(certificate, nowMs);
    if (expired === undefined) continue;
    const message = `the CA ${nameText(certificate.subject)}: ${expired}`;
    const again = "Make a new CA with nbackup-server pki init --force and all certificates again";
    if (cas.length === 1) throw fileFailure(caPath, message, validityHint(certificate, nowMs, again));
    warnings.push(`${caPath}: ${message}`);
  }
  if (warnings.length === cas.length) throw fileFailure(caPath, "none of its CAs is valid now");
  return [...warnings, ...sameNameWarning(caPath, cas)];
}

/** Without a key identifier in the leaf the TLS library tries only one of two CAs of the same name. */
function sameNameWarning(caPath: string, cas: readonly FileCertificate[]): string[] {
  const publicKeys = new Map<string, KeyObject>();
  for (const ca of cas) {
    const { certificate } = ca;
    const publicKey = publicKeyOf(ca);
    if (publicKey === undefined) continue;
    const other = publicKeys.get(certificate.subjectHex);
    if (other !== undefined && !other.equals(publicKey)) {
      const name = nameText(certificate.subject);
      return [`${caPath}: two CAs with different keys are both called ${name}; give each CA a name of its own`];
    }
    publicKeys.set(certificate.subjectHex, publicKey);
  }
  return [];
}

function checkPair(files: IdentityFiles, certificates: readonly FileCertificate[], key: FileKey): void {
  const [own] = certificates;
  if (own !== undefined && publicKeyOf(own) === undefined) {
    throw fileFailure(
      files.certPath,
      `the key of ${quoted(displayName(own.certificate))} is of a kind that TLS here does not support`,
      "Use a P-256, P-384, P-521, Ed25519 or RSA key; nbackup-server pki makes P-256 keys.",
    );
  }
  const index = certificates.findIndex((one) => publicKeyOf(one) !== undefined && one.x509.checkPrivateKey(key.key));
  if (index === 0) return;
  if (index > 0) {
    throw fileFailure(
      files.certPath,
      `the certificate of the key ${files.keyPath} is number ${index + 1} in the file, and TLS presents the first`,
      "Put our own certificate first, then the one that issued it, and so on.",
    );
  }
  throw fileFailure(
    files.keyPath,
    `the private key does not belong to the certificate in ${files.certPath}`,
    "Name a certificate and a key that were made together.",
  );
}

function checkOwn(certPath: string, own: FileCertificate, role: Role, nowMs: number): void {
  const { certificate } = own;
  const fail = (problem: string, hint?: string): never => {
    throw fileFailure(certPath, `the certificate of ${quoted(displayName(certificate))}: ${problem}`, hint);
  };
  const again = `Make a new one with nbackup-server pki ${role === "server" ? "server HOST" : "agent NAME"} --force`;
  const expired = validityProblem(certificate, nowMs);
  if (expired !== undefined) fail(expired, validityHint(certificate, nowMs, again));
  const problem = usageProblem(certificate, role) ?? (role === "agent" ? agentNameProblem(certificate) : undefined);
  if (problem !== undefined) fail(problem, `${again}.`);
  const bits = publicKeyOf(own)?.asymmetricKeyDetails?.modulusLength;
  if (bits !== undefined && bits < RSA_BITS_MIN) {
    fail(`its RSA key has ${bits} bits, and fewer than ${RSA_BITS_MIN} are not safe`, `${again}.`);
  }
}

function validityHint(certificate: Certificate, nowMs: number, again: string): string {
  if (validityState(certificate, nowMs) === "not-yet-valid") return "Check this machine's clock.";
  return `${again}, or check this machine's clock.`;
}

function ownWarnings(certPath: string, certificate: Certificate, role: Role): string[] {
  const warnings: string[] = [];
  if (certificate.extendedKeyUsages === undefined) {
    const other: Role = role === "server" ? "agent" : "server";
    warnings.push(`${certPath}: has no extended key usage, so whoever has its key can also pass for ${noun(other)}`);
  }
  if (certificate.ca === true) {
    warnings.push(`${certPath}: is a CA itself, so whoever has its key can make certificates`);
  }
  if (role === "server" && certificate.dnsNames.length + certificate.ipAddresses.length === 0) {
    warnings.push(`${certPath}: has no alternative names; agents find only ${displayName(certificate)}, its CN, in it`);
  }
  return warnings;
}

/** A group may have been given read access on purpose; to write it, or for everybody to read it, is never right. */
export function keyWarnings(keyPath: string, key: FileKey): string[] {
  if ((key.mode & 0o027) === 0) return [];
  const mode = key.mode.toString(8).padStart(4, "0");
  const can = (key.mode & 0o007) !== 0 ? "every user of this machine" : "its group";
  return [`${keyPath}: has mode ${mode}, so ${can} can get at the private key; chmod 0600 it`];
}

function expiryWarning(filePath: string, notAfterMs: number, nowMs: number): string[] {
  const leftMs = notAfterMs - nowMs;
  if (leftMs >= EXPIRY_WARNING_MS) return [];
  return [`${filePath}: expires in ${Math.floor(leftMs / 86_400_000)} days, at ${isoSeconds(notAfterMs)}`];
}
