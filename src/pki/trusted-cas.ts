/**
 * The CAs that a listener trusts, for a connection that was made when it trusted others: whether its peer's certificate would still be let
 * in. Only who has issued it is looked at; validity and names are peer-identity.ts's, and TLS judges every new handshake itself.
 */
import { X509Certificate } from "node:crypto";

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

export class TrustedCas {
  readonly #cas: readonly X509Certificate[];

  /** `caPem`: the texts of certificates that were read and checked before. */
  constructor(caPem: string) {
    this.#cas = [...caPem.matchAll(PEM)].map(([pem]) => new X509Certificate(pem));
  }

  /** One of them has signed the certificate, DER. */
  #issued(leaf: X509Certificate): boolean {
    return this.#cas.some((ca) => leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
  }

  /**
   * True when a CA that `before` trusted is the reason why this peer was let in, and none of these has issued its certificate. Where an
   * intermediate CA has, which only its handshake showed, nobody can tell before the next one.
   */
  withdrawn(der: Uint8Array, before: TrustedCas): boolean {
    if (before === this) return false;
    const leaf = new X509Certificate(der);
    return before.#issued(leaf) && !this.#issued(leaf);
  }
}
