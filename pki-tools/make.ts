/** The commands that make certificates: `pki init`, `pki server`, `pki agent`. */
import path from "node:path";
import fs from "node:fs";
import { Failure, toFailure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { checkAgentName, refuseServerName } from "#pki/agent-names.ts";
import { readCertificates } from "#pki/pem-file.ts";
import { printable, quoted } from "#pki/printable.ts";
import { usageProblem } from "#pki/purpose.ts";
import { openAuthority, type OpenAuthority } from "#pki/authority.ts";
import type { MakeOptions } from "./command-line.ts";
import { parseHosts } from "./hosts.ts";
import { createAuthority, issueAgent, type Issued, issueServer, type Validity } from "#pki/issue.ts";
import { leafValidity, validityFrom } from "#pki/validity.ts";
import { ensureDirectory, finishInterrupted, type NewFile, refuseExisting, writeTogether } from "#pki/pair-store.ts";
import {
  canBeTold,
  readSuccessions,
  type Succession,
  SUCCESSIONS_FILE,
  successionsPath,
  successionsText,
  vouchFor,
} from "#pki/succession.ts";

/** What making a certificate needs from outside. */
export interface MakeContext {
  /** Wall clock, milliseconds since 1970 UTC. */
  readonly nowMs: number;
  readonly random: Random;
  /** Something the user should know beside the result. */
  notice(text: string): void;
}

/** And making an agent's. */
export interface AgentContext extends MakeContext {
  /** Since when certificates of an agent of the CA in `dir` are revoked, also by the server of this machine. */
  revokedMs(dir: string, agent: string): Promise<number | undefined>;
  sleep(ms: number): Promise<void>;
}

/** Absolute or relative as `--dir` was. */
export interface Made {
  readonly certPath: string;
  readonly keyPath: string;
}

/** Longer than this nobody waits for the beginning of a certificate. */
const BEGIN_WAIT_MAX_MS = 2_000;

/** Makes ca.pem and ca-key.pem. Throws Failure E_USAGE, E_WRITE. */
export async function makeAuthority(options: MakeOptions, context: MakeContext): Promise<Made> {
  ensureDirectory(options.dir);
  resume(options.dir, "ca", context);
  if (!options.force) refuseExisting(options.dir, fileNames("ca"));
  if (fs.existsSync(path.join(options.dir, "ca.pem"))) {
    context.notice("the CA is being replaced: certificates of the old one are of no use with the new one");
  }
  return store(options, "ca", await newAuthority(options, context), context);
}

function newAuthority(options: MakeOptions, { nowMs, random }: MakeContext): Promise<Issued> {
  // A name of its own: where an old and a new CA stand in one file, TLS libraries look the issuer up by name.
  const suffix = Buffer.from(random.bytes(4)).toString("hex");
  return createAuthority(`nbackup CA ${suffix}`, validityFrom(nowMs, options.days), random);
}

/** Makes server.pem and server-key.pem. Throws Failure E_USAGE, E_NAME, E_CERTIFICATE, E_WRITE. */
export async function makeServer(hostsText: string, options: MakeOptions, context: MakeContext): Promise<Made> {
  const hosts = parseHosts(hostsText);
  const authority = await open(options, "server", context);
  for (const name of hosts.dns) refuseAgentName(options.dir, name);
  const issued = await issueServer(
    authority,
    hosts.commonName,
    hosts,
    limitedValidity(options, authority, context),
    context.random,
  );
  return store(options, "server", issued, context);
}

/** Makes NAME.pem and NAME-key.pem. Throws Failure E_USAGE, E_NAME, E_CERTIFICATE, E_WRITE. */
export async function makeAgent(name: string, options: MakeOptions, context: AgentContext): Promise<Made> {
  checkAgentName(name);
  const authority = await open(options, name, context);
  refuseNameOfServer(options.dir, name);
  const revokedMs = await context.revokedMs(options.dir, name);
  const validity = limitedValidity(options, authority, context, revokedMs);
  await begun(name, validity, context);
  const issued = await issueAgent(authority, name, validity, context.random);
  return store(options, name, issued, context);
}

/**
 * Makes a new CA, of another name and key, and keeps the old ones that have not ended in ca.pem: certificates of either are good until
 * the last machine has the new one. Its key is the new one's: that is how one tells which of them issues. Throws Failure as above.
 */
export async function renewAuthority(options: MakeOptions, context: MakeContext): Promise<Made> {
  const authority = await open(options, "ca", context);
  const caPath = path.join(options.dir, "ca.pem");
  const kept = readCertificates(caPath).filter(({ certificate }) => certificate.notAfterMs >= context.nowMs);
  const issued = await newAuthority(options, context);
  const certPem = [issued.certPem, ...kept.map(({ pem }) => pem)].join("\n").trimEnd();
  // Now or never: with the last line of this the old key is gone.
  const succession = await vouchFor(authority, issued.certPem);
  const successions = [...successionsBefore(caPath, context), succession];
  const vouched = { name: SUCCESSIONS_FILE, content: successionsText(successions), mode: 0o644 };
  const made = store(options, "ca", { ...issued, certPem }, context, [vouched]);
  context.notice(
    canBeTold(succession)
      ? `reload the server: it brings the new CA to the agents that are connected, by ${SUCCESSIONS_FILE}; nothing but that makes them trust it. To the others bring ca.pem before anything is issued or renewed`
      : "the old CA's key is too long to vouch for the new one: bring ca.pem to every machine and reload there before anything is issued or renewed",
  );
  return made;
}

/** A list that is damaged must not keep a CA from being renewed. */
function successionsBefore(caPath: string, context: MakeContext): Succession[] {
  try {
    return readSuccessions(successionsPath(caPath));
  } catch (error) {
    context.notice(`${toFailure(error).message}; it is begun anew`);
    return [];
  }
}

/** Waits for the beginning of a certificate, a second at most: the agent was revoked just now. */
async function begun(agent: string, { notBeforeMs }: Validity, context: AgentContext): Promise<void> {
  const waitMs = notBeforeMs - context.nowMs;
  if (waitMs <= 0) return;
  if (waitMs > BEGIN_WAIT_MAX_MS) {
    throw new Failure("E_CERTIFICATE", `agent ${quoted(agent)} was revoked at a time that is yet to come`, {
      hint: "Check this machine's clock; if it was wrong at the revocation, correct that time in revoked.jsonl, and in revoked.json of the server's state_dir while it does not run.",
    });
  }
  await context.sleep(waitMs);
}

/** The CA to issue with, after making sure that the pair's place is free. */
async function open(options: MakeOptions, pair: string, context: MakeContext): Promise<OpenAuthority> {
  resume(options.dir, "ca", context);
  resume(options.dir, pair, context);
  if (!options.force) refuseExisting(options.dir, fileNames(pair));
  return openAuthority(options.dir, context.nowMs);
}

function resume(dir: string, pair: string, context: MakeContext): void {
  if (!finishInterrupted(dir, pair)) return;
  context.notice(`an earlier pki command was interrupted; its ${fileNames(pair).join(" and ")} are now in place`);
}

function store(
  options: MakeOptions,
  name: string,
  issued: Issued,
  context: MakeContext,
  beside: readonly NewFile[] = [],
): Made {
  const [certName, keyName] = fileNames(name);
  const files = [
    { name: keyName, content: `${issued.keyPem}\n`, mode: 0o600 },
    { name: certName, content: `${issued.certPem}\n`, mode: 0o644 },
    ...beside,
  ];
  writeTogether({ dir: options.dir, pair: name, files, force: options.force }, context.random);
  return { certPath: path.join(options.dir, certName), keyPath: path.join(options.dir, keyName) };
}

function fileNames(name: string): [cert: string, key: string] {
  return [`${name}.pem`, `${name}-key.pem`];
}

function limitedValidity(
  options: MakeOptions,
  authority: OpenAuthority,
  context: MakeContext,
  revokedMs?: number,
): Validity {
  const limited = leafValidity(context.nowMs, options.days, { caNotAfterMs: authority.notAfterMs, revokedMs });
  if (limited.notAfterMs < validityFrom(context.nowMs, options.days).notAfterMs) {
    context.notice("the certificate ends with its CA, earlier than asked for");
  }
  return limited;
}

function refuseNameOfServer(dir: string, name: string): void {
  const serverPath = path.join(dir, "server.pem");
  const server = fs.existsSync(serverPath) ? readCertificates(serverPath)[0]?.certificate : undefined;
  if (server !== undefined) refuseServerName(name, server, `by ${printable(serverPath)}`);
}

/** The same, when the agent was there first. */
function refuseAgentName(dir: string, host: string): void {
  const agentPath = path.join(dir, `${host}.pem`);
  if (host === "server" || host === "ca" || host.endsWith("-key") || !fs.existsSync(agentPath)) return;
  const [found] = readCertificates(agentPath);
  if (found === undefined || usageProblem(found.certificate, "agent") !== undefined) return;
  throw new Failure("E_NAME", `${quoted(host)} is the name of an agent, by ${printable(agentPath)}`, {
    hint: "Give the server another host name, or make that agent's certificate under another name.",
  });
}
