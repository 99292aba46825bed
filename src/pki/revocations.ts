/**
 * Revocations: from when on an agent's older certificates are good for nothing. Kept beside the CA in `revoked.jsonl`, a line
 * for each, never rewritten: {"agent":"web-01","revoked":"2026-02-12T02:00:00Z"}. A certificate is revoked when it carries
 * the agent's name and its notBefore is not after that time, whoever made it and whether anybody knows its serial number.
 * One that begins later and is there already (a clock was ahead when it was made) would pass for one made afterwards: those that are known
 * at the revocation are named in the line as well, by their SHA-256.
 * This file reads, writes and compares; who is refused or closed is the server's business.
 */
import fs from "node:fs";
import path from "node:path";
import { errnoName, Failure } from "#base/errors.ts";
import { isName } from "#base/names.ts";
import { fileFailure } from "./pem-file.ts";
import { printable, quoted } from "./printable.ts";
import { isoSeconds } from "./purpose.ts";

export interface Revocation {
  readonly agent: string;
  /** Whole seconds, wall-clock milliseconds since 1970 UTC. */
  readonly atMs: number;
  /** Certificates of the agent that begin later and are revoked all the same: SHA-256 of each, 64 lower-case hex digits. */
  readonly certificates?: readonly string[];
}

/** By agent, the newest; and by `certificateKey` those that are named. */
export type RevokedAgents = ReadonlyMap<string, number>;

/** Some hundred thousand lines: more is not a list of revocations. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const SECOND_MS = 1000;
const CERTIFICATE_PREFIX = "sha256:";
const FINGERPRINT = /^[0-9a-f]{64}$/;
/** Named in one line: a register keeps fewer of one agent. */
const CERTIFICATES_MAX = 100;
/** There is no secret in it. */
const MODE = 0o644;

/** Where the revocations of a CA lie: beside its certificate. */
export function revocationsPath(caCertPath: string): string {
  return path.join(path.dirname(caCertPath), "revoked.jsonl");
}

/** How a certificate stands among the names of agents, which have no colon. */
export function certificateKey(fingerprint: string): string {
  return `${CERTIFICATE_PREFIX}${fingerprint}`;
}

export function isCertificateKey(key: string): boolean {
  return key.startsWith(CERTIFICATE_PREFIX) && FINGERPRINT.test(key.slice(CERTIFICATE_PREFIX.length));
}

/** The certificate was made before its agent was revoked. */
export function isRevoked(certificate: { readonly notBeforeMs: number }, revokedMs: number | undefined): boolean {
  return revokedMs !== undefined && certificate.notBeforeMs <= revokedMs;
}

/** When a revocation that is decided now counts: the second it is, but always after the last one of that agent. */
export function revocationTime(nowMs: number, lastMs: number | undefined): number {
  return Math.max(wholeSecond(nowMs), lastMs === undefined ? 0 : lastMs + SECOND_MS);
}

/** What the file says; nothing when there is none. Throws Failure E_CERTIFICATE: half of the list must not pass for all of it. */
export function readRevocations(filePath: string): Map<string, number> {
  const revoked = new Map<string, number>();
  for (const [index, raw] of textOf(filePath).split("\n").entries()) {
    // A power cut may leave zeros; an editor, blanks and the line ends of another system.
    const line = raw.replaceAll("\0", "").trim();
    // All but its brace says all there is to say: too many revoked is better than too few.
    const revocation = parseLine(line) ?? parseLine(`${line}}`);
    if (revocation === undefined) {
      if (isTorn(line)) continue;
      throw fileFailure(
        filePath,
        `line ${index + 1} is not a revocation: ${quoted(line)}`,
        'Correct it by hand: {"agent":"NAME","revoked":"2026-02-12T02:00:00Z"}. Until then nobody knows who is revoked.',
      );
    }
    const { agent, atMs, certificates = [] } = revocation;
    for (const key of [agent, ...certificates.map(certificateKey)]) {
      revoked.set(key, Math.max(atMs, revoked.get(key) ?? 0));
    }
  }
  return revoked;
}

