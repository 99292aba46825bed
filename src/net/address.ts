/** Addresses as people read and write them. Resolving names is the system's part. */

/** `host` without brackets: a name, an IPv4 or an IPv6 address. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** What is known of the other end of a socket. The kernel knows nothing any more of a peer that has reset it. */
interface RemoteEnd {
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
}

/** The other end of a socket as `formatAddress` writes it, also of one that broke at this moment. */
export function remoteAddressOf({ remoteAddress, remotePort }: RemoteEnd): string {
  if (remoteAddress === undefined || remotePort === undefined) return "unknown address";
  return formatAddress({ host: remoteAddress, port: remotePort });
}

/** `192.0.2.7:9847`, `[2001:db8::1]:9847`; an IPv4 address that came over an IPv6 socket is shown as what it is. */
export function formatAddress(address: HostPort): string {
  const host = address.host.replace(/^::ffff:(?=\d+\.)/i, "");
  return host.includes(":") ? `[${host}]:${address.port}` : `${host}:${address.port}`;
}
