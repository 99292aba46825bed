/** The messages of enrolment, PROTOCOL.md "Enrolment": shape and limits of each. They come on a port of their own and nowhere else. */
import { z } from "zod";
import { isName } from "#base/names.ts";
import {
  AUTHORITIES_TEXT_CHARS_MAX,
  AUTHORITY_BYTES_MAX,
  CERTIFICATE_TEXT_CHARS_MAX,
  ENROLL_SECRET_BYTES,
  HEALTH_STORAGES_MAX,
  MESSAGE_TEXT_CHARS_MAX,
  REQUEST_BYTES_MAX,
} from "./limits.ts";

const name = z.string().refine(isName, "not a name");
const bytesFrom = (min: number, max: number) =>
  z.custom<Uint8Array>(
    (b) => b instanceof Uint8Array && b.length >= min && b.length <= max,
    min === max ? `not ${min} bytes` : `not ${min} to ${max} bytes`,
  );

/** Who are you? Asked before anything is verified, and nothing that is worth stealing is said with it. */
const askAuthority = z.object({});

/** DER of the CA that the server's own certificate leads to. Public; the agent compares it with its token. */
const authority = z.object({ certificate: bytesFrom(1, AUTHORITY_BYTES_MAX) });

const enroll = z.object({
  /** The token's secret. Only ever sent to a server that has proved the token's CA. */
  secret: bytesFrom(ENROLL_SECRET_BYTES, ENROLL_SECRET_BYTES),
  /** `nbackup-agent 0.1.0` */
  software: z.string().max(MESSAGE_TEXT_CHARS_MAX),
});

const granted = z.object({
  /** Whose token it is: the CN that the request must have. */
  agent: name,
  /** The server's clock, milliseconds since 1970 UTC: an agent whose clock is wrong can say so. */
  wallMs: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
});

/** PKCS#10, DER. */
const certify = z.object({ request: bytesFrom(1, REQUEST_BYTES_MAX) });

const certificate = z.object({
  /** PEM: the agent's certificate, then intermediates if there are any. */
  certificate: z.string().max(CERTIFICATE_TEXT_CHARS_MAX),
  /** PEM: all CAs of the server's tls.ca_cert. */
  authorities: z.string().max(AUTHORITIES_TEXT_CHARS_MAX),
  /** Where agents connect to, on the same host. */
  port: z.number().int().min(1).max(65_535),
  /** Those that the agent may use; when there are more than the limit the rest is left out. */
  storages: z.array(name).max(HEALTH_STORAGES_MAX),
});

/** Key and certificate are on the agent's disk for good. SHA-256 of the certificate's DER. */
const installed = z.object({ fingerprint: bytesFrom(32, 32) });

const enrolled = z.object({});

/** By frame type. */
export const ENROLL_MESSAGES = {
  askAuthority,
  authority,
  enroll,
  granted,
  certify,
  certificate,
  installed,
  enrolled,
} as const;
