/**
 * The real disk: node:fs on Linux, and by FFI what node:fs lacks: flock, syncfs and copy_file_range. All calls but flock
 * itself run off the main thread. It never follows a symbolic link in the last component of a path, and repeats nothing but short writes and reads.
 */
import { constants, promises as fs, type BigIntStats } from "node:fs";
import { constants as osConstants } from "node:os";
import type { Disk, DiskEntryType, DiskFile, DiskFilesystem, DiskLock, DiskSpace, DiskStat } from "./disk.ts";
import { flock } from "./linux-libc.ts";
import { DiskThread, type SpawnDiskWorker } from "./disk-thread.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = 11;
const LOCK_FILE_MODE = 0o600;
/** `ENOSPC` and all others, by number. */
const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(osConstants.errno).map(([name, number]) => [number, name]),
);

type FileHandle = Awaited<ReturnType<typeof fs.open>>;

/** An error as node:fs throws them. */
function diskError(code: string, call: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${call} '${path}'`), { code });
}

function errnoError(errno: number, call: string, path: string): Error {
  return diskError(ERRNO_NAMES.get(errno) ?? "EIO", `${call} (errno ${errno})`, path);
}

class LinuxFile implements DiskFile {
  readonly #handle: FileHandle;
  readonly #path: string;

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle;
    this.#path = path;
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, offset + done);
      // A regular file takes at least a byte or says why not; this is so that a broken filesystem cannot spin.
      if (bytesWritten === 0) throw diskError("EIO", "write of no bytes", this.#path);
      done += bytesWritten;
    }
  }

  async read(into: Uint8Array, offset: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await this.#handle.read(into, done, into.length - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  fdatasync(): Promise<void> {
    return this.#handle.datasync();
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length);
  }

  chmod(mode: number): Promise<void> {
    return this.#handle.chmod(mode);
  }

  chown(uid: number, gid: number): Promise<void> {
    return this.#handle.chown(uid, gid);
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** One that is used by open filesystems; made when the first of them calls it. */
interface SharedThread {
  thread: DiskThread | undefined;
  users: number;
}

export class LinuxDisk implements Disk {
  readonly privileged: boolean;
  readonly #spawnThread: SpawnDiskWorker;
  /** By device: a disk that hangs holds up no other. */
  readonly #threads = new Map<number, SharedThread>();

  /** `privileged`: the process is root. Threads are made only for filesystems that are opened, and end with them. */
  constructor(options: { readonly privileged: boolean; readonly spawnThread: SpawnDiskWorker }) {
    this.privileged = options.privileged;
    this.#spawnThread = options.spawnThread;
  }

  async create(path: string, mode: number): Promise<DiskFile> {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const handle = await fs.open(path, flags, mode);
    return closeOnFailure(handle, async () => {
      await handle.chmod(mode); // Whatever the umask says.
      return new LinuxFile(handle, path);
    });
  }

  async open(path: string, access: "read" | "read-write"): Promise<DiskFile> {
    const way = access === "read" ? constants.O_RDONLY : constants.O_RDWR;
    // Without O_NONBLOCK opening a fifo that lies there would wait for ever.
    const handle = await fs.open(path, way | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
    return closeOnFailure(handle, async () => {
      if (!(await handle.stat()).isFile()) throw diskError("EINVAL", "open of what is not a regular file", path);
      return new LinuxFile(handle, path);
    });
  }

  async mkdir(path: string, mode: number): Promise<void> {
    await fs.mkdir(path, { mode, recursive: false });
    // Not by its path: who may write above it could have put a link in its place by now.
    const handle = await openDirectory(path);
    try {
      await handle.chmod(mode);
    } finally {
      await handle.close();
    }
  }

  rmdir(path: string): Promise<void> {
    return fs.rmdir(path);
  }

  link(from: string, to: string): Promise<void> {
    return fs.link(from, to);
  }

  rename(from: string, to: string): Promise<void> {
    return fs.rename(from, to);
  }

  unlink(path: string): Promise<void> {
    return fs.unlink(path);
  }

  readdir(path: string): Promise<string[]> {
    return fs.readdir(path);
  }

  async lstat(path: string): Promise<DiskStat> {
    const stat = await fs.lstat(path, { bigint: true });
    return {
      type: entryType(stat),
      mode: Number(stat.mode & 0o7777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      size: Number(stat.size),
      identity: `${stat.dev}:${stat.ino}`,
      links: Number(stat.nlink),
      mtimeMs: Number(stat.mtimeNs / 1_000_000n),
    };
  }

  chown(path: string, uid: number, gid: number): Promise<void> {
    return fs.lchown(path, uid, gid);
  }

  realpath(path: string): Promise<string> {
    return fs.realpath(path);
  }

  async space(path: string): Promise<DiskSpace> {
    const { bsize, blocks, bavail } = await fs.statfs(path);
    // Network filesystems say that they have exbibytes, which no message and no sum of ours takes.
    const safe = (bytes: number): number => Math.min(Number.MAX_SAFE_INTEGER, bytes);
    return { totalBytes: safe(bsize * blocks), freeBytes: safe(bsize * bavail) };
  }

  /** access(2) says EROFS for a file system that is mounted so, to root too. */
  writable(path: string): Promise<void> {
    return fs.access(path, constants.W_OK);
  }

  async syncDirectory(path: string): Promise<void> {
    const handle = await openDirectory(path);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  /** Each has a descriptor of its own: the kernel tells an error of the filesystem once to each (Linux 5.8). */
  async openFilesystem(path: string): Promise<DiskFilesystem> {
    const handle = await openDirectory(path);
    return closeOnFailure(handle, async () => {
      const { dev } = await handle.stat();
      const shared = this.#threads.get(dev) ?? { thread: undefined, users: 0 };
      this.#threads.set(dev, shared);
      shared.users += 1;
      const thread = (): DiskThread => (shared.thread ??= new DiskThread(this.#spawnThread));
      return {
        sync: async () => {
          const errno = await thread().sync(handle.fd);
          if (errno !== 0) throw errnoError(errno, "syncfs", path);
        },
        append: async (paths, into, offset, bytesMax) => {
          const { lengths, errno } = await thread().append({ paths, into, offset, bytesMax });
          // With some appended the call did well: who goes on with the next one hears of it then.
          if (lengths.length === 0) throw errnoError(errno, "copy", paths[0] ?? path);
          return lengths;
        },
        close: () => {
          shared.users -= 1;
          if (shared.users === 0) {
            shared.thread?.close();
            this.#threads.delete(dev);
          }
          return handle.close();
        },
      };
    });
  }

  async lock(path: string): Promise<DiskLock> {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const handle = await fs.open(path, flags, LOCK_FILE_MODE);
    return closeOnFailure(handle, async () => {
      const errno = flock(handle.fd, LOCK_EX | LOCK_NB);
      if (errno === EWOULDBLOCK) throw diskError("EWOULDBLOCK", "flock", path);
      if (errno !== 0) throw diskError("EIO", `flock (errno ${errno})`, path);
      return { release: () => handle.close() };
    });
  }
}

function openDirectory(path: string): Promise<FileHandle> {
  return fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
}

async function closeOnFailure<T>(handle: FileHandle, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function entryType(stat: BigIntStats): DiskEntryType {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "directory";
  return stat.isSymbolicLink() ? "symlink" : "other";
}
