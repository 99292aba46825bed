/**
 * The base directory of a storage and how directories and files are made in it: never through a symbolic link, owned by
 * the owner of the base directory, and known to the disk. Relative paths given here were built from checked names.
 */
import { errnoName, Failure } from "#base/errors.ts";
import { type Disk, type DiskFile, type DiskFilesystem, type DiskStat, orMissing } from "./disk.ts";

/** Unfinished work and the storage's own records; nobody but the server looks into it. */
export const CONTROL_DIRECTORY = ".nbackup";
const CONTROL_MODE = 0o700;
/** Archives may be read by the group, so that a copying or monitoring job need not be root; by nobody else. */
export const ARCHIVE_MODE = 0o640;
export const ARCHIVE_DIRECTORY_MODE = 0o750;
export const PRIVATE_MODE = 0o600;

export class StorageRoot {
  readonly disk: Disk;
  /** Absolute, without symbolic links. */
  readonly baseDir: string;
  /** Who gets what is made here; undefined: whoever the process is. */
  readonly #owner: { readonly uid: number; readonly gid: number } | undefined;

  /** What stood at baseDir when it was opened: DiskStat.identity. */
  readonly #identity: string;

  private constructor(disk: Disk, baseDir: string, stat: DiskStat) {
    this.disk = disk;
    this.baseDir = baseDir;
    this.#identity = stat.identity;
    this.#owner = disk.privileged ? { uid: stat.uid, gid: stat.gid } : undefined;
  }

  /**
   * Makes the base directory if it is missing, and its control directory; unless it is `established`: then both must be
   * there. Rejects with what the disk throws or E_STORAGE_FAILED.
   */
  static async open(disk: Disk, baseDir: string, established: boolean): Promise<StorageRoot> {
    if (established) await checkEstablished(disk, baseDir);
    await makeParents(disk, baseDir);
    // The administrator may have put a link where the base directory is; from here on links are an attack.
    const real = await disk.realpath(baseDir);
    const stat = await disk.lstat(real);
    if (stat.type !== "directory") throw new Failure("E_STORAGE_FAILED", `${baseDir} is not a directory`);
    const root = new StorageRoot(disk, real, stat);
    // Used for the first time: the names above are made sure of now, since a process that made them may have been killed.
    if (!(await root.isDirectory(CONTROL_DIRECTORY))) await syncAbove(disk, real);
    await root.makeDirectory(CONTROL_DIRECTORY, CONTROL_MODE);
    await root.makeDirectory(`${CONTROL_DIRECTORY}/sessions`, CONTROL_MODE);
    return root;
  }

  /** For who only looks: makes nothing, locks nothing. Rejects with what the disk throws, or E_STORAGE_FAILED when it is no directory. */
  static async look(disk: Disk, baseDir: string): Promise<StorageRoot> {
    const real = await disk.realpath(baseDir);
    const stat = await disk.lstat(real);
    if (stat.type !== "directory") throw new Failure("E_STORAGE_FAILED", `${baseDir} is not a directory`);
    return new StorageRoot(disk, real, stat);
  }

  /** False when something else stands at baseDir by now, or nothing: its disk may have been unmounted. */
  async present(): Promise<boolean> {
    return (await orMissing(this.disk.lstat(this.baseDir)))?.identity === this.#identity;
  }

  /**
   * Before anything is concluded from what is missing: where a disk has gone away all is. Rejects with E_STORAGE_FAILED when it has, and with what
   * the disk throws.
   */
  async checkPresent(): Promise<void> {
    if (!(await this.present())) throw new Failure("E_STORAGE_FAILED", `${this.baseDir} is not there any more`);
  }

  /** Absolute path of a relative one. */
  path(relative: string): string {
    return `${this.baseDir}/${relative}`;
  }

  /**
   * Makes a directory unless it is there; true when it was made. Its name is on the disk when this resolves. Rejects with
   * E_STORAGE_FAILED when something else has that name, a symbolic link to a directory included.
   */
  async makeDirectory(relative: string, mode: number): Promise<boolean> {
    const path = this.path(relative);
    try {
      await this.disk.mkdir(path, mode);
    } catch (error) {
      if (errnoName(error) !== "EEXIST") throw error;
      await this.isDirectory(relative);
      // Whoever made it may have been killed before it was synced.
      await this.disk.syncDirectory(parentOf(path));
      return false;
    }
    await this.own(relative);
    await this.disk.syncDirectory(parentOf(path));
    return true;
  }

