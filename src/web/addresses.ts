/**
 * Who asks, by address: lists of addresses and blocks, and the address behind proxies that are trusted. Pure. An IPv4 address written as
 * IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
 */
import { BlockList, isIP } from "node:net";

export class AddressList {
  readonly #list = new BlockList();

  /** As the configuration has checked them. */
  constructor(addresses: readonly string[]) {
    for (const written of addresses) {
      const [text = "", bits] = written.split("/");
      const address = plainAddress(text);
      const family = isIP(address) === 6 ? "ipv6" : "ipv4";
      // Of a block written as IPv4 in IPv6 only the last 32 bits are left.
      const mapped = family === "ipv4" && text.includes(":") ? 96 : 0;
      if (bits === undefined) this.#list.addAddress(address, family);
      else if (Number(bits) >= mapped) this.#list.addSubnet(address, Number(bits) - mapped, family);
      else this.#list.addSubnet(text, Number(bits), "ipv6");
    }
  }

  has(address: string): boolean {
    const plain = plainAddress(address);
    const version = isIP(plain);
    return version !== 0 && this.#list.check(plain, version === 6 ? "ipv6" : "ipv4");
  }
}

/** Without a zone, and as IPv4 if it is one; what is no address stays as it is. */
export function plainAddress(text: string): string {
  const [address = ""] = text.split("%");
  const dotted = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (dotted !== undefined) return dotted;
  const hex = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address);
  if (hex === null) return address;
  const [high, low] = [Number.parseInt(hex[1] ?? "", 16), Number.parseInt(hex[2] ?? "", 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** Proxies in one chain. */
const HOPS_MAX = 20;

/**
 * The address of who asks. X-Forwarded-For counts only from a proxy that is trusted, and of it the last address that is no
 * trusted proxy: what stands before that anybody may have written.
 */
export function clientAddress(peer: string, forwarded: string | undefined, proxies: AddressList): string {
  let client = plainAddress(peer);
  if (forwarded === undefined) return client;
  const hops = forwarded.split(",").map((hop) => hop.trim());
  for (const hop of hops.slice(-HOPS_MAX).reverse()) {
    if (!proxies.has(client)) return client;
    const address = plainAddress(withoutPort(hop));
    // A trusted proxy that writes what is no address vouches for nobody.
    if (isIP(address) === 0) return "";
    client = address;
  }
  return client;
}

function withoutPort(hop: string): string {
  return /^\[([^\]]+)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;
}

/** What counts as one asker where attempts are counted: an IPv6 address's network. */
export function attemptKey(address: string): string {
  const plain = plainAddress(address);
  return isIP(plain) === 6 ? (networkOf(plain) ?? plain) : plain;
}

/** The first 64 bits, which one subscriber has all addresses of. */
function networkOf(address: string): string | undefined {
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array.from({ length: Math.max(0, zeros) }, () => "0"), ...right];
  if (groups.length < 4) return undefined;
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}

/**
 * Whether the Host header may name this server. A page of somebody else's can have its own name lead here (DNS rebinding), so names must
 * be known; an address as a host is no name that leads anywhere else.
 */
export function isHostKnown(header: string | undefined, names: readonly string[]): boolean {
  if (header === undefined) return false;
  const bracketed = /^\[([0-9a-f:.]+)\](?::\d{1,5})?$/i.exec(header)?.[1];
  if (bracketed !== undefined) return isIP(bracketed) === 6;
  const host = (/^([^:]+)(?::\d{1,5})?$/.exec(header)?.[1] ?? "").toLowerCase().replace(/\.$/, "");
  if (isIP(host) === 4 || host === "localhost") return true;
  return names.some((name) => {
    const known = name.toLowerCase();
    return known.startsWith("*.")
      ? host.endsWith(known.slice(1)) && !host.slice(0, -known.length + 1).includes(".")
      : host === known;
  });
}
