/**
 * Quick certificates for everybody's tests: a CA, a server and agents, made in this process in a few milliseconds each
 * and written where the caller says. It goes past the commands of `pki` (their own tests cover them), so it also makes
 * what they refuse to: expired certificates, odd names.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import fs from "node:fs";
import { isIP } from "node:net";
import path from "node:path";
import type { Random } from "#base/random.ts";
import { type Authority, createAuthority, type Issued, issueAgent, issueServer, type Validity } from "#pki/issue.ts";
import { importSigningKey } from "#pki/signing-key.ts";

const DAY_MS = 86_400_000;

export interface DemoPkiOptions {
  /** Names of agents: NAME.pem and NAME-key.pem each. */
  readonly agents?: readonly string[];
  /** DNS names and IP addresses, the first one is the CN. `localhost`, `127.0.0.1`, `::1` unless told. */
  readonly serverHosts?: readonly string[];
  /** Of the server's and the agents' certificates; an hour ago until in 90 days unless told. The CA's is wider. */
  readonly validity?: Validity;
}

/** Absolute paths of a certificate and its key. */
export interface DemoPair {
  readonly certPath: string;
  readonly keyPath: string;
}

export interface DemoPki {
  readonly dir: string;
  readonly caPath: string;
  readonly caKeyPath: string;
  readonly server: DemoPair;
  /** The pair of an agent named in the options. */
  agent(name: string): DemoPair;
  /** Makes one more certificate of the same CA; the file is called as the agent unless told. */
  addAgent(name: string, validity?: Validity, fileName?: string): Promise<DemoPair>;
  addServer(fileName: string, hosts: readonly string[], validity?: Validity): Promise<DemoPair>;
}

/** Makes ca.pem, ca-key.pem, server.pem, server-key.pem, NAME.pem, NAME-key.pem in `dir`, which it creates. */
export async function makeDemoPki(dir: string, options: DemoPkiOptions = {}): Promise<DemoPki> {
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const usual = options.validity ?? validityAround(Date.now());
  const ca = await createAuthority(`demo CA ${serialText()}`, caValidity(usual), testRandom);
  const caPair = writePair(dir, "ca", ca);
  const authority: Authority = {
    certDer: new X509Certificate(ca.certPem).raw,
    key: await importSigningKey(createPrivateKey(ca.keyPem), caPair.keyPath),
  };
  const addServer = async (fileName: string, hosts: readonly string[], validity = usual): Promise<DemoPair> => {
    const names = { dns: hosts.filter((host) => isIP(host) === 0), ips: hosts.filter((host) => isIP(host) !== 0) };
    const issued = await issueServer(authority, hosts[0] ?? "localhost", names, validity, testRandom);
    return writePair(dir, fileName, issued);
  };
  const addAgent = async (name: string, validity = usual, fileName = name): Promise<DemoPair> =>
    writePair(dir, fileName, await issueAgent(authority, name, validity, testRandom));
  const server = await addServer("server", options.serverHosts ?? ["localhost", "127.0.0.1", "::1"]);
  for (const name of options.agents ?? []) await addAgent(name);
  return {
    dir,
    caPath: caPair.certPath,
    caKeyPath: caPair.keyPath,
    server,
    agent: (name) => pairPaths(dir, name),
    addAgent,
    addServer,
  };
}

/** Valid from an hour before `nowMs` until 90 days after. */
export function validityAround(nowMs: number): Validity {
  return { notBeforeMs: nowMs - 3_600_000, notAfterMs: nowMs + 90 * DAY_MS };
}

/** Ended an hour before `nowMs`. */
export function expiredBy(nowMs: number): Validity {
  return { notBeforeMs: nowMs - 30 * DAY_MS, notAfterMs: nowMs - 3_600_000 };
}

/** A CA that was valid before and after all it issues in tests, expired ones included. */
function caValidity(leaf: Validity): Validity {
  return { notBeforeMs: leaf.notBeforeMs - 365 * DAY_MS, notAfterMs: leaf.notAfterMs + 3650 * DAY_MS };
}

function pairPaths(dir: string, name: string): DemoPair {
  return { certPath: path.join(dir, `${name}.pem`), keyPath: path.join(dir, `${name}-key.pem`) };
}

function writePair(dir: string, name: string, issued: Issued): DemoPair {
  const pair = pairPaths(dir, name);
  fs.writeFileSync(pair.keyPath, `${issued.keyPem}\n`, { mode: 0o600 });
  fs.writeFileSync(pair.certPath, `${issued.certPem}\n`, { mode: 0o644 });
  return pair;
}

const testRandom: Random = {
  bytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  unit: () => Math.random(),
};

function serialText(): string {
  return Buffer.from(testRandom.bytes(4)).toString("hex");
}