  /** Gives what was made there to the owner of the base directory; nothing to do unless the process is root. */
  async own(relative: string): Promise<void> {
    if (this.#owner !== undefined) await this.disk.chown(this.path(relative), this.#owner.uid, this.#owner.gid);
  }

  /** False when there is nothing of that name. Rejects with E_STORAGE_FAILED when there is, but not a directory. */
  async isDirectory(relative: string): Promise<boolean> {
    const stat = await this.stat(relative);
    if (stat === undefined) return false;
    if (stat.type === "directory") return true;
    throw new Failure("E_STORAGE_FAILED", `${this.path(relative)} is a ${stat.type}, not a directory`, {
      hint: "nbackup writes through no link inside a storage: move away what lies there.",
    });
  }

  /** Undefined when there is nothing of that name; does not follow a symbolic link. */
  stat(relative: string): Promise<DiskStat | undefined> {
    return orMissing(this.disk.lstat(this.path(relative)));
  }

  /** A new file that belongs to the owner. Its name is not synced. */
  async createFile(relative: string, mode: number): Promise<DiskFile> {
    const file = await this.disk.create(this.path(relative), mode);
    try {
      if (this.#owner !== undefined) await file.chown(this.#owner.uid, this.#owner.gid);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  openFile(relative: string, access: "read" | "read-write"): Promise<DiskFile> {
    return this.disk.open(this.path(relative), access);
  }

  /** Holds the filesystem of a directory. */
  openFilesystem(relative: string): Promise<DiskFilesystem> {
    return this.disk.openFilesystem(this.path(relative));
  }

  /** Names in a directory, sorted. */
  async list(relative: string): Promise<string[]> {
    return (await this.disk.readdir(this.path(relative))).sort();
  }

  link(from: string, to: string): Promise<void> {
    return this.disk.link(this.path(from), this.path(to));
  }

  /** True when there was such a file. */
  async unlink(relative: string): Promise<boolean> {
    const gone = await orMissing(this.disk.unlink(this.path(relative)).then(() => true));
    return gone === true;
  }

  rmdir(relative: string): Promise<void> {
    return this.disk.rmdir(this.path(relative));
  }

  /** Removes a directory unless something lies in it, or it is gone. */
  async removeIfEmpty(relative: string): Promise<void> {
    try {
      await this.rmdir(relative);
    } catch (error) {
      const errno = errnoName(error);
      if (errno !== "ENOTEMPTY" && errno !== "EEXIST" && errno !== "ENOENT") throw error;
    }
  }

  rename(from: string, to: string): Promise<void> {
    return this.disk.rename(this.path(from), this.path(to));
  }

  /** Syncs the names in a directory; `""` is the base directory. */
  sync(relative: string): Promise<void> {
    return this.disk.syncDirectory(relative === "" ? this.baseDir : this.path(relative));
  }
}

/** Backups that went into the mount point would fill the system's disk and be gone from sight with the next mount. */
async function checkEstablished(disk: Disk, baseDir: string): Promise<void> {
  const control = `${baseDir}/${CONTROL_DIRECTORY}`;
  if ((await orMissing(disk.lstat(control)))?.type === "directory") return;
  throw new Failure("E_STORAGE_FAILED", `${baseDir} has been a storage before, and ${control} is not there`, {
    hint: `Mount its disk; or, if it is to begin empty, make the directory ${control}.`,
  });
}

/** Makes `path` and what is missing above it; `syncAbove` has the disk know the names. */
async function makeParents(disk: Disk, path: string): Promise<void> {
  if (path === "/" || (await orMissing(disk.lstat(path))) !== undefined) return;
  await makeParents(disk, parentOf(path));
  try {
    await disk.mkdir(path, ARCHIVE_DIRECTORY_MODE);
  } catch (error) {
    // Storages are opened side by side and may have a missing parent in common.
    if (errnoName(error) !== "EEXIST") throw error;
  }
}

/** Syncs every directory above `path`. One that this process may not read or write holds no name that it made. */
async function syncAbove(disk: Disk, path: string): Promise<void> {
  const parent = parentOf(path);
  try {
    await disk.syncDirectory(parent);
  } catch (error) {
    const errno = errnoName(error);
    if (errno !== "EACCES" && errno !== "EROFS" && errno !== "EINVAL") throw error;
  }
  if (parent !== "/") await syncAbove(disk, parent);
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}
