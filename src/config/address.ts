/** Network addresses as text: `host:port`, IP addresses, CIDR blocks. Nothing is looked up or connected to. */
import type { Address } from "./types.ts";

const HOST_CHARACTERS_MAX = 253;
const HOST_LABEL = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/** `host:port` or `[v6]:port` as an Address, or a clause that says what is wrong with it. */
export function parseAddress(text: string): Address | string {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([^:]*)$/.exec(text);
  if (match === null) {
    if (ipVersion(text) === 6) return "put an IPv6 address in brackets and give a port: [::1]:9847";
    return text.includes(":") ? "write HOST:PORT, without http:// or a path" : "the port is missing";
  }
  const port = Number(match[3]);
  if (!/^\d{1,5}$/.test(match[3] ?? "") || port < 1 || port > 65_535) return "the port must be from 1 to 65535";
  const v6 = match[1];
  if (v6 !== undefined) return ipVersion(v6) === 6 ? { host: v6, port } : "in brackets belongs an IPv6 address";
  const host = match[2] ?? "";
  return isHost(host) ? { host, port } : "the host must be a name or an IP address";
}

/** The same for listening: without a host (`:9847`) on all IPv4 addresses. */
export function parseListenAddress(text: string): Address | string {
  return parseAddress(text.startsWith(":") ? `0.0.0.0${text}` : text);
}

/** True for a DNS name or an IPv4 address. */
function isHost(text: string): boolean {
  if (text.length > HOST_CHARACTERS_MAX) return false;
  // Digits and dots only is meant as an IPv4 address, and a name cannot look like that.
  if (/^[\d.]+$/.test(text)) return ipVersion(text) === 4;
  return text
    .replace(/\.$/, "")
    .split(".")
    .every((label) => HOST_LABEL.test(label));
}

/** 4, 6, or 0 when it is no IP address. */
function ipVersion(text: string): 0 | 4 | 6 {
  if (isV4(text)) return 4;
  return isV6(text) ? 6 : 0;
}

/** True for an IP address or a CIDR block, v4 or v6. */
export function isIpOrBlock(text: string): boolean {
  const [ip, prefix, ...rest] = text.split("/");
  const version = ipVersion(ip ?? "");
  if (version === 0 || rest.length > 0) return false;
  if (prefix === undefined) return true;
  return /^(?:0|[1-9]\d{0,2})$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128);
}

/** Where IPv4 lies in IPv6: `::ffff:0:0/96`. */
const MAPPED_BITS = `${"0".repeat(80)}${"1".repeat(16)}`;

/**
 * A block of IPv6, as isIpOrBlock takes them, that has all of IPv4 in it: `::ffff:10.0.0.0/8`, with the bits that it has as IPv4. Not so
 * `::/0` and the like, which nobody writes who does not mean everybody.
 */
export function isWideMapped(text: string): boolean {
  const [ip = "", prefix] = text.split("/");
  if (prefix === undefined || Number(prefix) >= 96 || ipVersion(ip) !== 6) return false;
  const bits = v6Bits(ip);
  return bits.includes("1") && bits.slice(0, Number(prefix)) === MAPPED_BITS.slice(0, Number(prefix));
}

/** The 128 bits of an address, however it is written. */
function v6Bits(ip: string): string {
  const [head = [], tail] = ip.split("::").map((half) => (half === "" ? [] : half.split(":").map(groupBits)));
  const [start, end] = [head.join(""), tail?.join("") ?? ""];
  return start + "0".repeat(128 - start.length - end.length) + end;
}

/** Of four hexadecimal digits, or of an IPv4 address in their place. */
function groupBits(group: string): string {
  if (!group.includes(".")) return Number.parseInt(group, 16).toString(2).padStart(16, "0");
  return group
    .split(".")
    .map((part) => Number(part).toString(2).padStart(8, "0"))
    .join("");
}

function isV4(text: string): boolean {
  const parts = text.split(".");
  return parts.length === 4 && parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

/** Without a zone (`%eth0`): what it would mean depends on the machine. */
function isV6(text: string): boolean {
  const halves = text.split("::");
  if (text.length > 45 || halves.length > 2) return false;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const all = groups.flat();
  const last = all.at(-1);
  const v4Tail = last?.includes(".") === true && !text.endsWith("::");
  const hex = v4Tail ? all.slice(0, -1) : all;
  if (v4Tail && !isV4(last)) return false;
  if (!hex.every((group) => /^[0-9A-Fa-f]{1,4}$/.test(group))) return false;
  const count = hex.length + (v4Tail ? 2 : 0);
  return halves.length === 2 ? count <= 7 : count === 8;
}