/** Adds a line; when it returns the disk has it. Throws Failure E_WRITE. */
export function appendRevocation(filePath: string, { agent, atMs, certificates = [] }: Revocation): void {
  const named = certificates.length === 0 ? {} : { certificates: certificates.slice(0, CERTIFICATES_MAX) };
  const line = `${JSON.stringify({ agent, revoked: isoSeconds(atMs), ...named })}\n`;
  try {
    const isNew = !fs.existsSync(filePath);
    const fd = fs.openSync(filePath, "a+", MODE);
    try {
      // Whatever the umask: a server that runs as another user and cannot read the list does not start.
      if (isNew) fs.fchmodSync(fd, MODE);
      checkRoom(filePath, fs.fstatSync(fd).size + line.length + 1);
      // One write in append mode: a second command at the same moment loses nothing. What a crash tore gets its line end.
      fs.writeSync(fd, endsTorn(fd) ? `\n${line}` : line);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    if (isNew) syncDirectory(path.dirname(filePath));
  } catch (cause) {
    throw cause instanceof Failure ? cause : unwritable(filePath, cause);
  }
}

/** A server that cannot read the list does not start. */
function checkRoom(filePath: string, bytes: number): void {
  if (bytes <= FILE_BYTES_MAX) return;
  const text = `${printable(filePath)} would have ${bytes} bytes, more than the limit of ${FILE_BYTES_MAX}`;
  throw new Failure("E_WRITE", text, {
    hint: "Nobody is revoked yet. Of each agent only its newest line counts, and one older than the life of certificates counts no more: take others out, then revoke again.",
  });
}

function endsTorn(fd: number): boolean {
  const { size } = fs.fstatSync(fd);
  const last = Buffer.alloc(1);
  return size > 0 && fs.readSync(fd, last, 0, 1, size - 1) === 1 && last[0] !== 0x0a;
}

/** The beginning of a line as appendRevocation writes it: what a crash left of a revocation that was never confirmed. */
function isTorn(line: string): boolean {
  const [named = ""] = /^\{"agent":"[A-Za-z0-9._-]*/.exec(line) ?? [];
  if (named === "") return '{"agent":"'.startsWith(line);
  const rest = line.slice(named.length);
  if ('","revoked":"'.startsWith(rest) || /^","revoked":"[0-9TZ:-]*$/.test(rest)) return true;
  const [time = ""] = /^","revoked":"[0-9TZ:-]+/.exec(rest) ?? [];
  const list = rest.slice(time.length);
  return time !== "" && ('","certificates":["'.startsWith(list) || /^","certificates":\["[0-9a-f",]*\]?$/.test(list));
}

function textOf(filePath: string): string {
  try {
    const { size } = fs.statSync(filePath);
    if (size > FILE_BYTES_MAX) {
      throw fileFailure(filePath, `has ${size} bytes, more than the limit of ${FILE_BYTES_MAX}`);
    }
    return fs.readFileSync(filePath, "utf8");
  } catch (error) {
    if (errnoName(error) === "ENOENT") return "";
    if (error instanceof Failure) throw error;
    throw fileFailure(
      filePath,
      `cannot be read: ${errnoName(error) ?? String(error)}`,
      "Let the user that nbackup-server runs as read it: without it nobody knows who is revoked.",
      error,
    );
  }
}

function parseLine(line: string): Revocation | undefined {
  let found: unknown;
  try {
    found = JSON.parse(line);
  } catch {
    return undefined; // The caller says which line it is.
  }
  if (typeof found !== "object" || found === null || !("agent" in found) || !("revoked" in found)) return undefined;
  const { agent, revoked } = found;
  if (typeof agent !== "string" || !isName(agent) || typeof revoked !== "string") return undefined;
  const atMs = Date.parse(revoked);
  if (!Number.isSafeInteger(atMs) || atMs < 0) return undefined;
  const certificates = "certificates" in found ? fingerprintsOf(found.certificates) : [];
  return certificates === undefined ? undefined : { agent, atMs: wholeSecond(atMs), certificates };
}

function fingerprintsOf(list: unknown): string[] | undefined {
  if (!Array.isArray(list)) return undefined;
  const found = list.filter((one): one is string => typeof one === "string" && FINGERPRINT.test(one));
  return found.length === list.length ? found : undefined;
}

function wholeSecond(ms: number): number {
  return Math.floor(ms / SECOND_MS) * SECOND_MS;
}

function syncDirectory(dir: string): void {
  const fd = fs.openSync(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function unwritable(filePath: string, cause: unknown): Failure {
  return new Failure("E_WRITE", `${printable(filePath)} cannot be written: ${errnoName(cause) ?? String(cause)}`, {
    hint: "Nobody is revoked yet. Check that the directory of the CA can be written and that its disk has room.",
    cause,
  });
}
