/**
 * Certificates made the way administrators make them, with openssl, and what nbackup says of them. For tests that need
 * openssl on the machine (test/e2e).
 */
import fs from "node:fs";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import { type Identity, loadIdentity } from "#pki/identity.ts";
import type { TlsSide } from "#test/support/tls-handshake.ts";

export const KEYS = {
  "RSA 1024": "-newkey rsa:1024",
  "RSA 2048": "-newkey rsa:2048",
  "RSA 4096": "-newkey rsa:4096",
  "RSA-PSS": "-newkey rsa-pss -pkeyopt rsa_keygen_bits:2048",
  "P-256": "-newkey ec -pkeyopt ec_paramgen_curve:P-256",
  "P-384": "-newkey ec -pkeyopt ec_paramgen_curve:P-384",
  "P-521": "-newkey ec -pkeyopt ec_paramgen_curve:P-521",
  secp256k1: "-newkey ec -pkeyopt ec_paramgen_curve:secp256k1",
  Ed25519: "-newkey ed25519",
  Ed448: "-newkey ed448",
} as const;

export type KeyKind = keyof typeof KEYS;

export interface Recipe {
  readonly subject?: string;
  readonly key?: KeyKind;
  /** Lines of the extension file; none makes a version 1 certificate. */
  readonly extensions?: readonly string[];
  /** `ca` unless told. */
  readonly ca?: string;
}

export interface OpensslBench {
  /** The path of a file of the directory. */
  at(name: string): string;
  text(name: string): string;
  /** Runs openssl with the words of `command` and then `more`; returns what it prints. */
  openssl(command: string, ...more: string[]): string;
  /** Whether openssl ends well. */
  accepts(command: string): boolean;
  /** The recipe of every tutorial: a self-signed CA, NAME.pem and NAME-key.pem. */
  makeCa(name: string, subject?: string, key?: KeyKind): void;
  /** The other half of the recipe: a request, signed by the CA. */
  makeLeaf(name: string, recipe?: Recipe): void;
  load(name: string, role: "server" | "agent", ca?: string): Identity;
  /** `accepted`, or the refusal's first line without the directory. */
  refusal(name: string, role: "server" | "agent", ca?: string): string;
  /** What TLS gets when nobody has looked at the files. */
  raw(name: string, ca?: string): TlsSide;
}

/** What TLS gets of a loaded identity. */
export function side(identity: Identity): TlsSide {
  return { ca: identity.caPem, cert: identity.certPem, key: identity.keyPem };
}

export function opensslBench(dir: string): OpensslBench {
  const at = (name: string): string => path.join(dir, name);
  const text = (name: string): string => fs.readFileSync(at(name), "utf8");
  const run = (command: string, more: readonly string[]): Bun.SyncSubprocess =>
    Bun.spawnSync(["openssl", ...command.split(" "), ...more], { cwd: dir });
  const openssl = (command: string, ...more: string[]): string => {
    const { exitCode, stdout, stderr } = run(command, more);
    if (exitCode !== 0) throw new Error(`openssl ${command}: ${String(stderr)}`);
    return String(stdout);
  };
  const load = (name: string, role: "server" | "agent", ca = "ca"): Identity =>
    loadIdentity({
      caPath: at(`${ca}.pem`),
      certPath: at(`${name}.pem`),
      keyPath: at(`${name}-key.pem`),
      role,
      nowMs: Date.now(),
    });
  return {
    at,
    text,
    openssl,
    load,
    accepts: (command) => run(command, []).exitCode === 0,
    makeCa: (name, subject = `/CN=${name}`, key = "P-256") => {
      openssl(`req -x509 ${KEYS[key]} -nodes -keyout ${name}-key.pem -out ${name}.pem -days 100 -subj`, subject);
    },
    makeLeaf: (name, { subject = "/CN=web-01", key = "P-256", extensions = [], ca = "ca" } = {}) => {
      openssl(`req ${KEYS[key]} -nodes -keyout ${name}-key.pem -out ${name}.csr -subj`, subject);
      fs.writeFileSync(at(`${name}.ext`), `${extensions.join("\n")}\n`);
      const signer = `-CA ${ca}.pem -CAkey ${ca}-key.pem -CAcreateserial -days 50`;
      openssl(`x509 -req -in ${name}.csr ${signer} -extfile ${name}.ext -out ${name}.pem`);
    },
    refusal: (name, role, ca) => {
      try {
        load(name, role, ca);
      } catch (error) {
        if (error instanceof Failure) return String(error).replaceAll(`${dir}/`, "");
        throw error;
      }
      return "accepted";
    },
    raw: (name, ca = "ca") => ({ ca: text(`${ca}.pem`), cert: text(`${name}.pem`), key: text(`${name}-key.pem`) }),
  };
}
