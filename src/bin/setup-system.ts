/** What `nbackup-server setup` does to the machine: owners, modes, directories, and what lets the service write into them. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { errnoName, Failure } from "#base/errors.ts";

/** The user that the package makes, and that the unit runs as. */
const SERVICE_USER = "nbackup";
const UNIT = "nbackup-server.service";
const DROP_IN = "50-setup.conf";

export interface ServiceUser {
  readonly uid: number;
  readonly gid: number;
}

export interface SetupMachine {
  /** Undefined where there is none, or this process may not give files away. */
  readonly user: ServiceUser | undefined;
  /** `/etc/systemd/system`; undefined where no service of systemd's runs this server. */
  readonly unitDir: string | undefined;
}

/** Of this machine. `isService`: the configuration is the one that the unit names. */
export function machineOf(isService: boolean): SetupMachine {
  const isRoot = process.getuid?.() === 0;
  const unitDir = "/etc/systemd/system";
  return {
    user: isRoot ? serviceUser() : undefined,
    unitDir: isRoot && isService && fs.existsSync(unitDir) ? unitDir : undefined,
  };
}

/** By getent, because a user may come from elsewhere than /etc/passwd. */
function serviceUser(): ServiceUser | undefined {
  const { stdout } = spawnSync("getent", ["passwd", SERVICE_USER], { encoding: "utf8" });
  const [, , uid, gid] = (typeof stdout === "string" ? stdout : "").split(":");
  return uid === undefined || gid === undefined || uid === "" ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/** A directory, made with its parents when it is missing; true when it was. Throws Failure E_WRITE. */
export function makeDirectory(dir: string, mode: number, owner: ServiceUser | undefined): boolean {
  return writing(dir, () => {
    if (fs.existsSync(dir)) return false;
    fs.mkdirSync(path.dirname(dir), { recursive: true, mode: 0o755 });
    fs.mkdirSync(dir, { mode });
    // The parent may be the service's, who could have put a link here meanwhile: only what was made is given away.
    const fd = fs.openSync(dir, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY | fs.constants.O_NOFOLLOW);
    try {
      // Whatever the umask.
      fs.fchmodSync(fd, mode);
      if (owner !== undefined) fs.fchownSync(fd, owner.uid, owner.gid);
    } finally {
      fs.closeSync(fd);
    }
    return true;
  });
}

/** The file is its owner's alone, and that is the service's user where there is one. Throws Failure E_WRITE. */
export function makePrivate(file: string, owner: ServiceUser | undefined): void {
  writing(file, () => {
    // What a link points to is not this command's to give away.
    if (fs.lstatSync(file).isSymbolicLink()) return;
    const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
    try {
      fs.fchmodSync(fd, 0o600);
      if (owner !== undefined) fs.fchownSync(fd, owner.uid, owner.gid);
    } finally {
      fs.closeSync(fd);
    }
  });
}

/**
 * An empty directory may be given to the service; one with something in it is somebody's, and so is one that another user's
 * directory or link leads to. True when the service owns it now.
 */
export function giveEmpty(dir: string, owner: ServiceUser): boolean {
  return writing(dir, () => {
    const { uid } = fs.statSync(dir);
    if (uid === owner.uid) return true;
    if (uid !== 0 || !isRootsWay(dir) || fs.readdirSync(dir).some((name) => name !== "lost+found")) return false;
    fs.chownSync(dir, owner.uid, owner.gid);
    return true;
  });
}

/** Nobody but root has laid the way there: a link of the service's own could lead to any empty directory of the system. */
function isRootsWay(dir: string): boolean {
  for (let part = path.resolve(dir); part !== "/"; part = path.dirname(part)) {
    if (fs.lstatSync(part).uid !== 0) return false;
  }
  return true;
}

/** The first part of the path that the user may not pass through; undefined: none. By mode bits, without ACLs. */
export function barrierOn(file: string, { uid, gid }: ServiceUser): string | undefined {
  for (let dir = path.dirname(fs.realpathSync(file)); ; dir = path.dirname(dir)) {
    const stat = fs.statSync(dir);
    const bit = stat.uid === uid ? 0o100 : stat.gid === gid ? 0o010 : 0o001;
    if ((stat.mode & bit) === 0) return dir;
    if (dir === "/") return undefined;
  }
}

export interface DropInFacts {
  readonly baseDirs: readonly string[];
  readonly ports: readonly number[];
}

/** Where it is written. */
export function dropInPath(unitDir: string): string {
  return path.join(unitDir, `${UNIT}.d`, DROP_IN);
}

/** Lets the service write into its storages. True when it has changed. Throws Failure E_WRITE. */
export function writeDropIn(unitDir: string, facts: DropInFacts): boolean {
  const file = dropInPath(unitDir);
  const content = dropInText(facts);
  return writing(file, () => {
    if (fs.existsSync(file) && fs.readFileSync(file, "utf8") === content) return false;
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
    replaceFile(file, content, 0o644);
    // Where systemd runs, and not in a chroot or a container without it.
    if (fs.existsSync("/run/systemd/system")) spawnSync("systemctl", ["daemon-reload"]);
    return true;
  });
}

export function dropInText({ baseDirs, ports }: DropInFacts): string {
  const isHome = (dir: string): boolean => /^\/(?:home|root|run\/user)(?:\/|$)/.test(dir);
  return [
    "# Made by nbackup-server setup, which writes it anew: put changes into a file of your own beside it.",
    "[Service]",
    // With the dash the service starts while a disk is not there, too; the storage says so.
    ...baseDirs.map((dir) => `ReadWritePaths=${unitWord(`-${dir}`)}`),
    ...(baseDirs.some(isHome) ? ["ProtectHome=read-only"] : []),
    ...(ports.some((port) => port < 1024)
      ? ["CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "PrivateUsers=no"]
      : []),
    "",
  ].join("\n");
}

/** As systemd reads it: % begins a specifier, blanks and quotes separate. */
function unitWord(word: string): string {
  const escaped = word.replaceAll("%", "%%");
  return /[\s"'\\]/.test(escaped) ? `"${escaped.replace(/["\\]/g, (c) => `\\${c}`)}"` : escaped;
}

/** The whole file or the old one, durably. */
export function replaceFile(file: string, content: string, mode: number): void {
  const made = `${file}.new`;
  fs.rmSync(made, { force: true });
  const fd = fs.openSync(made, "wx", mode);
  try {
    fs.writeFileSync(fd, content);
    fs.fchmodSync(fd, mode);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(made, file);
  const dir = fs.openSync(path.dirname(file), fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  try {
    fs.fsyncSync(dir);
  } finally {
    fs.closeSync(dir);
  }
}

export function writing<T>(where: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof Failure ? error : writeFailure(where, error);
  }
}

function writeFailure(where: string, cause: unknown): Failure {
  const errno = errnoName(cause) ?? String(cause);
  const hint = "Run setup as root, or name places of your own with --config and --storage.";
  const options = errno === "EACCES" || errno === "EPERM" ? { cause, hint } : { cause };
  return new Failure("E_WRITE", `${where} cannot be written: ${errno}`, options);
}
