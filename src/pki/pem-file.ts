/**
 * Reads the PEM files that a configuration names: certificates and private keys, with a sentence for everything that can
 * be wrong with one. What the certificates are good for is identity.ts's business. Synchronous: it runs at start, on
 * reload and in commands, never while data flows.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import fs from "node:fs";
import { errnoName, Failure } from "#base/errors.ts";
import { type Certificate, parseCertificate } from "./certificate.ts";
import { MalformedDer } from "./der.ts";
import { encodePem, MalformedPem, parsePem, type PemBlock } from "./pem.ts";
import { printable } from "./printable.ts";

/** A bundle of all public CAs has 250 kB. */
export const PEM_FILE_BYTES_MAX = 1024 * 1024;

/** A certificate of a file, in both forms: ours for what it says, the library's for signatures. */
export interface FileCertificate {
  readonly certificate: Certificate;
  readonly x509: X509Certificate;
  readonly pem: string;
}

export interface FileKey {
  readonly key: KeyObject;
  /** PKCS#8, whatever form the file has. */
  readonly pem: string;
  /** Permission bits of the file. */
  readonly mode: number;
}

/** Any failure of a certificate or key file, worded the same everywhere: `path: message`. */
export function fileFailure(filePath: string, message: string, hint?: string, cause?: unknown): Failure {
  const options = { ...(hint === undefined ? {} : { hint }), ...(cause === undefined ? {} : { cause }) };
  return new Failure("E_CERTIFICATE", `${printable(filePath)}: ${message}`, options);
}

/** All certificates of a file in its order, at least one. Other blocks (a key in the same file) are passed over. */
export function readCertificates(filePath: string): FileCertificate[] {
  const { blocks } = readBlocks(filePath, "openssl x509 -inform der -in FILE -out FILE.pem");
  const found = blocks.filter(({ label }) => label === "CERTIFICATE" || label === "X509 CERTIFICATE");
  if (found.length > 0) return found.map((block, index) => readCertificate(filePath, block, index));
  if (blocks.some(isPrivateKey)) {
    throw fileFailure(
      filePath,
      "holds a private key, where a certificate belongs",
      "Check that the paths of certificate and key are not swapped.",
    );
  }
  throw fileFailure(filePath, `holds ${labelsOf(blocks)}, where a certificate (CERTIFICATE) belongs`);
}

/** The one private key of a file. */
export function readPrivateKey(filePath: string): FileKey {
  const { blocks, mode } = readBlocks(filePath, "openssl pkey -inform der -in FILE -out FILE.pem");
  const keys = blocks.filter(isPrivateKey);
  const [block] = keys;
  if (block === undefined) throw noKeyFailure(filePath, blocks);
  if (keys.length > 1) throw fileFailure(filePath, `holds ${keys.length} private keys, expected one`);
  if (block.encrypted || block.label.startsWith("ENCRYPTED")) {
    throw fileFailure(
      filePath,
      "the private key is encrypted, and nbackup runs with nobody there to type its password",
      "Write it without a password, for root only: umask 077; openssl pkey -in FILE -out NEW-FILE.",
    );
  }
  const key = decodeKey(filePath, block);
  return { key, mode, pem: String(key.export({ type: "pkcs8", format: "pem" })) };
}

function decodeKey(filePath: string, block: PemBlock): KeyObject {
  try {
    return createPrivateKey(encodePem(block.label, block.der));
  } catch (error) {
    throw fileFailure(
      filePath,
      "the private key is damaged or of a kind that TLS here does not support",
      "Use a P-256, P-384, P-521, Ed25519 or RSA key; nbackup-server pki makes P-256 keys.",
      error,
    );
  }
}

function noKeyFailure(filePath: string, blocks: readonly PemBlock[]): Failure {
  if (blocks.some(({ label }) => label === "CERTIFICATE")) {
    return fileFailure(
      filePath,
      "holds a certificate, where a private key belongs",
      "Check that the paths of certificate and key are not swapped.",
    );
  }
  return fileFailure(filePath, `holds ${labelsOf(blocks)}, where a private key (PRIVATE KEY) belongs`);
}

/** `OPENSSH PRIVATE KEY` is not one: TLS cannot read it. */
function isPrivateKey({ label }: PemBlock): boolean {
  return /^(?:(?:RSA|EC|DSA|ENCRYPTED) )?PRIVATE KEY$/.test(label);
}

function labelsOf(blocks: readonly PemBlock[]): string {
  const labels = [...new Set(blocks.map(({ label }) => label))];
  return printable(labels.join(", "));
}

/** A certificate that came another way. Throws MalformedDer, and what the library throws for what is none. */
export function fileCertificate(der: Uint8Array): FileCertificate {
  const x509 = new X509Certificate(Buffer.from(der));
  // The library reads the first element and passes over what follows, so compare.
  if (x509.raw.length !== der.length) throw new MalformedDer("bytes follow it");
  return { certificate: parseCertificate(x509.raw), x509, pem: encodePem("CERTIFICATE", der) };
}

function readCertificate(filePath: string, block: PemBlock, index: number): FileCertificate {
  const which = `certificate ${index + 1} of the file`;
  try {
    return fileCertificate(block.der);
  } catch (error) {
    const detail = error instanceof MalformedDer ? `: ${error.message}` : "";
    throw fileFailure(filePath, `${which} is damaged${detail}`, undefined, error);
  }
}

/** The blocks of a file, at least one; `convert` is the command that makes PEM of DER. */
function readBlocks(filePath: string, convert: string): { blocks: PemBlock[]; mode: number } {
  const { bytes, mode } = readFile(filePath);
  if (bytes.length === 0) throw fileFailure(filePath, "is empty");
  let blocks: PemBlock[];
  try {
    blocks = parsePem(bytes);
  } catch (error) {
    if (!(error instanceof MalformedPem)) throw error;
    throw fileFailure(filePath, error.message, undefined, error);
  }
  if (blocks.length > 0) return { blocks, mode };
  // DER and PKCS#12 both begin with a SEQUENCE.
  if (bytes[0] === 0x30) throw fileFailure(filePath, "is binary (DER or PKCS#12), not PEM", `Convert it: ${convert}`);
  throw fileFailure(filePath, "is not PEM: it has no line -----BEGIN …-----");
}

function readFile(filePath: string): { bytes: Uint8Array; mode: number } {
  let fd: number | undefined;
  try {
    // O_NONBLOCK: a fifo without a writer must not hang the start.
    fd = fs.openSync(filePath, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) throw fileFailure(filePath, "is not a regular file");
    if (stat.size > PEM_FILE_BYTES_MAX) {
      throw fileFailure(filePath, `has ${stat.size} bytes, more than the limit of ${PEM_FILE_BYTES_MAX}`);
    }
    return { bytes: fs.readFileSync(fd), mode: stat.mode & 0o7777 };
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw fileFailure(filePath, `cannot be read: ${errnoName(error) ?? String(error)}`, hintOf(error), error);
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

function hintOf(error: unknown): string {
  if (errnoName(error) === "EACCES")
    return "Let the user that nbackup runs as read the file, and no others if it is a key.";
  return "Correct the path under tls, or make the certificates with nbackup-server pki.";
}
