/**
 * `pki renew`: a new certificate with a new key for what a certificate in the CA's directory is for. The files change together
 * (pair-store.ts), so that the old pair is in use until the new one is there.
 */
import fs from "node:fs";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import { commonNames } from "#pki/certificate.ts";
import { type FileCertificate, readCertificates } from "#pki/pem-file.ts";
import { printable, quoted } from "#pki/printable.ts";
import { usageProblem } from "#pki/purpose.ts";
import type { MakeOptions } from "./command-line.ts";
import { type AgentContext, type Made, makeAgent, makeServer, renewAuthority } from "./make.ts";

/** `name`: an agent's, or `server`, or `ca`. Rejects with Failure E_CERTIFICATE, E_NAME, E_WRITE. */
export async function renew(name: string, options: MakeOptions, context: AgentContext): Promise<Made> {
  const forced = { ...options, force: true };
  if (name === "ca") return renewAuthority(forced, context);
  const filePath = path.join(options.dir, `${name}.pem`);
  const { certificate } = oldOne(filePath, name);
  const names = commonNames(certificate);
  if (name === "server") {
    const hosts = [...new Set([...certificate.dnsNames, ...certificate.ipAddresses])];
    // The CN first, where it is one of them: it stays the CN.
    const [own = ""] = names;
    const ordered = hosts.includes(own) ? [own, ...hosts.filter((host) => host !== own)] : hosts;
    return makeServer((ordered.length === 0 ? names : ordered).join(","), forced, context);
  }
  if (names.length === 1 && names[0] === name) return makeAgent(name, forced, context);
  throw new Failure(
    "E_CERTIFICATE",
    `${printable(filePath)} is for ${names.map(quoted).join(", ")}, not for ${quoted(name)}`,
    {
      hint: "Files of agents are called after their certificate's CN; make this one with nbackup-server pki agent NAME.",
    },
  );
}

function oldOne(filePath: string, name: string): FileCertificate {
  if (!fs.existsSync(filePath)) {
    throw new Failure("E_CERTIFICATE", `${printable(filePath)} does not exist: there is nothing to renew here`, {
      hint: "What an agent enrolled or renewed by itself lies on its machine only. Make a new one with nbackup-server pki agent NAME.",
    });
  }
  const [own] = readCertificates(filePath);
  const problem =
    own === undefined ? "holds no certificate" : usageProblem(own.certificate, name === "server" ? "server" : "agent");
  if (own !== undefined && problem === undefined) return own;
  throw new Failure("E_CERTIFICATE", `${printable(filePath)}: ${problem ?? ""}`);
}
