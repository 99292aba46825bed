/**
 * `pki revoke`: writes the revocation beside the CA, and tells the server of this machine when it goes by that list. The list comes
 * first: whatever becomes of the rest, the server's next start or reload knows.
 */
import fs from "node:fs";
import path from "node:path";
import { Failure, toFailure } from "#base/errors.ts";
import { isName, NAME_RULE } from "#base/names.ts";
import { type FileCertificate, readCertificates } from "#pki/pem-file.ts";
import { printable, quoted } from "#pki/printable.ts";
import { isoSeconds } from "#pki/purpose.ts";
import {
  appendRevocation,
  readRevocations,
  type Revocation,
  revocationsPath,
  revocationTime,
} from "#pki/revocations.ts";
import type { RevokeCommand } from "./command-line.ts";

/** The server that a configuration of this machine describes. */
export interface PkiServer {
  /** Where its tls.ca_cert lies: the list of revocations beside that is the one that it reads. */
  readonly caDir: string;
  /** Since when certificates of the agent are revoked, by what the server was told beside the list; undefined: none is. */
  revokedMs(agent: string): Promise<number | undefined>;
  /** Certificates of the agent that the server knows and that begin after the time: SHA-256 of each, hex. */
  beginningAfter(agent: string, atMs: number): Promise<readonly string[]>;
  /** Resolves with what that ended. Rejects with Failure E_NOT_RUNNING and what the server answers. */
  revoke(revocation: Revocation): Promise<RevokedNow>;
}

export interface RevokedNow {
  readonly sessions: number;
  readonly connections: number;
  /** The server has heard of a certificate under this name. */
  readonly known: boolean;
}

/** The server's side of a revocation. */
export type ServerTold =
  | ({ readonly server: "told" } & RevokedNow)
  /** It counts from its next start. */
  | { readonly server: "not-running" }
  /** No server of this machine reads the list. */
  | { readonly server: "none" };

export interface Revoked {
  readonly agent: string;
  readonly atMs: number;
  readonly file: string;
  readonly told: ServerTold;
}

export interface RevokeContext {
  readonly nowMs: number;
  /** Of a configuration file; of the default one unless named, undefined when that is not there. Throws what is wrong with it. */
  server(configFile: string | undefined): PkiServer | undefined;
  sleep(ms: number): Promise<void>;
  notice(text: string): void;
}

const SECOND_MS = 1000;

/** Rejects with Failure E_NAME, E_USAGE, E_CERTIFICATE, E_WRITE, and with the server's when it could not do it. */
export async function revoke({ agent, dir, configFile }: RevokeCommand, context: RevokeContext): Promise<Revoked> {
  if (!isName(agent)) throw new Failure("E_NAME", `${quoted(agent)} is not a name: ${NAME_RULE}`);
  const server = serverFor(dir, configFile, context);
  const caDir = dir ?? server?.caDir;
  if (caDir === undefined) {
    throw new Failure("E_USAGE", "there is no server configuration here, and no --dir", {
      hint: "Name the directory of the CA with --dir, or the server's configuration with --config.",
    });
  }
  if (!fs.existsSync(path.join(caDir, "ca.pem")) && dir !== undefined) {
    throw new Failure("E_CERTIFICATE", `${printable(caDir)} holds no ca.pem`, {
      hint: "Name the directory of the CA whose certificates are to be revoked.",
    });
  }
  const reads = server !== undefined && sameDirectory(server.caDir, caDir);
  const file = revocationsPath(path.join(caDir, "ca.pem"));
  const lastMs = await revokedSince(caDir, agent, server);
  const atMs = revocationTime(context.nowMs, lastMs);
  const certificates = await beginningAfter(caDir, agent, atMs, reads ? server : undefined);
  const revocation = { agent, atMs, certificates };
  appendRevocation(file, revocation);
  const told = reads ? await tell(server, revocation) : ({ server: "none" } as const);
  if (told.server === "told" ? !told.known : !fs.existsSync(path.join(caDir, `${agent}.pem`))) {
    context.notice(`no certificate of ${agent} is known here: look whether the name is right`);
  }
  // What is made from now on begins in the next second: a command that follows need not know.
  await context.sleep(Math.max(0, revocation.atMs + SECOND_MS - context.nowMs));
  return { ...revocation, file, told };
}

