/** IP addresses as text, as certificates and those who ask for them write them. No names, no sockets, no prefixes. */

const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);

export function isIpv4(text: string): boolean {
  return IPV4.test(text);
}

/** Without brackets and without a zone (`%eth0`), which means something on one machine only. */
export function isIpv6(text: string): boolean {
  return /^[0-9a-fA-F:.]+$/.test(text) && text.includes(":") && URL.canParse(`http://[${text}]/`);
}

/** The one usual way to write an IPv6 address (`2001:db8::1`): that of URLs, which shortens it as RFC 5952 says. */
export function shortIpv6(address: string): string {
  return new URL(`http://[${address}]/`).hostname.slice(1, -1);
}
