/**
 * Whether a certificate may be what it is used as: its usages, its time, its name. The same rules for our own certificate at
 * start, where the answer names a file, and for a peer's on every Hello.
 */
import { unreachable } from "#base/assert.ts";
import { isName, NAME_RULE } from "#base/names.ts";
import { type Certificate, commonNames } from "./certificate.ts";
import { OID_CLIENT_AUTH, OID_SERVER_AUTH } from "./extensions.ts";
import { quoted } from "./printable.ts";

export type Role = "server" | "agent";

const USAGE: Record<Role, { readonly oid: string; readonly name: string }> = {
  server: { oid: OID_SERVER_AUTH, name: "serverAuth" },
  agent: { oid: OID_CLIENT_AUTH, name: "clientAuth" },
};

const KNOWN_USAGES: Record<string, string> = {
  [OID_SERVER_AUTH]: "serverAuth",
  [OID_CLIENT_AUTH]: "clientAuth",
  "1.3.6.1.5.5.7.3.3": "codeSigning",
  "1.3.6.1.5.5.7.3.4": "emailProtection",
  "1.3.6.1.5.5.7.3.8": "timeStamping",
  "1.3.6.1.5.5.7.3.9": "OCSPSigning",
  "2.5.29.37.0": "anyExtendedKeyUsage",
};

/** `serverAuth` of an extended key usage's object identifier; the identifier itself when it is not a common one. */
export function usageName(oid: string): string {
  return KNOWN_USAGES[oid] ?? oid;
}

/**
 * Why the certificate must not be used in this role; undefined when it may. An absent extended key usage allows any
 * role. `anyExtendedKeyUsage` alone allows none, because the TLS library does not take it for one either.
 */
export function usageProblem(certificate: Certificate, role: Role): string | undefined {
  const { extendedKeyUsages, keyUsages } = certificate;
  if (extendedKeyUsages !== undefined && !extendedKeyUsages.includes(USAGE[role].oid)) {
    const found = extendedKeyUsages.map(usageName).join(", ");
    return `its extended key usage is ${found}, and being ${noun(role)} needs ${USAGE[role].name}`;
  }
  if (keyUsages !== undefined && !keyUsages.includes("digitalSignature")) {
    return `its key usage is ${keyUsages.join(", ")}, and TLS 1.3 needs digitalSignature`;
  }
  return undefined;
}

export type ValidityState = "valid" | "expired" | "not-yet-valid";

/** Both ends of the time belong to it, as RFC 5280 says. */
export function validityState(certificate: Certificate, nowMs: number): ValidityState {
  if (nowMs > certificate.notAfterMs) return "expired";
  return nowMs < certificate.notBeforeMs ? "not-yet-valid" : "valid";
}

/** Why the certificate is not valid now; undefined when it is. */
export function validityProblem(certificate: Certificate, nowMs: number): string | undefined {
  const now = isoSeconds(nowMs);
  const state = validityState(certificate, nowMs);
  switch (state) {
    case "valid":
      return undefined;
    case "expired":
      return `it expired at ${isoSeconds(certificate.notAfterMs)} and now is ${now}`;
    case "not-yet-valid":
      return `it is not valid before ${isoSeconds(certificate.notBeforeMs)} and now is ${now}`;
    default:
      return unreachable(state);
  }
}

/** Why the certificate does not name an agent; undefined when it has exactly one CN and that is a name. */
export function agentNameProblem(certificate: Certificate): string | undefined {
  const names = commonNames(certificate);
  const [name] = names;
  if (name === undefined || names.length > 1) return `it has ${names.length} CNs, and an agent's has exactly one`;
  return isName(name) ? undefined : `its CN ${quoted(name)} is not a name: ${NAME_RULE}`;
}

/** `an agent`, `a server`. */
export function noun(role: Role): string {
  return role === "agent" ? "an agent" : "a server";
}

/** `2026-02-12T02:00:00Z`. */
export function isoSeconds(wallMs: number): string {
  return `${new Date(wallMs).toISOString().slice(0, -5)}Z`;
}
