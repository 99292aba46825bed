/** Opens a CA: its certificate and its key, checked to belong together and to be fit for issuing. */
import fs from "node:fs";
import path from "node:path";
import { type Certificate, nameText } from "./certificate.ts";
import { authorityProblem, publicKeyOf } from "./chain.ts";
import { type FileKey, fileFailure, readCertificates, readPrivateKey } from "./pem-file.ts";
import { printable } from "./printable.ts";
import { validityProblem } from "./purpose.ts";
import type { Authority } from "./issue.ts";
import { importSigningKey } from "./signing-key.ts";

export interface OpenAuthority extends Authority {
  /** When the CA ends, wall-clock milliseconds since 1970 UTC: nothing it issues may outlive it. */
  readonly notAfterMs: number;
}

/** The CA in a directory of `pki`. Throws Failure E_CERTIFICATE when there is none, or not one that can issue at `nowMs`. */
export async function openAuthority(dir: string, nowMs: number): Promise<OpenAuthority> {
  const certPath = path.join(dir, "ca.pem");
  const keyPath = path.join(dir, "ca-key.pem");
  if (!fs.existsSync(certPath)) {
    throw fileFailure(
      certPath,
      "does not exist: there is no CA here",
      `Run nbackup-server pki init --dir ${printable(dir)} first.`,
    );
  }
  if (!fs.existsSync(keyPath)) {
    throw fileFailure(
      keyPath,
      "does not exist, and without the CA's key nothing can be issued",
      "Bring the CA's key back from where it is kept, or give the directory that has it.",
    );
  }
  return openAuthorityFiles(certPath, keyPath, nowMs);
}

/** The CA of these files, PEM; others may stand beside its certificate. Throws Failure E_CERTIFICATE as above. */
export async function openAuthorityFiles(certPath: string, keyPath: string, nowMs: number): Promise<OpenAuthority> {
  const { certificate, key } = checkAuthorityFiles(certPath, keyPath, nowMs);
  return {
    certDer: certificate.der,
    key: await importSigningKey(key.key, keyPath),
    notAfterMs: certificate.notAfterMs,
  };
}

/** Whether they could be opened; the key's mode is the caller's to judge. Throws the same. */
export function checkAuthorityFiles(
  certPath: string,
  keyPath: string,
  nowMs: number,
): { readonly certificate: Certificate; readonly key: FileKey } {
  const key = readPrivateKey(keyPath);
  // During a change of CAs ca.pem holds the old one too; the key says which is ours.
  const own = readCertificates(certPath).find(
    (one) => publicKeyOf(one) !== undefined && one.x509.checkPrivateKey(key.key),
  );
  if (own === undefined)
    throw fileFailure(keyPath, `the private key does not belong to any certificate in ${printable(certPath)}`);
  const problem = authorityProblem(own.certificate) ?? validityProblem(own.certificate, nowMs);
  if (problem !== undefined) throw fileFailure(certPath, `${nameText(own.certificate.subject)}: ${problem}`);
  return { certificate: own.certificate, key };
}