/** With a directory of the CA nothing that is wrong with a configuration may keep somebody from being locked out. */
function serverFor(
  dir: string | undefined,
  configFile: string | undefined,
  context: RevokeContext,
): PkiServer | undefined {
  try {
    return context.server(configFile);
  } catch (error) {
    if (dir === undefined || configFile !== undefined) throw error;
    context.notice(`the server of this machine is not told: ${toFailure(error).message}`);
    return undefined;
  }
}

/** By the list in the CA's directory, and by what its server was told beside it. */
export async function revokedSince(
  dir: string,
  agent: string,
  server: PkiServer | undefined,
): Promise<number | undefined> {
  const listed = readRevocations(revocationsPath(path.join(dir, "ca.pem"))).get(agent);
  const told = server !== undefined && sameDirectory(server.caDir, dir) ? await server.revokedMs(agent) : undefined;
  return listed === undefined || told === undefined ? (listed ?? told) : Math.max(listed, told);
}

/** Made already, and beginning later: a clock was ahead. Once they began nothing else would tell them from those made after the revocation. */
async function beginningAfter(
  caDir: string,
  agent: string,
  atMs: number,
  server: PkiServer | undefined,
): Promise<readonly string[]> {
  const here = certificatesIn(path.join(caDir, `${agent}.pem`)).filter(({ certificate }) => {
    return certificate.notBeforeMs > atMs && certificate.ca !== true;
  });
  const known = (await server?.beginningAfter(agent, atMs)) ?? [];
  return [...new Set([...here.map(({ certificate }) => certificate.fingerprint), ...known])];
}

/** A file that is damaged must not keep somebody from being locked out. */
function certificatesIn(file: string): readonly FileCertificate[] {
  try {
    return fs.existsSync(file) ? readCertificates(file) : [];
  } catch {
    return [];
  }
}

async function tell(server: PkiServer, revocation: Revocation): Promise<ServerTold> {
  try {
    return { server: "told", ...(await server.revoke(revocation)) };
  } catch (error) {
    const failure = toFailure(error);
    if (failure.code === "E_NOT_RUNNING") return { server: "not-running" };
    throw notTaken(failure);
  }
}

function notTaken(failure: Failure): Failure {
  const text = `the revocation is in the list, but the running server did not take it: ${failure.message}`;
  const hint = `Reload it (SIGHUP), which reads the list. ${failure.hint}`;
  return new Failure(failure.code, text, { hint, cause: failure });
}

/** For people. */
export function revokedText({ agent, atMs, file, told }: Revoked): string {
  const rows: readonly (readonly [string, string])[] = [
    ["agent", agent],
    ["revoked", `every certificate made until ${isoSeconds(atMs)}`],
    ["list", printable(file)],
    ["server", serverText(told)],
  ];
  return rows.map(([label, text]) => `${label.padEnd(9)}${text}\n`).join("");
}

/** Field names are a promise. */
export function revokedJson({ agent, atMs, file, told }: Revoked): string {
  const { server } = told;
  const [sessions, connections] = server === "told" ? [told.sessions, told.connections] : [null, null];
  return `${JSON.stringify({ agent, revoked: isoSeconds(atMs), file, server, sessions, connections })}\n`;
}

function serverText(told: ServerTold): string {
  const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;
  switch (told.server) {
    case "told":
      return `${count(told.sessions, "session")} ended, ${count(told.connections, "connection")} closed`;
    case "not-running":
      return "does not run: its next start reads the list";
    case "none":
      return "none here reads this list: bring it beside the server's ca.pem, and reload the server";
  }
}

function sameDirectory(one: string, other: string): boolean {
  const real = (dir: string): string => (fs.existsSync(dir) ? fs.realpathSync(dir) : path.resolve(dir));
  return real(one) === real(other);
}
