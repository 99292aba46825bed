/**
 * The CA's private key, ready to sign. nbackup makes P-256 keys; a CA made with openssl may have others, and must not
 * have to be replaced for it.
 */
import type { KeyObject } from "node:crypto";
import { Failure } from "#base/errors.ts";

export interface SigningKey {
  readonly key: CryptoKey;
  readonly algorithm: { readonly name: string; readonly hash: string };
}

/** Curve names of openssl → of WebCrypto. The hash is as long as the curve is strong. */
const CURVES: Record<string, { readonly namedCurve: string; readonly hash: string }> = {
  prime256v1: { namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { namedCurve: "P-384", hash: "SHA-384" },
};

/** Imports a private key; E_CERTIFICATE when it is of a kind that nbackup does not sign with. `file` is for the message. */
export async function importSigningKey(privateKey: KeyObject, file: string): Promise<SigningKey> {
  const algorithm = algorithmOf(privateKey);
  if (algorithm === undefined) {
    throw new Failure("E_CERTIFICATE", `${file}: a CA key of type ${describe(privateKey)} cannot sign here`, {
      hint: "Use a CA with a P-256, P-384 or RSA key, or make one with nbackup-server pki init.",
    });
  }
  const der = privateKey.export({ type: "pkcs8", format: "der" });
  const key = await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
  return { key, algorithm };
}

type ImportAlgorithm =
  { name: "ECDSA"; namedCurve: string; hash: string } | { name: "RSASSA-PKCS1-v1_5"; hash: string };

function algorithmOf(key: KeyObject): ImportAlgorithm | undefined {
  if (key.asymmetricKeyType === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  if (key.asymmetricKeyType !== "ec") return undefined;
  const curve = CURVES[key.asymmetricKeyDetails?.namedCurve ?? ""];
  return curve === undefined ? undefined : { name: "ECDSA", ...curve };
}

function describe(key: KeyObject): string {
  return key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyType ?? "unknown";
}
