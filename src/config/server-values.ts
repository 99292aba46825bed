/** Values that only server.yaml has: listening addresses, IP blocks, reserves, globs of agent names. */
import { parseSize } from "#base/units.ts";
import { isIpOrBlock, isWideMapped, parseListenAddress } from "./address.ts";
import { Refusal, type Schema, value } from "./parts.ts";
import type { Address, ReserveConfig } from "./types.ts";

/** Like an address, but without a host it means all IPv4 addresses. */
export function listenAddress(example: string): Schema<Address> {
  return value(`HOST:PORT to listen on, for instance ${example}`, (input) => {
    const parsed = typeof input === "string" ? parseListenAddress(input) : "give host and port as one text in quotes";
    return typeof parsed === "string"
      ? new Refusal({ hint: `${parsed.charAt(0).toUpperCase()}${parsed.slice(1)}.` })
      : parsed;
  });
}

export function ipOrBlock(): Schema<string> {
  return value("an IP address or a CIDR block, for instance 192.0.2.0/24 or 2001:db8::/32", (input) => {
    if (typeof input !== "string" || !isIpOrBlock(input)) return new Refusal();
    if (!isWideMapped(input)) return input;
    return new Refusal({ hint: "Write the block as IPv4: 10.0.0.0/8 and not ::ffff:10.0.0.0/8, which is everybody." });
  });
}

/** As it stands in a Host header, without a port. */
export function hostName(): Schema<string> {
  return value("a host name, for instance backup.example.org", (input) =>
    typeof input === "string" && /^(?=.{1,253}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/i.test(input)
      ? input
      : new Refusal(),
  );
}

/** `5%` of the disk, or a size. */
export function reserve(): Schema<ReserveConfig> {
  return value("a part of the disk from 0% to 90%, or a size such as 10gb", (input) => {
    if (typeof input !== "string")
      return input === 0 ? { percent: 0, bytesMax: 0 } : new Refusal({ hint: "Write 5% or 10gb." });
    const percent = /^(\d{1,2}(?:\.\d{1,3})?) ?%$/.exec(input.trim())?.[1];
    if (percent !== undefined) {
      return Number(percent) <= 90 ? { percent: Number(percent), bytesMax: Number.MAX_SAFE_INTEGER } : new Refusal();
    }
    const bytesMax = parseSize(input);
    return bytesMax === undefined ? new Refusal({ hint: "Write 5% or 10gb." }) : { percent: 100, bytesMax };
  });
}

/** Characters of names, `*` for any run of them, `?` for one. */
export function agentGlob(): Schema<string> {
  return value("a name of an agent, where * stands for any characters and ? for one", (input) =>
    typeof input === "string" && /^[A-Za-z0-9._*?-]{1,64}$/.test(input) ? input : new Refusal(),
  );
}
