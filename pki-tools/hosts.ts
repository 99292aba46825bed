/** The names of a server as `pki server HOST[,IP…]` takes them, checked and sorted into DNS names and addresses. */
import { Failure } from "#base/errors.ts";
import { isIpv4, isIpv6, shortIpv6 } from "#pki/ip.ts";
import { quoted } from "#pki/printable.ts";
import type { ServerHosts } from "#pki/issue.ts";

/** Alternative names of one certificate; every one of them travels in each handshake. */
const HOST_COUNT_MAX = 100;

/** RFC 1035: a name without its last dot. */
const DNS_NAME_CHARACTERS_MAX = 253;

/** RFC 5280, ub-common-name. */
const COMMON_NAME_CHARACTERS_MAX = 64;

/** Underscores stand in no host name of the rules, but in many of container networks. */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

export interface CheckedHosts extends ServerHosts {
  /** The first host that is short enough for a CN. */
  readonly commonName: string;
}

/** `backup.example.org,192.0.2.7,[2001:db8::1]` in any order, without repeats; throws Failure E_USAGE. */
export function parseHosts(text: string): CheckedHosts {
  const dns = new Set<string>();
  const ips = new Set<string>();
  const all: string[] = [];
  for (const part of text.split(",")) {
    const host = checkedHost(part.trim());
    (isIpv4(host) || isIpv6(host) ? ips : dns).add(host);
    all.push(host);
  }
  if (dns.size + ips.size > HOST_COUNT_MAX) {
    throw new Failure("E_USAGE", `${dns.size + ips.size} host names, and a certificate takes ${HOST_COUNT_MAX}`);
  }
  const commonName = all.find((host) => host.length <= COMMON_NAME_CHARACTERS_MAX) ?? "nbackup-server";
  return { commonName, dns: [...dns], ips: [...ips] };
}

function checkedHost(text: string): string {
  const bare = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  if (isIpv6(bare)) return shortIpv6(bare);
  if (isIpv4(text)) return text;
  const name = text.toLowerCase().replace(/\.$/, "");
  const labels = name.split(".");
  // A last label of digits only would be read as an address by some programs.
  const good = labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1) ?? "");
  if (!good || name.length > DNS_NAME_CHARACTERS_MAX) {
    throw new Failure("E_USAGE", `${quoted(text)} is neither a host name nor an IP address`, {
      hint: "Write for instance backup.example.org,192.0.2.7,2001:db8::1 without blanks; names with other letters in their xn-- form.",
    });
  }
  return name;
}
