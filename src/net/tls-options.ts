/** What both ends of a connection tell TLS: version 1.3, our protocol, our certificate, and no peer without a verified one. */
import type { Identity } from "#pki/identity.ts";

/** PEM texts as #pki/identity.ts loads them. */
export type TlsIdentity = Pick<Identity, "caPem" | "certPem" | "keyPem">;

/** The same of a side that has no certificate yet. An empty `caPem`: whoever answers is not verified at all. */
export type TlsTrust = Pick<TlsIdentity, "caPem"> & Partial<TlsIdentity>;

const TLS_1_3 = 0x0304;

export const TLS_VERSION_NAME = "TLSv1.3";

/** Bun's types do not name the version, which it takes as a number; a string would be refused. */
interface TlsOptions extends Bun.TLSOptions {
  readonly minVersion: number;
}

/** `protocol` is what ALPN must agree on; both sides check that it did, because a peer without ALPN gets through. */
export function tlsOptions(identity: TlsTrust, protocol: string): TlsOptions {
  return {
    ...(identity.caPem === "" ? {} : { ca: identity.caPem }),
    ...(identity.certPem === undefined ? {} : { cert: identity.certPem, key: identity.keyPem }),
    rejectUnauthorized: true,
    minVersion: TLS_1_3,
    ALPNProtocols: alpnWire(protocol),
  };
}

/** As TLS wants it, a length byte before the name: a plain name would be ignored without a word. */
function alpnWire(protocol: string): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(protocol);
  const wire = new Uint8Array(1 + name.length);
  wire[0] = name.length;
  wire.set(name, 1);
  return wire;
}
