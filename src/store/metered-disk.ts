/**
 * A disk that tells how long its syncs took and which calls failed, and otherwise is the disk it wraps: for the metrics of
 * a storage, without a line in the code that uses it.
 */
import type { Clock } from "#base/clock.ts";
import { errnoName } from "#base/errors.ts";
import type { Disk, DiskFile, DiskFilesystem, DiskLock, DiskSpace, DiskStat } from "./disk.ts";

export interface DiskMeter {
  /** A sync of a file, a directory or the whole filesystem that succeeded. */
  synced(durationMs: number): void;
  /** A call failed for a reason that says something about the disk: not that a name exists already, or does not. */
  failed(errno: string): void;
}

/** The disk, or what is mounted there, is in trouble or full. */
const TROUBLE: ReadonlySet<string> = new Set([
  ...["EIO", "ENOSPC", "EDQUOT", "EROFS", "ENODEV", "ENXIO", "ESTALE", "EUCLEAN", "EREMOTEIO", "ETIMEDOUT"],
]);

export class MeteredDisk implements Disk {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #meter: DiskMeter;

  constructor(disk: Disk, clock: Clock, meter: DiskMeter) {
    this.#disk = disk;
    this.#clock = clock;
    this.#meter = meter;
  }

  get privileged(): boolean {
    return this.#disk.privileged;
  }

  async create(path: string, mode: number): Promise<DiskFile> {
    return this.#file(await this.#watch(this.#disk.create(path, mode)));
  }

  async open(path: string, access: "read" | "read-write"): Promise<DiskFile> {
    return this.#file(await this.#watch(this.#disk.open(path, access)));
  }

  mkdir(path: string, mode: number): Promise<void> {
    return this.#watch(this.#disk.mkdir(path, mode));
  }

  rmdir(path: string): Promise<void> {
    return this.#watch(this.#disk.rmdir(path));
  }

  link(from: string, to: string): Promise<void> {
    return this.#watch(this.#disk.link(from, to));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#watch(this.#disk.rename(from, to));
  }

  unlink(path: string): Promise<void> {
    return this.#watch(this.#disk.unlink(path));
  }

  readdir(path: string): Promise<string[]> {
    return this.#watch(this.#disk.readdir(path));
  }

  lstat(path: string): Promise<DiskStat> {
    return this.#watch(this.#disk.lstat(path));
  }

  chown(path: string, uid: number, gid: number): Promise<void> {
    return this.#watch(this.#disk.chown(path, uid, gid));
  }

  realpath(path: string): Promise<string> {
    return this.#watch(this.#disk.realpath(path));
  }

  space(path: string): Promise<DiskSpace> {
    return this.#watch(this.#disk.space(path));
  }

  writable(path: string): Promise<void> {
    return this.#watch(this.#disk.writable(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#timed(() => this.#disk.syncDirectory(path));
  }

  async openFilesystem(path: string): Promise<DiskFilesystem> {
    const filesystem = await this.#watch(this.#disk.openFilesystem(path));
    return {
      sync: () => this.#timed(() => filesystem.sync()),
      append: (paths, into, offset, bytesMax) => this.#watch(filesystem.append(paths, into, offset, bytesMax)),
      close: () => this.#watch(filesystem.close()),
    };
  }

  lock(path: string): Promise<DiskLock> {
    return this.#watch(this.#disk.lock(path));
  }

  #file(file: DiskFile): DiskFile {
    return {
      write: (bytes, offset) => this.#watch(file.write(bytes, offset)),
      read: (into, offset) => this.#watch(file.read(into, offset)),
      fdatasync: () => this.#timed(() => file.fdatasync()),
      size: () => this.#watch(file.size()),
      truncate: (length) => this.#watch(file.truncate(length)),
      chmod: (mode) => this.#watch(file.chmod(mode)),
      chown: (uid, gid) => this.#watch(file.chown(uid, gid)),
      close: () => this.#watch(file.close()),
    };
  }

  async #timed(sync: () => Promise<void>): Promise<void> {
    const startedAtMs = this.#clock.now();
    await this.#watch(sync());
    this.#meter.synced(this.#clock.now() - startedAtMs);
  }

  /** The same promise: whoever waits for it hears what it heard before. */
  #watch<T>(call: Promise<T>): Promise<T> {
    call.catch((error: unknown) => {
      const errno = errnoName(error);
      if (errno !== undefined && TROUBLE.has(errno)) this.#meter.failed(errno);
    });
    return call;
  }
}
