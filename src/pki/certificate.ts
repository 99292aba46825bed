/**
 * What a certificate says about itself, as plain values: names, validity, usages. It verifies no signature (chain.ts) and
 * decides nothing (purpose.ts, peer-identity.ts).
 */
import { createHash } from "node:crypto";
import { type DerElement, DerReader, MalformedDer, oidText, TAG, timeMs } from "./der.ts";
import { type CertificateExtensions, readExtensions } from "./extensions.ts";
import { printable } from "./printable.ts";

/** Of a certificate's DER. Large ones (many names, RSA 4096) have about 4 kB. */
const CERTIFICATE_BYTES_MAX = 64 * 1024;

const NAME_ATTRIBUTE_COUNT_MAX = 64;

export interface NameAttribute {
  /** Dotted object identifier. */
  readonly oid: string;
  /** Text; `#` and hex for a string type this program does not read. */
  readonly value: string;
}

export interface Certificate extends CertificateExtensions {
  readonly der: Uint8Array;
  /** SHA-256 of the DER, 64 lower-case hex digits. */
  readonly fingerprint: string;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly subject: readonly NameAttribute[];
  readonly issuer: readonly NameAttribute[];
  /** The subject's name as DER in hex, to compare names exactly. */
  readonly subjectHex: string;
  readonly issuerHex: string;
  /** Wall-clock milliseconds since 1970 UTC; both ends belong to the time of validity. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Reads one certificate's DER; throws MalformedDer. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > CERTIFICATE_BYTES_MAX) {
    throw new MalformedDer(`${der.length} bytes exceed the limit of ${CERTIFICATE_BYTES_MAX}`);
  }
  const file = new DerReader(der);
  const outer = file.enter(TAG.sequence, "the certificate");
  file.end("the certificate");
  const body = outer.enter(TAG.sequence, "the certificate's body");
  // Version: its number adds nothing to the presence of extensions.
  body.takeOptional(0xa0);
  const serial = Buffer.from(body.take(TAG.integer, "the serial number"))
    .toString("hex")
    .replace(/^0+(?=.)/, "");
  body.take(TAG.sequence, "the signature algorithm");
  const issuer = body.take(TAG.sequence, "the issuer");
  const validity = body.enter(TAG.sequence, "the validity");
  const notBeforeMs = timeMs(validity.next());
  const notAfterMs = timeMs(validity.next());
  const subject = body.take(TAG.sequence, "the subject");
  body.take(TAG.sequence, "the public key");
  // Unique identifiers of issuer and subject: nobody uses them.
  body.takeOptional(0x81);
  body.takeOptional(0x82);
  const extensions = body.takeOptional(0xa3);
  body.end("the certificate's body");
  return {
    der,
    fingerprint: createHash("sha256").update(der).digest("hex"),
    serial,
    subject: readName(subject),
    issuer: readName(issuer),
    subjectHex: Buffer.from(subject).toString("hex"),
    issuerHex: Buffer.from(issuer).toString("hex"),
    notBeforeMs,
    notAfterMs,
    ...readExtensions(extensions),
  };
}

const OID_COMMON_NAME = "2.5.4.3";

/** All CNs of the subject, in its order; a good certificate of an agent has exactly one. */
export function commonNames(certificate: Certificate): readonly string[] {
  return certificate.subject.filter((attribute) => attribute.oid === OID_COMMON_NAME).map(({ value }) => value);
}

/** What to call a certificate in a message: its first CN, else its first DNS name or address. Safe to print. */
export function displayName(certificate: Certificate): string {
  return printable(
    commonNames(certificate)[0] ?? certificate.dnsNames[0] ?? certificate.ipAddresses[0] ?? "(without a name)",
  );
}

const ATTRIBUTE_NAMES: Record<string, string> = {
  [OID_COMMON_NAME]: "CN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "0.9.2342.19200300.100.1.25": "DC",
  "1.2.840.113549.1.9.1": "emailAddress",
};

/** `CN=web-01, O=Example` for people, safe to print; not meant to be parsed. */
export function nameText(name: readonly NameAttribute[]): string {
  return name.map(({ oid, value }) => `${ATTRIBUTE_NAMES[oid] ?? oid}=${printable(value)}`).join(", ");
}

function readName(content: Uint8Array): NameAttribute[] {
  const attributes: NameAttribute[] = [];
  const sets = new DerReader(content);
  while (!sets.atEnd) {
    const set = sets.enter(TAG.set, "a part of a name");
    while (!set.atEnd) {
      const attribute = set.enter(TAG.sequence, "an attribute of a name");
      const oid = oidText(attribute.take(TAG.oid, "an attribute's type"));
      attributes.push({ oid, value: stringValue(attribute.next()) });
      attribute.end("an attribute of a name");
      if (attributes.length > NAME_ATTRIBUTE_COUNT_MAX) throw new MalformedDer("a name with too many attributes");
    }
  }
  return attributes;
}

function stringValue(element: DerElement): string {
  switch (element.tag) {
    case TAG.utf8String:
      return utf8(element.content);
    case TAG.printableString:
    case TAG.ia5String:
    case TAG.t61String:
      return Buffer.from(element.content).toString("latin1");
    case TAG.bmpString:
      return utf16BigEndian(element.content);
    default:
      return `#${Buffer.from(element.content).toString("hex")}`;
  }
}

function utf16BigEndian(content: Uint8Array): string {
  if (content.length % 2 !== 0) throw new MalformedDer("a name of two-byte characters with an odd length");
  return Buffer.from(Uint8Array.from(content)).swap16().toString("utf16le");
}

function utf8(content: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(content);
  } catch (error) {
    throw new MalformedDer("a name that is not UTF-8", { cause: error });
  }
}
