/**
 * Writes a certificate and its key so that they change together: after a crash at any line both are the old ones, or the
 * next command makes both the new ones. A key is never readable by others, not for a moment; nothing is half-written;
 * nothing is overwritten unless asked.
 *
 * The new files are made in a hidden directory beside their places. Renaming that directory to ADD or REPLACE is the
 * moment of decision; what follows only carries it out. The directory's name ends in that of the pair: commands for
 * different agents run side by side, and of two for the same one the second finds the name taken.
 */
import fs from "node:fs";
import path from "node:path";
import { assert } from "#base/assert.ts";
import { errnoName, Failure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { printable } from "./printable.ts";

export interface NewFile {
  /** Without directory. */
  readonly name: string;
  readonly content: string;
  /** Permission bits, whatever the umask. */
  readonly mode: number;
}

/**
 * Where files go that do not belong beside the others, by their `name`: the whole path. The other directory may lie on another
 * filesystem, so they are copied there and renamed. Whoever finishes an interrupted command must say the same.
 */
export type Elsewhere = ReadonlyMap<string, string>;

const NOWHERE_ELSE: Elsewhere = new Map();

const ADD = ".nbackup-pki.add.";
const REPLACE = ".nbackup-pki.replace.";

/** Creates the directory (0700) if it is missing. Throws Failure E_WRITE. */
export function ensureDirectory(dir: string): void {
  writing(dir, () => {
    if (fs.existsSync(dir)) return;
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    syncDirectory(path.dirname(path.resolve(dir)));
  });
}

/** Throws Failure E_USAGE when one of the files is there. A quick answer before any work; writeTogether asks again. */
export function refuseExisting(dir: string, names: readonly string[]): void {
  for (const name of names) {
    const existing = writing(dir, () => fs.lstatSync(path.join(dir, name), { throwIfNoEntry: false }));
    if (existing !== undefined) throw existsFailure(dir, name);
  }
}

/**
 * Carries out what an interrupted command for the pair had decided; true when there was something. Throws Failure
 * E_USAGE when its files' places have been taken by other files meanwhile, E_WRITE when writing fails.
 */
export function finishInterrupted(dir: string, pair: string, elsewhere = NOWHERE_ELSE): boolean {
  return writing(dir, () => {
    const left = [ADD, REPLACE].filter((kind) => isLeftOver(dir, kind + pair));
    for (const kind of left) carryOut(dir, kind + pair, kind === REPLACE, elsewhere);
    return left.length > 0;
  });
}

/** In a directory open to others, such as /tmp, somebody else may have laid out "our" files. */
function isLeftOver(dir: string, name: string): boolean {
  const found = fs.lstatSync(path.join(dir, name), { throwIfNoEntry: false });
  if (found === undefined) return false;
  const owner = fs.statSync(dir).uid;
  if (found.isDirectory() && (found.uid === owner || found.uid === 0)) return true;
  throw new Failure("E_WRITE", `${printable(path.join(dir, name))} was not left there by a pki command of this user`, {
    hint: "Look at what it holds and remove it.",
  });
}

/** What is written together, and how. */
export interface PairWrite {
  readonly dir: string;
  /** Names the pair, not a file: `server`, `web-01`. */
  readonly pair: string;
  readonly files: readonly NewFile[];
  /** Whether the files may replace what is there. */
  readonly force: boolean;
  /** Only with `force`. */
  readonly elsewhere?: Elsewhere;
  /** Looks at the new files in the directory where they were made; when it throws nothing has happened. */
  readonly check?: (staging: string) => void;
}

/** Writes the files, all or none. Throws Failure E_USAGE or E_WRITE. */
export function writeTogether(write: PairWrite, random: Random): void {
  const { dir, pair, files, force, elsewhere = NOWHERE_ELSE, check } = write;
  assert(force || elsewhere.size === 0, "files that go elsewhere replace what is there");
  const staging = path.join(dir, `.nbackup-pki.${Buffer.from(random.bytes(8)).toString("hex")}`);
  const decided = (force ? REPLACE : ADD) + pair;
  writing(dir, () => {
    try {
      // A crash from here on leaves a hidden directory of new files that nobody uses.
      fs.mkdirSync(staging, { mode: 0o700 });
      keepOwner(staging, undefined, dir);
      for (const file of files) stage(staging, file, elsewhere.get(file.name) ?? path.join(dir, file.name));
      syncDirectory(staging);
      check?.(staging);
      if (!force)
        refuseExisting(
          dir,
          files.map(({ name }) => name),
        );
      decide(dir, staging, decided);
    } catch (error) {
      fs.rmSync(staging, { recursive: true, force: true });
      throw error;
    }
    carryOut(dir, decided, force, elsewhere);
  });
}

function stage(staging: string, file: NewFile, target: string): void {
  makeFile(path.join(staging, file.name), file, target);
}

/** A new file with the owner of the one whose place it will take, on the disk when this returns. */
function makeFile(filePath: string, file: Omit<NewFile, "name">, target: string): void {
  // "wx" is O_EXCL; the mode at creation is the narrow one, so that a key never is anything else.
  const fd = fs.openSync(filePath, "wx", 0o600);
  try {
    fs.writeFileSync(fd, file.content);
    fs.fchmodSync(fd, file.mode);
    keepOwner(filePath, target, path.dirname(target));
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Root replacing the key of a service must not take it away from the service: the owner stays, or is the directory's. */
function keepOwner(made: string, replaced: string | undefined, dir: string): void {
  const old = replaced === undefined ? undefined : fs.lstatSync(replaced, { throwIfNoEntry: false });
  const wanted = old ?? fs.statSync(dir);
  const found = fs.lstatSync(made);
  if (wanted.uid === found.uid && wanted.gid === found.gid) return;
  try {
    fs.lchownSync(made, wanted.uid, wanted.gid);
  } catch (error) {
    // Only root may give files away; anybody else keeps what he has made.
    if (errnoName(error) !== "EPERM") throw error;
  }
}

function decide(dir: string, staging: string, decided: string): void {
  try {
    // A crash before this leaves all as it was, a crash after it a command that finishInterrupted carries out.
    fs.renameSync(staging, path.join(dir, decided));
    syncDirectory(dir);
  } catch (error) {
    const code = errnoName(error);
    if (code === "ENOTEMPTY" || code === "EEXIST") throw runningFailure(path.join(dir, decided));
    throw error;
  }
}

function carryOut(dir: string, decided: string, replace: boolean, elsewhere: Elsewhere): void {
  const from = path.join(dir, decided);
  // Another process, such as a command while the service starts, may be carrying out the same: what is gone is in its place.
  const names = orGone(() => fs.readdirSync(from).sort()) ?? [];
  const linked: string[] = [];
  for (const name of names) {
    const source = path.join(from, name);
    const target = path.join(dir, name);
    // A crash between two files leaves a pair that does not fit; the next command puts the rest in place.
    const other = elsewhere.get(name);
    if (other !== undefined) {
      orGone(() => copyOver(source, other));
      continue;
    }
    if (replace) {
      orGone(() => fs.renameSync(source, target));
      continue;
    }
    if (!linkNew(source, target)) {
      // Taken at the last moment by a file that is not ours: take back what was added, so that nothing has happened.
      for (const added of linked) fs.unlinkSync(added);
      fs.rmSync(from, { recursive: true });
      throw existsFailure(dir, name);
    }
    linked.push(target);
  }
  // The places must be on disk before the last other trace of the files goes.
  syncDirectory(dir);
  fs.rmSync(from, { recursive: true, force: true });
  syncDirectory(dir);
}

function orGone<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (errnoName(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Puts a copy in the place of a file that may lie on another filesystem. Doing it again does no harm. */
function copyOver(source: string, target: string): void {
  const { mode } = fs.statSync(source);
  putOver(target, { content: fs.readFileSync(source, "utf8"), mode: mode & 0o7777 });
}

/**
 * Puts a file in the place of one that is there, with its owner and mode; after a crash it is the old one or the new one. `check` looks at
 * the new one where it was made; when it throws nothing has happened. Throws Failure E_WRITE.
 */
export function replaceFile(target: string, content: string, check: (made: string) => void): void {
  writing(path.dirname(target), () => putOver(target, { content, mode: fs.statSync(target).mode & 0o7777 }, check));
}

function putOver(target: string, file: Omit<NewFile, "name">, check?: (made: string) => void): void {
  const made = `${target}.nbackup-new`;
  // A crash leaves the old file, and a new one that is made again here.
  fs.rmSync(made, { force: true });
  try {
    makeFile(made, file, target);
    check?.(made);
  } catch (error) {
    fs.rmSync(made, { force: true });
    throw error;
  }
  fs.renameSync(made, target);
  syncDirectory(path.dirname(target));
}

/** Never overwrites; false when the place is taken by another file. */
function linkNew(source: string, target: string): boolean {
  try {
    fs.linkSync(source, target);
    return true;
  } catch (error) {
    if (errnoName(error) !== "EEXIST") throw error;
    const [ours, theirs] = [fs.lstatSync(source), fs.lstatSync(target)];
    return ours.ino === theirs.ino && ours.dev === theirs.dev;
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

function writing<T>(dir: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof Failure ? error : writeFailure(dir, error);
  }
}

function writeFailure(dir: string, error: unknown): Failure {
  return new Failure("E_WRITE", `${printable(dir)} cannot be written: ${errnoName(error) ?? String(error)}`, {
    cause: error,
  });
}

function existsFailure(dir: string, name: string): Failure {
  return new Failure("E_USAGE", `${printable(path.join(dir, name))} exists already, and nothing was changed`, {
    hint: "Give --force to replace certificate and key, or another --dir.",
  });
}

function runningFailure(decided: string): Failure {
  return new Failure("E_WRITE", `${printable(decided)} is there: another pki command is writing the same files`, {
    hint: "Wait for it to end and run the command again.",
  });
}
