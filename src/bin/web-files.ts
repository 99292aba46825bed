/** The files that the page needs beside its own: the password's hash and the certificate with its key. Read whole, at the start and at a reload. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { errnoName, Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { WebUiConfig } from "#config/types.ts";

const FILE_BYTES_MAX = 65_536;

export interface PageTls {
  readonly cert: string;
  readonly key: string;
  readonly notAfterMs: number;
  readonly hostNames: readonly string[];
}

export interface PageMaterial {
  readonly tls: PageTls | undefined;
  /** Undefined: no password is asked for. */
  readonly passwordHash: string | undefined;
}

/** All files at once, so that one that is wrong changes nothing. Throws Failure E_WEB. */
export function readMaterial(webUi: WebUiConfig, log: Logger): PageMaterial {
  return { tls: pageTls(webUi), passwordHash: passwordHash(webUi, log) };
}

function passwordHash({ passwordFile }: WebUiConfig, log: Logger): string | undefined {
  if (passwordFile === undefined) return undefined;
  const hash = readText("password_file", passwordFile).trim();
  if (!/^\$argon2id\$[!-~]{20,500}$/.test(hash)) {
    throw new Failure("E_WEB", `web_ui.password_file ${passwordFile} does not hold an argon2id hash`, {
      hint: "Make the file with nbackup-server web-password.",
    });
  }
  if ((statSync(passwordFile).mode & 0o077) !== 0)
    log.warn("the password file can be read by others", { passwordFile });
  return hash;
}

/** Undefined: plain HTTP. */
function pageTls({ tlsCertFile, tlsKeyFile }: WebUiConfig): PageTls | undefined {
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  const [cert, key] = [readText("tls_cert", tlsCertFile), readText("tls_key", tlsKeyFile)];
  const parsed = parse(() => new X509Certificate(cert), `tls_cert ${tlsCertFile} holds no certificate`);
  const privateKey = parse(() => createPrivateKey(key), `tls_key ${tlsKeyFile} holds no private key`);
  if (!parsed.checkPrivateKey(privateKey)) {
    throw new Failure("E_WEB", `web_ui.tls_key ${tlsKeyFile} is not the key of ${tlsCertFile}`);
  }
  const names = (parsed.subjectAltName ?? "").split(",").flatMap((name) => /^\s*DNS:(\S+)$/.exec(name)?.[1] ?? []);
  return { cert, key, notAfterMs: Date.parse(parsed.validTo), hostNames: names };
}

function parse<T>(work: () => T, what: string): T {
  try {
    return work();
  } catch (error) {
    throw pageFailure(`web_ui.${what}`, error);
  }
}

/** Failure E_WEB. */
export function pageFailure(message: string, cause: unknown): Failure {
  return new Failure("E_WEB", message, { cause });
}

/** By which a browser may ask, beside addresses and localhost. */
export function hostNamesOf({ hostNames, listen }: WebUiConfig, tls: PageTls | undefined): readonly string[] {
  return [...hostNames, ...(tls?.hostNames ?? []), hostname(), listen.host];
}

function readText(key: string, file: string): string {
  try {
    if (statSync(file).size > FILE_BYTES_MAX) throw new Failure("E_WEB", `web_ui.${key} ${file} is too long`);
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw pageFailure(`web_ui.${key} ${file} cannot be read: ${errnoName(error) ?? String(error)}`, error);
  }
}
