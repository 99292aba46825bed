/**
 * What an agent asks a certificate with: a key of its own, and a request (PKCS#10, RFC 2986) that only the key's owner can have
 * signed. The key never leaves the machine. Who may ask for which name is not decided here.
 *
 * Only the one form that agents make is taken: P-256 with SHA-256, a CN that is a name, no attributes. openssl req makes and reads it.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { errnoName, Failure } from "#base/errors.ts";
import { isName, NAME_RULE } from "#base/names.ts";
import { DerReader, MalformedDer, oidText, TAG } from "./der.ts";
import { derElement } from "./der-writer.ts";
import { quoted } from "./printable.ts";

/** DER; those of agents have 160 to 290. */
export const REQUEST_BYTES_MAX = 1024;

const OID_COMMON_NAME = Uint8Array.of(0x55, 0x04, 0x03);
const OID_ECDSA_SHA256 = Uint8Array.of(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02);
const OID_ECDSA_SHA256_TEXT = "1.2.840.10045.4.3.2";
const OID_COMMON_NAME_TEXT = "2.5.4.3";

/** `[0]`, constructed: the attributes. */
const ATTRIBUTES = 0xa0;

/** How DER of every uncompressed P-256 key begins (RFC 5480); 64 bytes of coordinates follow. */
const P256_PREFIX = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d03010703420004", "hex");
const P256_BYTES = P256_PREFIX.length + 64;

export interface CheckedRequest {
  /** The CN, a name. */
  readonly name: string;
  /** The key that the request was signed with: SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Uint8Array;
}

/** A new P-256 key: PKCS#8 PEM, of the crypto library's own generator. Secret: never log it. */
export function newAgentKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return String(privateKey.export({ type: "pkcs8", format: "pem" }));
}

/** The request for `name`, DER; `keyPem` is a key of newAgentKey. */
export function makeRequest(name: string, keyPem: string): Uint8Array {
  const key = createPrivateKey(keyPem);
  const attribute = derElement(
    TAG.sequence,
    derElement(TAG.oid, OID_COMMON_NAME),
    derElement(TAG.utf8String, Buffer.from(name)),
  );
  const info = derElement(
    TAG.sequence,
    derElement(TAG.integer, Uint8Array.of(0)),
    derElement(TAG.sequence, derElement(TAG.set, attribute)),
    createPublicKey(key).export({ type: "spki", format: "der" }),
    derElement(ATTRIBUTES),
  );
  const signature = sign("sha256", info, { key, dsaEncoding: "der" });
  return derElement(
    TAG.sequence,
    info,
    derElement(TAG.sequence, derElement(TAG.oid, OID_ECDSA_SHA256)),
    // No unused bits.
    derElement(TAG.bitString, Uint8Array.of(0), signature),
  );
}

/** Reads what a stranger may have made. Throws Failure E_REQUEST. */
export function readRequest(der: Uint8Array): CheckedRequest {
  if (der.length > REQUEST_BYTES_MAX) {
    throw refused(`${der.length} bytes, more than the limit of ${REQUEST_BYTES_MAX}`);
  }
  try {
    return readDer(der);
  } catch (error) {
    if (!(error instanceof MalformedDer)) throw error;
    throw refused(error.message, error);
  }
}

function readDer(der: Uint8Array): CheckedRequest {
  const file = new DerReader(der);
  const outer = file.enter(TAG.sequence, "the request");
  file.end("the request");
  const infoContent = outer.take(TAG.sequence, "the request's body");
  const algorithm = outer.enter(TAG.sequence, "the signature algorithm");
  const algorithmOid = oidText(algorithm.take(TAG.oid, "the signature algorithm"));
  if (algorithmOid !== OID_ECDSA_SHA256_TEXT || !algorithm.atEnd) {
    throw refused(`it is signed with algorithm ${algorithmOid}, expected ECDSA with SHA-256`);
  }
  const signature = outer.take(TAG.bitString, "the signature");
  outer.end("the signature");
  const info = new DerReader(infoContent);
  const version = info.take(TAG.integer, "the version");
  if (version.length !== 1 || version[0] !== 0) throw refused("it is of another version than 1");
  const name = readSubject(info.enter(TAG.sequence, "the subject"));
  const publicKeyDer = derElement(TAG.sequence, info.take(TAG.sequence, "the public key"));
  const attributes = info.take(ATTRIBUTES, "the attributes");
  info.end("the attributes");
  if (attributes.length > 0) throw refused("it has attributes");
  checkSignature(derElement(TAG.sequence, infoContent), publicKeyDer, signature);
  return { name, publicKeyDer };
}

function readSubject(subject: DerReader): string {
  const attribute = subject.enter(TAG.set, "the subject").enter(TAG.sequence, "the subject's name");
  const oid = oidText(attribute.take(TAG.oid, "the type of the subject's name"));
  const name = Buffer.from(attribute.take(TAG.utf8String, "the subject's name")).toString("latin1");
  attribute.end("the subject's name");
  if (oid !== OID_COMMON_NAME_TEXT || !subject.atEnd) throw refused("its subject is not one CN");
  if (!isName(name)) throw refused(`its CN ${quoted(name)} is not a name: ${NAME_RULE}`);
  return name;
}

function checkSignature(info: Uint8Array, publicKeyDer: Uint8Array, bits: Uint8Array): void {
  if (publicKeyDer.length !== P256_BYTES || !P256_PREFIX.equals(publicKeyDer.subarray(0, P256_PREFIX.length))) {
    throw refused("its key is not an uncompressed P-256 key");
  }
  const key = publicKey(publicKeyDer);
  if (bits[0] !== 0 || !verify("sha256", info, { key, dsaEncoding: "der" }, bits.subarray(1))) {
    throw refused("its signature was not made with the key that it is for");
  }
}

/** The library refuses a point that is not on the curve. */
function publicKey(der: Uint8Array): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
  } catch (error) {
    throw refused(`its key is not one: ${errnoName(error) ?? "unreadable"}`, error);
  }
}

function refused(why: string, cause?: unknown): Failure {
  return new Failure("E_REQUEST", `the certificate request is refused: ${why}`, cause === undefined ? {} : { cause });
}
