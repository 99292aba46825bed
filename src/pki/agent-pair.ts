/**
 * The agent's certificate and key on its disk, as `tls` of its configuration names them, when they are renewed. They keep their paths,
 * owners and modes, whatever they are called: two files in one directory, in two, or one file for both. pair-store.ts makes
 * them change together; the key's directory is where the new ones are made and proved. Files behind symbolic links belong to
 * somebody else, who would not know of a change: they are left alone.
 */
import fs from "node:fs";
import path from "node:path";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { type Identity, loadIdentity } from "./identity.ts";
import { type Elsewhere, finishInterrupted, type NewFile, writeTogether } from "./pair-store.ts";
import { readCertificates } from "./pem-file.ts";
import { printable, quoted } from "./printable.ts";
import { isoSeconds } from "./purpose.ts";

export interface AgentPairFiles {
  readonly caPath: string;
  readonly certPath: string;
  readonly keyPath: string;
}

interface Places {
  /** Of the key. */
  readonly dir: string;
  /** The names of certificate and key where the pair is made. */
  readonly certName: string;
  readonly keyName: string;
  readonly pair: string;
  readonly elsewhere: Elsewhere;
}

/** Completes a renewal that a crash cut short between the two files; true when there was one. Throws Failure E_WRITE. */
export function finishRenewal({ certPath, keyPath }: AgentPairFiles): boolean {
  const { dir, pair, elsewhere } = placesOf(certPath, keyPath);
  return fs.existsSync(dir) && finishInterrupted(dir, pair, elsewhere);
}

/** Throws Failure E_RENEWAL when a new pair could not be put in its place. */
export function checkReplaceable({ certPath, keyPath }: AgentPairFiles): void {
  for (const filePath of new Set([certPath, keyPath])) {
    const found = fs.lstatSync(filePath, { throwIfNoEntry: false });
    if (found?.isSymbolicLink() === true) {
      throw new Failure(
        "E_RENEWAL",
        `${printable(filePath)} is a symbolic link: another program keeps the file behind it`,
        {
          hint: "Let that program renew it, with tls.renew: false here; or name the file itself under tls.",
        },
      );
    }
  }
  for (const dir of new Set([path.dirname(keyPath), path.dirname(certPath)])) {
    try {
      fs.accessSync(dir, fs.constants.W_OK | fs.constants.X_OK);
    } catch (error) {
      throw unwritable(dir, error);
    }
  }
}

/**
 * Puts a new certificate and its key in the place of the old ones, after the new ones were loaded as a start would load them: key
 * and certificate belong together, lead to a CA of `caPath`, are valid now and for an agent; the name is the old one's,
 * and the end is later. Returns what is in use from now on. Throws Failure E_RENEWAL, and then nothing has changed; E_WRITE when the
 * disk failed meanwhile, and then the next start finds the old pair or completes the new one.
 */
export function installRenewed(
  files: AgentPairFiles,
  renewed: { readonly certPem: string; readonly keyPem: string },
  old: Pick<Identity, "commonName" | "notAfterMs">,
  nowMs: number,
  random: Random,
): Identity {
  const { caPath, certPath, keyPath } = files;
  const { dir, certName, keyName, pair, elsewhere } = placesOf(certPath, keyPath);
  const load = (cert: string, key: string): Identity =>
    loadIdentity({ caPath, certPath: cert, keyPath: key, role: "agent", nowMs });
  const check = (staging: string): void => {
    try {
      prove(load(path.join(staging, certName), path.join(staging, keyName)), old);
    } catch (error) {
      throw unusable(toFailure(error), staging);
    }
  };
  const newFiles = contents(files, renewed, certName, keyName);
  writeTogether({ dir, pair, files: newFiles, force: true, elsewhere, check }, random);
  return load(certPath, keyPath);
}

function prove(identity: Identity, old: Pick<Identity, "commonName" | "notAfterMs">): void {
  if (identity.commonName !== old.commonName) {
    throw new Failure("E_RENEWAL", `it is for ${quoted(identity.commonName)}, expected ${quoted(old.commonName)}`);
  }
  if (identity.notAfterMs <= old.notAfterMs) {
    throw new Failure("E_RENEWAL", `it ends at ${isoSeconds(identity.notAfterMs)}, no later than the old one`);
  }
}

/** The files by their names at the place of making. Intermediate certificates behind the old one stay behind the new one. */
function contents(
  { certPath, keyPath }: AgentPairFiles,
  { certPem, keyPem }: { readonly certPem: string; readonly keyPem: string },
  certName: string,
  keyName: string,
): NewFile[] {
  const [, ...intermediates] = readCertificates(certPath);
  const certificates = [certPem.trimEnd(), ...intermediates.map(({ pem }) => pem.trimEnd())].join("\n");
  const key = `${keyPem.trimEnd()}\n`;
  const mode = (filePath: string): number => fs.statSync(filePath).mode & 0o7777;
  if (certName === keyName) return [{ name: keyName, content: `${certificates}\n${key}`, mode: mode(keyPath) }];
  return [
    { name: keyName, content: key, mode: mode(keyPath) },
    { name: certName, content: `${certificates}\n`, mode: mode(certPath) },
  ];
}

function placesOf(certPath: string, keyPath: string): Places {
  const [dir, keyName] = [path.dirname(keyPath), path.basename(keyPath)];
  // The name that the pki commands give to NAME.pem and NAME-key.pem: they and the agent finish each other's work.
  const pair = path.basename(certPath).replace(/\.pem$/, "");
  const base = path.basename(certPath);
  if (path.dirname(certPath) === dir) return { dir, certName: base, keyName, pair, elsewhere: new Map() };
  const certName = `${base}.certificate`;
  return { dir, certName, keyName, pair, elsewhere: new Map([[certName, certPath]]) };
}

function unusable(failure: Failure, staging: string): Failure {
  const text = failure.message.replaceAll(`${staging}/`, "");
  return new Failure("E_RENEWAL", `the new certificate cannot be used here: ${text}`, {
    hint: "If the server's CA was changed bring its ca.pem here; else check this machine's clock. The old certificate stays.",
    cause: failure,
  });
}

function unwritable(dir: string, error: unknown): Failure {
  return new Failure("E_RENEWAL", `${printable(dir)} cannot be written: ${errnoName(error) ?? String(error)}`, {
    hint: "Let the service write the directory of its certificate (ReadWritePaths= of its unit), or renew by other means and set tls.renew: false.",
    cause: error,
  });
}
