/** On which filesystem a path lies, as Linux tells it: the name that statfs gives, and the mount from /proc/self/mountinfo. */
import fs from "node:fs";
import { AT_FDCWD, errnoText, libc, O_CLOEXEC, O_PATH, Scratch } from "./linux-libc.ts";
import { dispensable, failedCall } from "./source.ts";
import { type FilesystemOf, mountOf, parseMounts } from "./source-facts.ts";

/** struct statfs of 64-bit Linux; f_fsid is behind seven longs. */
const STATFS_BYTES = 120;
const FSID_OFFSET = 56;
const FSID_BYTES = 8;

export const linuxFilesystemOf: FilesystemOf = (path) => {
  const c = libc();
  const name = new Scratch(path.length + 1);
  name.bytes.set(path);
  const fd = c.openat(AT_FDCWD, name.pointer, O_PATH | O_CLOEXEC | c.numbers.O_NOFOLLOW, 0);
  if (fd < 0) {
    dispensable(failedCall(errnoText(c.errno()), "open"), "open");
    return { filesystem: "", mount: null };
  }
  try {
    const statfs = new Scratch(STATFS_BYTES);
    const known = c.fstatfs(fd, statfs.pointer) === 0;
    const id = Buffer.from(statfs.bytes.subarray(FSID_OFFSET, FSID_OFFSET + FSID_BYTES)).toString("hex");
    // Without symbolic links on the way.
    const real = fs.readlinkSync(`/proc/self/fd/${fd}`);
    return { filesystem: known && !/^0+$/.test(id) ? id : "", mount: mountOf(parseMounts(readMountinfo()), real) };
  } catch (error) {
    dispensable(error, "readlink");
    return { filesystem: "", mount: null }; // No /proc here.
  } finally {
    c.close(fd);
  }
};

function readMountinfo(): string {
  try {
    return fs.readFileSync("/proc/self/mountinfo", "utf8");
  } catch (error) {
    dispensable(error, "open");
    return "";
  }
}
