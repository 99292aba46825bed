/** `pki show`: what certificates say and whether the CA has issued them. Reads only. */
import fs from "node:fs";
import path from "node:path";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import { type Certificate, commonNames, nameText } from "#pki/certificate.ts";
import { authorityProblem, findChain } from "#pki/chain.ts";
import { type FileCertificate, readCertificates } from "#pki/pem-file.ts";
import { printable } from "#pki/printable.ts";
import { isoSeconds, usageName, usageProblem, type ValidityState, validityState } from "#pki/purpose.ts";
import {
  certificateKey,
  isCertificateKey,
  isRevoked,
  readRevocations,
  revocationsPath,
  type RevokedAgents,
} from "#pki/revocations.ts";

/** One certificate, as `--json` prints it: field names are a promise. */
export interface Shown {
  readonly file: string;
  /** 1 for the first certificate of the file. */
  readonly number: number;
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly ca: boolean;
  /** null: any. */
  readonly keyUsages: readonly string[] | null;
  readonly extendedKeyUsages: readonly string[] | null;
  /** `2026-02-12T02:00:00Z` */
  readonly notBefore: string;
  readonly notAfter: string;
  readonly validity: ValidityState;
  /** Whole days; negative when it has expired. */
  readonly daysLeft: number;
  /** SHA-256, 64 hex digits. */
  readonly fingerprint: string;
  /** null: there is no ca.pem to say. */
  readonly chainsToCa: boolean | null;
  /** Why it does not, for people. */
  readonly problem: string | null;
  /** The revocation that it is subject to: when. null: none in the list beside the CA. */
  readonly revoked: string | null;
}

/** One agent of the list of revocations, as `--json` prints it. */
export interface ShownRevocation {
  readonly file: string;
  readonly agent: string;
  readonly revoked: string;
}

const DAY_MS = 86_400_000;

/** Files of a directory that show looks at: more is no directory of certificates. */
const FILE_COUNT_MAX = 10_000;

/** The files to show: those given, else the certificates of `dir`, ca.pem and server.pem first. */
export function filesToShow(files: readonly string[], dir: string | undefined): readonly string[] {
  if (files.length > 0 || dir === undefined) return files;
  const names = listDirectory(dir).filter((name) => name.endsWith(".pem") && !name.endsWith("-key.pem"));
  if (names.length === 0) {
    throw new Failure("E_CERTIFICATE", `${printable(dir)} holds no certificates (*.pem)`, {
      hint: `Make a CA there with nbackup-server pki init --dir ${printable(dir)}.`,
    });
  }
  if (names.length > FILE_COUNT_MAX) {
    throw new Failure("E_USAGE", `${printable(dir)} holds ${names.length} files, more than ${FILE_COUNT_MAX}`);
  }
  const first = ["ca.pem", "server.pem"].filter((name) => names.includes(name));
  const rest = names.filter((name) => !first.includes(name)).sort();
  return [...first, ...rest].map((name) => path.join(dir, name));
}

/** All certificates of one file. Throws Failure E_CERTIFICATE when it cannot be read. */
export function describeFile(filePath: string, dir: string | undefined, nowMs: number): Shown[] {
  const certificates = readCertificates(filePath);
  const caPath = path.join(dir ?? path.dirname(filePath), "ca.pem");
  const cas = fs.existsSync(caPath) ? readCertificates(caPath) : undefined;
  const revoked = readRevocations(revocationsPath(caPath));
  return certificates.map((one, index) => ({
    ...describe(filePath, one, index, certificates, cas, nowMs),
    revoked: revokedAt(one.certificate, revoked),
  }));
}

/** Who is revoked by the list in the CA's directory, by name. Throws Failure E_CERTIFICATE when it cannot be read. */
export function listRevocations(dir: string): ShownRevocation[] {
  const file = revocationsPath(path.join(dir, "ca.pem"));
  return [...readRevocations(file)]
    .filter(([agent]) => !isCertificateKey(agent))
    .map(([agent, atMs]) => ({ file, agent, revoked: isoSeconds(atMs) }))
    .sort((a, b) => (a.agent < b.agent ? -1 : 1));
}

export function revocationsText(revocations: readonly ShownRevocation[]): string {
  const [first] = revocations;
  if (first === undefined) return "";
  const width = Math.max(...revocations.map(({ agent }) => agent.length));
  const rows = revocations.map(({ agent, revoked }) => `  ${agent.padEnd(width)} certificates made until ${revoked}`);
  return `${[`${printable(first.file)}: revoked`, ...rows].join("\n")}\n`;
}

