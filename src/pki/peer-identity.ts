/** Who is at the other end of a connection. Filled in below; the type comes first because others build on it. */

export type Role = "server" | "agent";

export interface PeerIdentity {
  /** Of an agent: its name. Of a server: for logs only, its host names are checked by TLS. */
  readonly commonName: string;
  /** SHA-256 of the certificate's DER, 64 lower-case hex digits. */
  readonly fingerprint: string;
  /** End of the certificate's validity, wall-clock milliseconds since 1970 UTC. */
  readonly notAfterMs: number;
  /** Serial number, lower-case hex without leading zeros. */
  readonly serial: string;
}
