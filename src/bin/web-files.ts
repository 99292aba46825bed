/** The files that the page needs beside its own: the password's hash and the certificate with its key. Read whole, at the start and at a reload. */
import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { errnoName, Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { WebUiConfig } from "#config/types.ts";
import type { CheckPassword } from "#web/passwords.ts";

const FILE_BYTES_MAX = 65_536;

export interface PageTls {
  readonly cert: string;
  readonly key: string;
  readonly notAfterMs: number;
  readonly hostNames: readonly string[];
}

/** Undefined: no password is asked for. Throws Failure E_WEB. */
export function passwordCheck({ passwordFile }: WebUiConfig, log: Logger): CheckPassword | undefined {
  if (passwordFile === undefined) return undefined;
  const hash = readText("password_file", passwordFile).trim();
  if (!/^\$argon2id\$[!-~]{20,500}$/.test(hash)) {
    throw new Failure("E_WEB", `web_ui.password_file ${passwordFile} does not hold an argon2id hash`, {
      hint: "Make the file with nbackup-server web-password.",
    });
  }
  if ((statSync(passwordFile).mode & 0o077) !== 0)
    log.warn("the password file can be read by others", { passwordFile });
  return (password) => Bun.password.verify(password, hash);
}

/** Undefined: plain HTTP. Throws Failure E_WEB. */
export function pageTls({ tlsCertFile, tlsKeyFile }: WebUiConfig): PageTls | undefined {
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  const [cert, key] = [readText("tls_cert", tlsCertFile), readText("tls_key", tlsKeyFile)];
  try {
    const parsed = new X509Certificate(cert);
    const names = (parsed.subjectAltName ?? "").split(",").flatMap((name) => /^\s*DNS:(\S+)$/.exec(name)?.[1] ?? []);
    return { cert, key, notAfterMs: Date.parse(parsed.validTo), hostNames: names };
  } catch (error) {
    throw pageFailure(`web_ui.tls_cert ${tlsCertFile} holds no certificate`, error);
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
