/**
 * What OpenSSL and the kernel say about a connection, as sentences for people. Codes go in, Failures come out; an
 * unknown code is passed on as it is.
 */
import { errnoName, Failure, type FailureOptions } from "#base/errors.ts";
import type { HostPort } from "./address.ts";

interface Reason {
  /** What was found, after "the certificate of …". */
  readonly found: string;
  readonly hint: string;
}

const OTHER_CA: Reason = {
  found: "was issued by a CA that tls.ca_cert does not hold",
  hint: "Put the CA that issued it into tls.ca_cert, or issue both sides' certificates with the same CA.",
};

/** `server.enroll_listen` and `server.listen` where nothing else was set: people mistake one for the other. */
const ENROLL_PORT = 9846;
const PORTS_HINT =
  "Agents connect to the port of server.listen, usually 9847; that of server.enroll_listen, usually 9846, is only for nbackup-agent enroll.";

/** Something speaks TLS where another protocol was meant. */
export const OTHER_PROTOCOL_HINT = `Check server.address: something else listens there. ${PORTS_HINT}`;

/** Verification errors of a certificate, by OpenSSL's names. */
const CERTIFICATE_REASONS: ReadonlyMap<string, Reason> = new Map([
  [
    "CERT_HAS_EXPIRED",
    { found: "has expired", hint: "Make it again with nbackup-server pki, or check this machine's clock." },
  ],
  ["CERT_NOT_YET_VALID", { found: "is not valid yet", hint: "Check the clocks of both machines." }],
  ["CERT_REVOKED", { found: "was revoked", hint: "Make a new one with nbackup-server pki." }],
  [
    "INVALID_PURPOSE",
    {
      found: "is not made for this side of a connection",
      hint: "Use what pki server made on the server and what pki agent made on the agent.",
    },
  ],
  ["SELF_SIGNED_CERT_IN_CHAIN", OTHER_CA],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", OTHER_CA],
  ["UNABLE_TO_GET_ISSUER_CERT", OTHER_CA],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", OTHER_CA],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", OTHER_CA],
  ["CERT_SIGNATURE_FAILURE", OTHER_CA],
]);

/** Parts of BoringSSL's text for failed handshakes, and what they mean. */
const HANDSHAKE_REASONS: ReadonlyMap<string, string> = new Map([
  ["HTTP_REQUEST", "it speaks HTTP"],
  ["WRONG_VERSION_NUMBER", "it does not speak TLS"],
  ["UNSUPPORTED_PROTOCOL", "it does not speak TLS 1.3"],
  ["TLSV1_ALERT_PROTOCOL_VERSION", "it does not speak TLS 1.3"],
  ["NO_APPLICATION_PROTOCOL", "it does not speak the protocol of nbackup"],
  ["PEER_DID_NOT_RETURN_A_CERTIFICATE", "it presented no certificate"],
  ["ALERT_CERTIFICATE_REQUIRED", "it wants a certificate and got none"],
  ["ALERT_UNKNOWN_CA", "it does not know the CA of our certificate"],
  ["ALERT_CERTIFICATE_EXPIRED", "it says that our certificate has expired"],
  ["ALERT_CERTIFICATE_REVOKED", "it says that our certificate was revoked"],
]);

/** What went wrong in or after a handshake with `peer` (`the server 192.0.2.7:9847`), by the error that Bun reports. */
export function tlsFailure(error: unknown, peer: string, host: string | undefined): Failure {
  const code = errnoName(error) ?? "";
  const text = error instanceof Error ? error.message : String(error);
  const options = { cause: error };
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return new Failure("E_TLS", `the certificate of ${peer} does not name ${host ?? "it"}: ${text}`, {
      ...options,
      hint: "Use an address in server.address that the certificate names, or make the server's certificate again with this one.",
    });
  }
  const reason = CERTIFICATE_REASONS.get(code);
  if (reason !== undefined) {
    return new Failure("E_TLS", `the certificate of ${peer} ${reason.found} (${code})`, {
      ...options,
      hint: reason.hint,
    });
  }
  for (const [part, meaning] of HANDSHAKE_REASONS) {
    if (!text.includes(part)) continue;
    const hint = part === "NO_APPLICATION_PROTOCOL" ? { hint: OTHER_PROTOCOL_HINT } : {};
    return new Failure("E_TLS", `no TLS connection to ${peer}: ${meaning} (${part})`, { ...options, ...hint });
  }
  if (code !== "EPROTO" && /^E[A-Z0-9]+$/.test(code)) return brokenFailure(code, peer, options);
  return new Failure("E_TLS", `no TLS connection to ${peer}: ${text}`, options);
}

/** A connection that was up and broke; `errno` as `ECONNRESET`. */
export function brokenFailure(errno: string, peer: string, options: FailureOptions = {}): Failure {
  const meaning = BROKEN.get(errno);
  return new Failure(
    "E_DISCONNECTED",
    `the connection to ${peer} broke: ${meaning === undefined ? errno : `${meaning} (${errno})`}`,
    options,
  );
}

const BROKEN: ReadonlyMap<string, string> = new Map([
  ["ECONNRESET", "the other side closed it at once"],
  ["EPIPE", "the other side closed it at once"],
  ["ETIMEDOUT", "the other side does not answer any more"],
  ["EHOSTUNREACH", "no route"],
  ["ENETUNREACH", "no route"],
]);

/** No connection could be made to `server` (`the server 192.0.2.7:9847`), which is `address`. */
export function connectFailure(error: unknown, server: string, { host, port }: HostPort): Failure {
  const errno = errnoName(error) ?? "unknown error";
  const options = { cause: error };
  const known = CONNECT_REASONS.get(errno);
  if (known === undefined) return new Failure("E_CONNECT", `cannot connect to ${server}: ${errno}`, options);
  const message = `cannot connect to ${server}: ${known.found(host)} (${errno})`;
  // Mostly nobody listens on it.
  const hint = port === ENROLL_PORT ? `${known.hint} ${PORTS_HINT}` : known.hint;
  return new Failure("E_CONNECT", message, { ...options, hint });
}

const UNREACHABLE = {
  found: () => "no route leads there",
  hint: "Check server.address, this machine's network and routes, and the firewalls between.",
};
const UNKNOWN_HOST = {
  found: (host: string) => `the name ${host} is not known`,
  hint: "Check the host in server.address and this machine's name service.",
};

const CONNECT_REASONS: ReadonlyMap<string, { found(host: string): string; hint: string }> = new Map([
  [
    "ECONNREFUSED",
    {
      found: () => "nobody listens there",
      hint: "Check that nbackup-server runs, and the host and port in server.address.",
    },
  ],
  [
    "ETIMEDOUT",
    { found: () => "no answer", hint: "Check server.address, that the server is up, and the firewalls between." },
  ],
  ["EHOSTUNREACH", UNREACHABLE],
  ["ENETUNREACH", UNREACHABLE],
  ["ENOTFOUND", UNKNOWN_HOST],
  ["EAI_AGAIN", UNKNOWN_HOST],
  ["ENODATA", UNKNOWN_HOST],
]);
