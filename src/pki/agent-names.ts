/** Which names an agent's certificate may carry, beyond being a name: whoever issues one asks here. */
import { Failure } from "#base/errors.ts";
import { isName, NAME_RULE } from "#base/names.ts";
import { type Certificate, commonNames } from "./certificate.ts";
import { quoted } from "./printable.ts";

/** Throws Failure E_NAME for what is not a name, or whose files would be those of the CA, the server or a key. */
export function checkAgentName(name: string): void {
  if (!isName(name)) throw new Failure("E_NAME", `${quoted(name)} is not a name: ${NAME_RULE}`);
  const lower = name.toLowerCase();
  if (lower === "ca" || lower === "server") {
    throw new Failure("E_NAME", `${quoted(name)} cannot name an agent: ${lower}.pem is the file of the ${lower}`, {
      hint: "Give the agent another name.",
    });
  }
  // web-key.pem would be the certificate of "web-key" and the key of "web".
  if (lower.endsWith("-key")) {
    throw new Failure("E_NAME", `${quoted(name)} cannot name an agent: files that end in -key.pem hold keys`, {
      hint: "Give the agent a name that does not end in -key.",
    });
  }
}

/**
 * Throws Failure E_NAME when the agent would be called like the server. Where a certificate has no alternative names, TLS takes its CN
 * for a host name: an agent could pass for the server. `where` ends the sentence: `by /etc/nbackup/server.pem`.
 */
export function refuseServerName(name: string, server: Certificate, where: string): void {
  const taken = [...commonNames(server), ...server.dnsNames, ...server.ipAddresses].map((host) => host.toLowerCase());
  if (!taken.includes(name.toLowerCase())) return;
  throw new Failure("E_NAME", `${quoted(name)} is a name of the server, ${where}`, {
    hint: "Give the agent another name.",
  });
}
