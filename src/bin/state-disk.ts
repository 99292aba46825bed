/** Small files of a state directory, replaced as a whole so that a crash leaves the old or the new one. */
import { openSync } from "node:fs";
import { open, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { StateDisk } from "#agent/state-store.ts";
import { errnoName, Failure } from "#base/errors.ts";
import { flock } from "#store/linux-libc.ts";

/** What was backed up is nobody else's business. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
const LOCK_EX_NB = 6;
const EWOULDBLOCK = 11;

export const linuxStateDisk: StateDisk = {
  async read(file, bytesMax) {
    try {
      const { size } = await stat(file);
      // Nothing of ours: what does not parse counts as damaged.
      if (size > bytesMax) return new Uint8Array(0);
      return await readFile(file);
    } catch (error) {
      if (errnoName(error) === "ENOENT") return undefined;
      throw error;
    }
  },

  async replace(file, bytes) {
    // The daemon and `--once` may write at the same moment. A crash before the rename leaves this file.
    const fresh = `${file}.${process.pid}.new`;
    try {
      await write(fresh, bytes, path.dirname(file));
      await rename(fresh, file);
    } catch (error) {
      await rm(fresh, { force: true }).catch(() => undefined);
      throw error;
    }
    // A crash before this may bring the old file back.
    await syncDirectory(path.dirname(file));
  },
};

/** The directory of the entries' states below a state directory. */
export function entriesDirectory(stateDir: string): string {
  return `${stateDir}/entries`;
}

/**
 * Makes the state directory and takes its lock, which the process keeps until it ends. Rejects with Failure E_LOCKED,
 * E_STATE_DIR.
 */
export async function takeStateDir(stateDir: string): Promise<void> {
  try {
    await mkdir(entriesDirectory(stateDir), { recursive: true, mode: DIRECTORY_MODE });
    // A bare descriptor: a handle would be closed, and the lock lost, when nobody refers to it any more.
    const errno = flock(openSync(`${stateDir}/lock`, "a", FILE_MODE), LOCK_EX_NB);
    if (errno === EWOULDBLOCK) throw new Failure("E_LOCKED", `${stateDir} is in use by another nbackup-agent`);
    if (errno !== 0) throw new Failure("E_STATE_DIR", `agent.state_dir ${stateDir} cannot be locked: errno ${errno}`);
    await removeTorn(entriesDirectory(stateDir));
  } catch (error) {
    throw error instanceof Failure ? error : unusable(stateDir, error);
  }
}

/** `NAME.json.PID.new`, as `replace` names them. */
const TORN = /\.json\.(\d+)\.new$/;

/** Files whose writer a crash ended before the rename. A `--once` that runs may be writing its own right now. */
async function removeTorn(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const pid = Number(TORN.exec(name)?.[1] ?? Number.NaN);
    if (Number.isNaN(pid) || (pid !== process.pid && isAlive(pid))) continue;
    await rm(path.join(directory, name), { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Another user's process lives too.
    return errnoName(error) !== "ESRCH";
  }
}

function unusable(stateDir: string, cause: unknown): Failure {
  const reason = errnoName(cause) ?? String(cause);
  return new Failure("E_STATE_DIR", `agent.state_dir ${stateDir} cannot be used: ${reason}`, { cause });
}

/** Whether `--once` has something to remember with: it makes no directory. */
export async function hasStateDir(stateDir: string): Promise<boolean> {
  try {
    return (await stat(entriesDirectory(stateDir))).isDirectory();
  } catch (error) {
    if (errnoName(error) === undefined) throw error;
    return false;
  }
}

async function write(file: string, bytes: Uint8Array, directory: string): Promise<void> {
  const handle = await open(file, "w", FILE_MODE);
  try {
    // A `--once` by root must leave the daemon's user a file that it can read.
    if (process.geteuid?.() === 0) {
      const { uid, gid } = await stat(directory);
      if (uid !== 0) await handle.chown(uid, gid);
    }
    await handle.writeFile(bytes);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
