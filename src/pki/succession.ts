/**
 * How a CA vouches for the next one: `pki renew ca` has the old key sign the new CA's certificate, once, and forgets the key. An agent that
 * trusts the old CA may then trust the new one, whoever brings it the two (PROTOCOL.md "Control", security-model.md "A change of the CA").
 *
 * What is signed begins with words of its own, so that nothing else that a CA signs (certificates, requests, handshakes) can pass for it:
 * an intermediate CA is not a successor. Kept beside ca.pem as `ca-successors.jsonl`, a line for each, the oldest first.
 */
import { type KeyObject, verify, X509Certificate } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { errnoName } from "#base/errors.ts";
import { authorityProblem, isSelfSigned, publicKeyOf } from "./chain.ts";
import type { Authority } from "./issue.ts";
import { type FileCertificate, fileCertificate, fileFailure } from "./pem-file.ts";
import { validityProblem } from "./purpose.ts";

export interface Succession {
  /** The new CA, DER. */
  readonly certificate: Uint8Array;
  /** By the old CA's key; ECDSA as two numbers of equal length (IEEE P1363). */
  readonly signature: Uint8Array;
}

/** Of one list, as the wire has them: years lie between two CAs. */
export const SUCCESSIONS_MAX = 4;
/** DER of one CA; one with RSA 4096 has 1.4 kB. */
const SUCCESSOR_BYTES_MAX = 2 * 1024;
/** RSA 4096. */
const SUCCESSION_SIGNATURE_BYTES_MAX = 512;
const FILE_BYTES_MAX = 64 * 1024;
const WORDS = Buffer.from("nbackup: this CA is followed by\0");

/** Where the successions of a CA lie: beside its certificate. */
export function successionsPath(caCertPath: string): string {
  return path.join(path.dirname(caCertPath), SUCCESSIONS_FILE);
}

export const SUCCESSIONS_FILE = "ca-successors.jsonl";

/** The old CA says that the certificate, PEM, is its successor's. */
export async function vouchFor(old: Authority, successorPem: string): Promise<Succession> {
  const certificate = new Uint8Array(new X509Certificate(successorPem).raw);
  const signed = Uint8Array.from(statement(old.certDer, certificate));
  return { certificate, signature: new Uint8Array(await crypto.subtle.sign(old.key.algorithm, old.key.key, signed)) };
}

/**
 * Those of the successors that are to be trusted by who trusts `trusted`, and are not among them: a CA that is valid now has vouched for each,
 * one that was found so included; it must be the root of its own chain. Nothing else makes a CA trusted: not the server that sent it, nor who has issued it.
 */
export function vouchedSuccessors(
  successions: readonly Succession[],
  trusted: readonly FileCertificate[],
  nowMs: number,
): FileCertificate[] {
  const known = [...trusted];
  const found: FileCertificate[] = [];
  // The oldest stand first: who missed one change is told of two.
  for (const succession of successions.slice(0, SUCCESSIONS_MAX)) {
    const successor = successorOf(succession, nowMs);
    if (successor === undefined || isAmong(successor, known)) continue;
    if (!known.some((old) => isRoot(old, nowMs) && hasVouched(old, succession))) continue;
    known.push(successor);
    found.push(successor);
  }
  return found;
}

/** Within what the wire takes: a CA with an RSA key beyond 4096 bits cannot vouch. */
export function canBeTold({ certificate, signature }: Succession): boolean {
  const isWithin = (bytes: Uint8Array, bytesMax: number): boolean => bytes.length > 0 && bytes.length <= bytesMax;
  return isWithin(certificate, SUCCESSOR_BYTES_MAX) && isWithin(signature, SUCCESSION_SIGNATURE_BYTES_MAX);
}

/** Its CA is among these already. */
export function isKnown({ certificate }: Succession, trusted: readonly FileCertificate[]): boolean {
  return trusted.some(({ x509 }) => Buffer.compare(x509.raw, certificate) === 0);
}

/** What the file says; nothing when there is none. Throws Failure E_CERTIFICATE. */
export function readSuccessions(filePath: string): Succession[] {
  let text: string;
  try {
    const { size } = fs.statSync(filePath);
    if (size > FILE_BYTES_MAX)
      throw fileFailure(filePath, `has ${size} bytes, more than the limit of ${FILE_BYTES_MAX}`);
    text = fs.readFileSync(filePath, "utf8");
  } catch (error) {
    if (errnoName(error) === "ENOENT") return [];
    if (errnoName(error) === undefined) throw error;
    throw fileFailure(filePath, `cannot be read: ${errnoName(error) ?? ""}`, READ_HINT, error);
  }
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line, index) => {
    const succession = parseLine(line);
    if (succession === undefined)
      throw fileFailure(filePath, `line ${index + 1} is not what pki renew ca writes`, READ_HINT);
    return succession;
  });
}

const READ_HINT =
  "Agents are not told of the new CA until it can be read: bring the file here anew, or ca.pem to the agents by hand.";

/** As the file has them; the oldest are left out when there are too many. */
export function successionsText(successions: readonly Succession[]): string {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
  return successions
    .filter(canBeTold)
    .slice(-SUCCESSIONS_MAX)
    .map(({ certificate, signature }) => {
      return `${JSON.stringify({ successor: base64(certificate), signature: base64(signature) })}\n`;
    })
    .join("");
}

/** Of which CA the new one is the successor stands in it: a signature cannot be moved to another pair. */
function statement(oldDer: Uint8Array, successorDer: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(oldDer.length);
  return Buffer.concat([WORDS, length, oldDer, successorDer]);
}

function successorOf({ certificate, signature }: Succession, nowMs: number): FileCertificate | undefined {
  if (!canBeTold({ certificate, signature })) return undefined;
  try {
    const found = fileCertificate(certificate);
    return isRoot(found, nowMs) ? found : undefined;
  } catch {
    return undefined; // Not a certificate.
  }
}

/** An intermediate CA may have limits, and must neither become a root nor make one. */
function isRoot(one: FileCertificate, nowMs: number): boolean {
  const { certificate } = one;
  const problem = authorityProblem(certificate) ?? validityProblem(certificate, nowMs);
  return problem === undefined && publicKeyOf(one) !== undefined && isSelfSigned(one);
}

function hasVouched(old: FileCertificate, { certificate, signature }: Succession): boolean {
  const key = publicKeyOf(old);
  const hash = key === undefined ? undefined : hashOf(key);
  if (key === undefined || hash === undefined) return false;
  const signed = statement(old.x509.raw, certificate);
  return verify(hash, signed, { key, dsaEncoding: "ieee-p1363" }, signature);
}

/** As signing-key.ts signs with a key of this kind. */
function hashOf(key: KeyObject): string | undefined {
  if (key.asymmetricKeyType === "rsa") return "SHA-256";
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === "prime256v1") return "SHA-256";
  return curve === "secp384r1" ? "SHA-384" : undefined;
}

function isAmong(one: FileCertificate, others: readonly FileCertificate[]): boolean {
  return others.some(({ x509 }) => x509.fingerprint256 === one.x509.fingerprint256);
}

function parseLine(line: string): Succession | undefined {
  let found: unknown;
  try {
    found = JSON.parse(line);
  } catch {
    return undefined; // The caller says which line it is.
  }
  if (typeof found !== "object" || found === null || !("successor" in found) || !("signature" in found))
    return undefined;
  const { successor, signature } = found;
  if (typeof successor !== "string" || typeof signature !== "string") return undefined;
  const succession = { certificate: Buffer.from(successor, "base64"), signature: Buffer.from(signature, "base64") };
  return canBeTold(succession) ? succession : undefined;
}
