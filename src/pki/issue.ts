/**
 * Makes certificates: the CA's own, a server's, an agent's. Values in, PEM out. It reads and writes no files (pair-store.ts)
 * and checks no names (#base/names.ts); the keys come from the crypto library's own generator, never from a passed-in one,
 * because a seeded key is no key.
 *
 * All keys are ECDSA P-256 with SHA-256: every TLS 1.3 implementation must support it, and a handshake costs a tenth of
 * one with RSA 2048.
 */
import "reflect-metadata";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  PemConverter,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { Random } from "#base/random.ts";
import type { SigningKey } from "./signing-key.ts";

cryptoProvider.set(crypto);

const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

/** 128 bits. RFC 5280 allows 20 bytes; 64 random bits are the least that counts as unpredictable. */
const SERIAL_BYTES = 16;

/** From and to as wall-clock milliseconds since 1970 UTC; cut to whole seconds, as certificates hold them. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** A certificate and its key: PEM, the key as PKCS#8. */
export interface Issued {
  readonly certPem: string;
  readonly keyPem: string;
}

/** The CA as an issuer: its certificate's DER and its key, known to belong together (authority.ts). */
export interface Authority {
  readonly certDer: Uint8Array;
  readonly key: SigningKey;
}

/** Host names and IP addresses (v4, v6 without brackets) of a server certificate. */
export interface ServerHosts {
  readonly dns: readonly string[];
  readonly ips: readonly string[];
}

/** A self-signed CA certificate that may sign certificates of servers and agents, and nothing below them. */
export async function createAuthority(commonName: string, validity: Validity, random: Random): Promise<Issued> {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
  const subjectKeyId = await SubjectKeyIdentifierExtension.create(keys.publicKey);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(random),
    name: commonNameOnly(commonName),
    ...dates(validity),
    keys,
    signingAlgorithm: KEY_ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      subjectKeyId,
      // Its own key: some verifiers look for the pair when several CAs have stood in one file.
      new AuthorityKeyIdentifierExtension(subjectKeyId.keyId),
    ],
  });
  return { certPem: certificate.toString("pem"), keyPem: await keyPem(keys.privateKey) };
}

/** A server's certificate for these hosts; `commonName` is only for people, clients check the alternative names. */
export function issueServer(
  authority: Authority,
  commonName: string,
  hosts: ServerHosts,
  validity: Validity,
  random: Random,
): Promise<Issued> {
  const names = [
    ...hosts.dns.map((value) => ({ type: "dns" as const, value })),
    ...hosts.ips.map((value) => ({ type: "ip" as const, value })),
  ];
  return issue(authority, commonName, validity, random, [
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    new SubjectAlternativeNameExtension(names),
  ]);
}

/** An agent's certificate: the CN is the agent's name, and it serves for nothing but being an agent. */
export function issueAgent(authority: Authority, name: string, validity: Validity, random: Random): Promise<Issued> {
  return issue(authority, name, validity, random, agentUsages());
}

/** The same for a key that somebody else has: `publicKeyDer` is a P-256 SubjectPublicKeyInfo, checked (request.ts). PEM. */
export async function certifyAgent(
  authority: Authority,
  name: string,
  publicKeyDer: Uint8Array,
  validity: Validity,
  random: Random,
): Promise<string> {
  const key = await new PublicKey(Uint8Array.from(publicKeyDer)).export(KEY_ALGORITHM, ["verify"]);
  return certify(authority, name, key, validity, random, agentUsages());
}

function agentUsages(): readonly Extension[] {
  return [new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth])];
}

async function issue(
  authority: Authority,
  commonName: string,
  validity: Validity,
  random: Random,
  usages: readonly Extension[],
): Promise<Issued> {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
  const certPem = await certify(authority, commonName, keys.publicKey, validity, random, usages);
  return { certPem, keyPem: await keyPem(keys.privateKey) };
}

async function certify(
  authority: Authority,
  commonName: string,
  publicKey: CryptoKey,
  validity: Validity,
  random: Random,
  usages: readonly Extension[],
): Promise<string> {
  const issuer = new X509Certificate(Uint8Array.from(authority.certDer));
  const certificate = await X509CertificateGenerator.create({
    serialNumber: randomSerial(random),
    subject: commonNameOnly(commonName),
    issuer: issuer.subjectName,
    ...dates(validity),
    publicKey,
    signingKey: authority.key.key,
    signingAlgorithm: authority.key.algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      // TLS 1.3 only ever signs; key encipherment belongs to older versions.
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      ...usages,
      await SubjectKeyIdentifierExtension.create(publicKey),
      await authorityKeyId(issuer),
    ],
  });
  return certificate.toString("pem");
}

/** What the issuer calls its own key, whatever way it was computed; verifiers compare the two byte by byte. */
async function authorityKeyId(issuer: X509Certificate): Promise<AuthorityKeyIdentifierExtension> {
  const own = issuer.getExtension(SubjectKeyIdentifierExtension);
  return own === null
    ? AuthorityKeyIdentifierExtension.create(issuer.publicKey)
    : new AuthorityKeyIdentifierExtension(own.keyId);
}

/** Positive and never shorter: the top bits are 01, so DER adds and drops no byte. */
function randomSerial(random: Random): string {
  const bytes = random.bytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

function commonNameOnly(commonName: string): Name {
  return new Name([{ CN: [{ utf8String: commonName }] }]);
}

function dates(validity: Validity): { notBefore: Date; notAfter: Date } {
  const wholeSecond = (ms: number): Date => new Date(Math.floor(ms / 1000) * 1000);
  return { notBefore: wholeSecond(validity.notBeforeMs), notAfter: wholeSecond(validity.notAfterMs) };
}

async function keyPem(key: CryptoKey): Promise<string> {
  return PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");
}
