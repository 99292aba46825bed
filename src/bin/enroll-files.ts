/**
 * The files of an enrolment. What a crash may leave at each step is said there; the same command, run again with the same token, goes on
 * from it: the key is on the disk before anybody is asked to certify it, and stays beside its place until the server knows that all is done.
 */
import { createPrivateKey } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { errnoName, Failure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { secretHash } from "#pki/enroll-token.ts";
import { ensureDirectory, finishInterrupted, type NewFile, writeTogether } from "#pki/pair-store.ts";
import { newAgentKey } from "#pki/request.ts";

/** Names the group of files for pair-store.ts: of two enrolments at once the second is refused. */
const PAIR = "agent";
const STAGING_PREFIX = ".nbackup-enroll.";
/** As pair-store.ts calls what it is just writing. */
const HALF_WRITTEN = /^\.nbackup-pki\.[0-9a-f]{16}$/;

export const KEY_FILE = "agent-key.pem";
export const CERT_FILE = "agent.pem";
const CA_FILE = "ca.pem";
/** Where ca.pem is another's: the CA of a server on the same machine, for instance. */
const OTHER_CA_FILE = "agent-ca.pem";

export interface EnrollPlace {
  readonly dir: string;
  /** Without directory. */
  readonly configName: string;
  readonly force: boolean;
}

export class EnrollFiles {
  readonly #place: EnrollPlace;
  readonly #staging: string;

  constructor(place: EnrollPlace, secret: Uint8Array) {
    this.#place = place;
    // Of a hash of the token's: a key that was made for another token is not taken for ours.
    this.#staging = path.join(place.dir, `${STAGING_PREFIX}${secretHash(secret).slice(0, 16)}`);
  }

  /** Completes what a crash interrupted. Throws Failure E_WRITE, and E_USAGE when files are there that are not this enrolment's. */
  prepare(): void {
    const { dir, configName, force } = this.#place;
    ensureDirectory(dir);
    finishInterrupted(dir, PAIR);
    if (force || this.installed()) return;
    for (const name of [configName, KEY_FILE, CERT_FILE]) {
      if (fs.existsSync(path.join(dir, name))) throw existsFailure(path.join(dir, name));
    }
  }

  /** Key, certificate and configuration of this very enrolment are in their places. */
  installed(): boolean {
    const { dir, configName } = this.#place;
    const staged = readIfThere(path.join(this.#staging, KEY_FILE));
    if (staged === undefined) return false;
    const inPlace = readIfThere(path.join(dir, KEY_FILE));
    return (
      inPlace !== undefined &&
      sameKey(inPlace, staged) &&
      fs.existsSync(path.join(dir, CERT_FILE)) &&
      fs.existsSync(path.join(dir, configName))
    );
  }

  /** The key that asks; one that an interrupted enrolment with this token had made is used again. Throws Failure E_WRITE. */
  key(): string {
    return this.#writing(() => {
      const file = path.join(this.#staging, KEY_FILE);
      const staged = readIfThere(file);
      if (staged !== undefined) return staged;
      const keyPem = newAgentKey();
      fs.mkdirSync(this.#staging, { recursive: true, mode: 0o700 });
      // A crash in here leaves half a file of another name, and a key that nobody has been asked to certify.
      const made = `${file}.new`;
      fs.rmSync(made, { force: true });
      writeSynced(made, keyPem);
      fs.renameSync(made, file);
      syncDirectory(this.#staging);
      syncDirectory(this.#place.dir);
      return keyPem;
    });
  }

  /** Certificate and CAs beside the key, to be looked at before anything is put in its place: their paths. Throws Failure E_WRITE. */
  stage(
    certPem: string,
    caPem: string,
  ): { readonly certPath: string; readonly caPath: string; readonly keyPath: string } {
    return this.#writing(() => {
      const at = (name: string): string => path.join(this.#staging, name);
      fs.writeFileSync(at(CERT_FILE), certPem, { mode: 0o600 });
      fs.writeFileSync(at(CA_FILE), caPem, { mode: 0o600 });
      return { certPath: at(CERT_FILE), caPath: at(CA_FILE), keyPath: at(KEY_FILE) };
    });
  }

  /** The name that the CA's file is to have: one that is there with the same content is shared. */
  caName(caPem: string): string {
    const there = readIfThere(path.join(this.#place.dir, CA_FILE));
    return there === undefined || there === caPem ? CA_FILE : OTHER_CA_FILE;
  }

  /** All of them or none, durably. Throws Failure E_USAGE, E_WRITE. */
  install(
    files: { readonly keyPem: string; readonly certPem: string; readonly caPem: string; readonly yaml: string },
    random: Random,
  ): void {
    const { dir, configName, force } = this.#place;
    const caName = this.caName(files.caPem);
    const shared = !force && readIfThere(path.join(dir, caName)) === files.caPem;
    const all: NewFile[] = [
      { name: KEY_FILE, content: files.keyPem, mode: 0o600 },
      { name: CERT_FILE, content: files.certPem, mode: 0o644 },
      ...(shared ? [] : [{ name: caName, content: files.caPem, mode: 0o644 }]),
      { name: configName, content: files.yaml, mode: 0o644 },
    ];
    this.#writing(() => {
      const config = path.join(dir, configName);
      // What a person had written is not thrown away, even where it is to be replaced.
      if (force && fs.existsSync(config)) fs.copyFileSync(config, `${config}.old`);
    });
    writeTogether({ dir, pair: PAIR, files: all, force }, random);
  }

  /** The server knows that all is done: keys that were made and never certified go too. */
  done(): void {
    const { dir } = this.#place;
    this.#writing(() => {
      for (const name of fs.readdirSync(dir)) {
        // What a kill in the middle of writeTogether left holds a copy of the key.
        const cutShort = HALF_WRITTEN.test(name) && fs.existsSync(path.join(dir, name, KEY_FILE));
        if (cutShort || name.startsWith(STAGING_PREFIX)) fs.rmSync(path.join(dir, name), { recursive: true });
      }
      syncDirectory(dir);
    });
  }

  #writing<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw error instanceof Failure ? error : writeFailure(this.#place.dir, error);
    }
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (errnoName(error) === "ENOENT" || errnoName(error) === "ENOTDIR") return undefined;
    throw writeFailure(file, error);
  }
}

/** The same private key, however it is written down; what is not a key is another one. */
function sameKey(a: string, b: string): boolean {
  try {
    return createPrivateKey(a).equals(createPrivateKey(b));
  } catch {
    return false;
  }
}

function writeSynced(file: string, content: string): void {
  const fd = fs.openSync(file, "wx", 0o600);
  try {
    fs.writeFileSync(fd, content);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function syncDirectory(dir: string): void {
  const fd = fs.openSync(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function existsFailure(file: string): Failure {
  return new Failure("E_USAGE", `${file} exists already, and nothing was changed`, {
    hint: "Give --force to enrol anew: key, certificate and configuration are replaced, and the old configuration stays beside it as .old. Or name another place with --config.",
  });
}

function writeFailure(where: string, cause: unknown): Failure {
  return new Failure("E_WRITE", `${where} cannot be written: ${errnoName(cause) ?? String(cause)}`, { cause });
}
