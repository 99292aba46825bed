/** The extensions of a certificate that nbackup looks at, as plain values. Others are passed over; TLS judges them. */
import { DerReader, MalformedDer, oidText, TAG } from "./der.ts";
import { shortIpv6 } from "./ip.ts";

export type KeyUsage =
  | "digitalSignature"
  | "nonRepudiation"
  | "keyEncipherment"
  | "dataEncipherment"
  | "keyAgreement"
  | "keyCertSign"
  | "cRLSign"
  | "encipherOnly"
  | "decipherOnly";

/** In the order of the bits. */
const KEY_USAGES: readonly KeyUsage[] = [
  "digitalSignature",
  "nonRepudiation",
  "keyEncipherment",
  "dataEncipherment",
  "keyAgreement",
  "keyCertSign",
  "cRLSign",
  "encipherOnly",
  "decipherOnly",
];

export const OID_SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
export const OID_CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

const EXTENSION_COUNT_MAX = 64;
const ALTERNATIVE_NAME_COUNT_MAX = 1024;

export interface CertificateExtensions {
  /** The basic constraints' `CA` mark; undefined: the certificate has no basic constraints. */
  readonly ca: boolean | undefined;
  /** undefined: any. */
  readonly keyUsages: readonly KeyUsage[] | undefined;
  /** Dotted object identifiers; undefined: any. */
  readonly extendedKeyUsages: readonly string[] | undefined;
  readonly dnsNames: readonly string[];
  /** `192.0.2.7`, `2001:db8::1`. */
  readonly ipAddresses: readonly string[];
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Reads the content of a certificate's `[3]`; undefined for one without extensions. Throws MalformedDer. */
export function readExtensions(content: Uint8Array | undefined): CertificateExtensions {
  const result: Mutable<CertificateExtensions> = {
    ca: undefined,
    keyUsages: undefined,
    extendedKeyUsages: undefined,
    dnsNames: [],
    ipAddresses: [],
  };
  if (content === undefined) return result;
  const seen = new Set<string>();
  const list = new DerReader(content).enter(TAG.sequence, "the extensions");
  while (!list.atEnd) {
    const extension = list.enter(TAG.sequence, "an extension");
    const oid = oidText(extension.take(TAG.oid, "an extension's type"));
    // Twice the same extension could mean one thing here and another in the TLS library.
    if (seen.has(oid)) throw new MalformedDer(`extension ${oid} stands there twice`);
    seen.add(oid);
    if (seen.size > EXTENSION_COUNT_MAX) throw new MalformedDer("too many extensions");
    extension.takeOptional(TAG.boolean);
    readOne(oid, new DerReader(extension.take(TAG.octetString, "an extension's value")), result);
  }
  return result;
}

function readOne(oid: string, value: DerReader, into: Mutable<CertificateExtensions>): void {
  switch (oid) {
    case "2.5.29.15":
      into.keyUsages = keyUsages(value.take(TAG.bitString, "the key usage"));
      break;
    case "2.5.29.17":
      Object.assign(into, alternativeNames(value.enter(TAG.sequence, "the alternative names")));
      break;
    case "2.5.29.19":
      into.ca = (value.enter(TAG.sequence, "the basic constraints").takeOptional(TAG.boolean)?.[0] ?? 0) !== 0;
      break;
    case "2.5.29.37":
      into.extendedKeyUsages = oids(value.enter(TAG.sequence, "the extended key usage"));
      break;
    default:
      break;
  }
}

function keyUsages(bits: Uint8Array): KeyUsage[] {
  // The first byte counts the unused bits at the end; they are zero in DER.
  return KEY_USAGES.filter((_usage, bit) => ((bits[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0);
}

function oids(list: DerReader): string[] {
  const found: string[] = [];
  while (!list.atEnd) {
    found.push(oidText(list.take(TAG.oid, "a usage")));
    if (found.length > EXTENSION_COUNT_MAX) throw new MalformedDer("too many extended key usages");
  }
  return found;
}

function alternativeNames(list: DerReader): { dnsNames: string[]; ipAddresses: string[] } {
  const dnsNames: string[] = [];
  const ipAddresses: string[] = [];
  for (let count = 0; !list.atEnd; count++) {
    if (count === ALTERNATIVE_NAME_COUNT_MAX) throw new MalformedDer("too many alternative names");
    const { tag, content } = list.next();
    // [2] is a DNS name, [7] an address; e-mail addresses, URIs and directory names mean nothing to nbackup.
    if (tag === 0x82) dnsNames.push(Buffer.from(content).toString("latin1"));
    if (tag === 0x87) ipAddresses.push(ipText(content));
  }
  return { dnsNames, ipAddresses };
}

function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new MalformedDer(`an address of ${bytes.length} bytes`);
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)).toString(16));
  return shortIpv6(groups.join(":"));
}
