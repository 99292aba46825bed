/**
 * The CA file of an agent when the server tells of a new CA: what a CA in it has vouched for is added, and nothing is ever taken out. The
 * file is the old one or the new one, whatever happens; what else stands in it stays as it is.
 */
import fs from "node:fs";
import { Failure } from "#base/errors.ts";
import type { AgentPairFiles } from "./agent-pair.ts";
import { loadIdentity } from "./identity.ts";
import { replaceFile } from "./pair-store.ts";
import { type FileCertificate, readCertificates } from "./pem-file.ts";
import { printable } from "./printable.ts";
import { isKnown, type Succession, vouchedSuccessors } from "./succession.ts";

/** More is a bundle, or somebody who has a CA's key and too much time. */
const CAS_MAX = 200;

/**
 * Adds the successors that the file does not hold, and returns them. Throws Failure E_RENEWAL: none of its CAs has vouched for the newest of
 * those that are told, or the file is not ours to write; E_CERTIFICATE, E_WRITE. The file is unchanged then.
 */
export function trustSuccessors(
  files: AgentPairFiles,
  successions: readonly Succession[],
  nowMs: number,
): readonly FileCertificate[] {
  const { caPath } = files;
  const trusted = readCertificates(caPath);
  const newest = successions.at(-1);
  const added = vouchedSuccessors(successions, trusted, nowMs);
  if (added.length > 0) add(files, added, trusted.length, nowMs);
  // The newest one alone counts: who has that needs none of those before it. The rest is told the next time.
  else if (newest !== undefined && !isKnown(newest, trusted)) throw notVouched(caPath);
  return added;
}

function add(files: AgentPairFiles, added: readonly FileCertificate[], before: number, nowMs: number): void {
  const { caPath } = files;
  if (fs.lstatSync(caPath).isSymbolicLink()) {
    throw new Failure(
      "E_RENEWAL",
      `${printable(caPath)} is a symbolic link: another program keeps the file behind it`,
      {
        hint: "Let that program bring the new ca.pem, with tls.renew: false here; or name the file itself under tls.",
      },
    );
  }
  if (before + added.length > CAS_MAX) {
    throw new Failure("E_RENEWAL", `${printable(caPath)} holds ${before} CAs, and no more than ${CAS_MAX} are kept`);
  }
  const text = fs.readFileSync(caPath, "utf8");
  const lines = text.endsWith("\n") ? text : `${text}\n`;
  // As the next start would load it, with the pair that is in use.
  replaceFile(caPath, lines + added.map(({ pem }) => pem).join(""), (made) => {
    loadIdentity({ ...files, caPath: made, role: "agent", nowMs });
  });
}

function notVouched(caPath: string): Failure {
  return new Failure("E_RENEWAL", `the server tells of a CA for which none in ${printable(caPath)} has vouched`, {
    hint: "If you have renewed the CA, bring its ca.pem here by hand and reload; else ask who has the server.",
  });
}