/** The blocks of text that people read. */
export function showText(shown: Shown, nowMs: number): string {
  const names = [
    ...shown.dnsNames.map((name) => `DNS ${printable(name)}`),
    ...shown.ipAddresses.map((ip) => `IP ${ip}`),
  ];
  const usages = [
    ...(shown.ca ? ["CA"] : []),
    ...(shown.keyUsages ?? []),
    ...(shown.extendedKeyUsages ?? (shown.ca ? [] : ["any role"])),
  ];
  const rows: [string, string][] = [
    ["subject", shown.subject],
    ["issuer", shown.issuer],
    ["names", names.length === 0 ? "none" : names.join(", ")],
    ["usages", usages.join(", ")],
    ["valid", `${shown.notBefore} to ${shown.notAfter}, ${leftText(shown, nowMs)}`],
    ["serial", shown.serial],
    ["SHA-256", shown.fingerprint],
    ["chain", chainText(shown)],
    ...(shown.revoked === null ? [] : [["revoked", `REVOKED at ${shown.revoked}`] as [string, string]]),
  ];
  const title = `${printable(shown.file)}${shown.number > 1 ? ` (certificate ${shown.number})` : ""}`;
  return [title, ...rows.map(([label, value]) => `  ${label.padEnd(8)} ${value}`), ""].join("\n");
}

function describe(
  filePath: string,
  one: FileCertificate,
  index: number,
  all: readonly FileCertificate[],
  cas: readonly FileCertificate[] | undefined,
  nowMs: number,
): Omit<Shown, "revoked"> {
  const { certificate } = one;
  const problem = cas === undefined ? undefined : chainProblem(one, all, cas, nowMs);
  return {
    file: filePath,
    number: index + 1,
    subject: nameText(certificate.subject),
    issuer: nameText(certificate.issuer),
    serial: certificate.serial,
    dnsNames: certificate.dnsNames,
    ipAddresses: certificate.ipAddresses,
    ca: certificate.ca === true,
    keyUsages: certificate.keyUsages ?? null,
    extendedKeyUsages: certificate.extendedKeyUsages?.map(usageName) ?? null,
    notBefore: isoSeconds(certificate.notBeforeMs),
    notAfter: isoSeconds(certificate.notAfterMs),
    validity: validityState(certificate, nowMs),
    daysLeft: Math.floor((certificate.notAfterMs - nowMs) / DAY_MS),
    fingerprint: certificate.fingerprint,
    chainsToCa: cas === undefined ? null : problem === undefined,
    problem: problem ?? null,
  };
}

/** Of what may be an agent's: of servers and CAs nobody can be revoked. */
function revokedAt(certificate: Certificate, revoked: RevokedAgents): string | null {
  const [name = "", ...more] = commonNames(certificate);
  if (certificate.ca === true || more.length > 0 || usageProblem(certificate, "agent") !== undefined) return null;
  const atMs = revoked.get(name);
  const namedMs = revoked.get(certificateKey(certificate.fingerprint));
  const revokedMs = atMs !== undefined && isRevoked(certificate, atMs) ? atMs : namedMs;
  return revokedMs === undefined ? null : isoSeconds(revokedMs);
}

function chainProblem(
  one: FileCertificate,
  others: readonly FileCertificate[],
  cas: readonly FileCertificate[],
  nowMs: number,
): string | undefined {
  const unfit = cas.map(({ certificate }) => authorityProblem(certificate)).find((problem) => problem !== undefined);
  if (unfit !== undefined) return `ca.pem cannot be used as a CA: ${unfit}`;
  return findChain(one, others, cas, nowMs).problem;
}

function leftText(shown: Shown, nowMs: number): string {
  switch (shown.validity) {
    case "expired":
      return `EXPIRED ${-shown.daysLeft - 1} days ago`;
    case "not-yet-valid":
      return `NOT VALID YET, now is ${isoSeconds(nowMs)}`;
    default:
      return `${shown.daysLeft} days left`;
  }
}

function chainText(shown: Shown): string {
  if (shown.chainsToCa === null) return "no ca.pem to check it against";
  return shown.chainsToCa ? "issued by the CA of ca.pem" : `NOT of the CA of ca.pem: ${shown.problem ?? ""}`;
}

function listDirectory(dir: string): string[] {
  try {
    return fs.readdirSync(dir);
  } catch (error) {
    throw toReadFailure(dir, error);
  }
}

function toReadFailure(dir: string, error: unknown): Failure {
  const code = errnoName(error);
  if (code === undefined) return toFailure(error);
  return new Failure("E_CERTIFICATE", `${printable(dir)} cannot be read: ${code}`, {
    hint: "Check the path given with --dir.",
    cause: error,
  });
}
