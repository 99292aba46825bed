/**
 * A disk whose every call waits for its turn, and otherwise is the disk it wraps: so that looking through thousands of files keeps nobody
 * from reading for longer than one call takes. What a turn is, and how long a call may take in it, is passed in.
 */
import type { InTurn } from "#restore/archive-stock.ts";
import type { Disk, DiskFile, DiskFilesystem, DiskLock, DiskSpace, DiskStat } from "#store/disk.ts";

export class PacedDisk implements Disk {
  readonly #disk: Disk;
  readonly #inTurn: InTurn;

  constructor(disk: Disk, inTurn: InTurn) {
    this.#disk = disk;
    this.#inTurn = inTurn;
  }

  get privileged(): boolean {
    return this.#disk.privileged;
  }

  async create(path: string, mode: number): Promise<DiskFile> {
    return this.#file(await this.#inTurn(() => this.#disk.create(path, mode), closeFile));
  }

  async open(path: string, access: "read" | "read-write"): Promise<DiskFile> {
    return this.#file(await this.#inTurn(() => this.#disk.open(path, access), closeFile));
  }

  mkdir(path: string, mode: number): Promise<void> {
    return this.#inTurn(() => this.#disk.mkdir(path, mode));
  }

  rmdir(path: string): Promise<void> {
    return this.#inTurn(() => this.#disk.rmdir(path));
  }

  link(from: string, to: string): Promise<void> {
    return this.#inTurn(() => this.#disk.link(from, to));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#inTurn(() => this.#disk.rename(from, to));
  }

  unlink(path: string): Promise<void> {
    return this.#inTurn(() => this.#disk.unlink(path));
  }

  readdir(path: string): Promise<string[]> {
    return this.#inTurn(() => this.#disk.readdir(path));
  }

  lstat(path: string): Promise<DiskStat> {
    return this.#inTurn(() => this.#disk.lstat(path));
  }

  chown(path: string, uid: number, gid: number): Promise<void> {
    return this.#inTurn(() => this.#disk.chown(path, uid, gid));
  }

  realpath(path: string): Promise<string> {
    return this.#inTurn(() => this.#disk.realpath(path));
  }

  space(path: string): Promise<DiskSpace> {
    return this.#inTurn(() => this.#disk.space(path));
  }

  writable(path: string): Promise<void> {
    return this.#inTurn(() => this.#disk.writable(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#inTurn(() => this.#disk.syncDirectory(path));
  }

  openFilesystem(path: string): Promise<DiskFilesystem> {
    return this.#inTurn(
      () => this.#disk.openFilesystem(path),
      (late) => late.close(),
    );
  }

  lock(path: string): Promise<DiskLock> {
    return this.#inTurn(
      () => this.#disk.lock(path),
      (late) => late.release(),
    );
  }

  #file(file: DiskFile): DiskFile {
    const pending = new Set<Promise<unknown>>();
    const turn = <T>(call: () => Promise<T>): Promise<T> =>
      this.#inTurn(() => {
        const called = call();
        pending.add(called);
        const back = (): void => void pending.delete(called);
        called.then(back, back);
        return called;
      });
    return {
      write: (bytes, offset) => turn(() => file.write(bytes, offset)),
      read: (into, offset) => turn(() => file.read(into, offset)),
      fdatasync: () => turn(() => file.fdatasync()),
      size: () => turn(() => file.size()),
      truncate: (length) => turn(() => file.truncate(length)),
      chmod: (mode) => turn(() => file.chmod(mode)),
      chown: (uid, gid) => turn(() => file.chown(uid, gid)),
      close: () => {
        if (pending.size === 0) return turn(() => file.close());
        // A call that hangs keeps its file until it comes back, and who has given it up does not wait for that.
        void Promise.allSettled(pending)
          .then(() => file.close())
          .catch(() => undefined);
        return Promise.resolve();
      },
    };
  }
}

function closeFile(file: DiskFile): Promise<void> {
  return file.close();
}
