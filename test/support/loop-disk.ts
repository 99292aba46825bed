/**
 * A small ext4 of its own in a file, mounted through a loop device: it fills up, is pulled out under whoever uses it, breaks
 * down to read-only as a real one does after an error, and, when its file lies on a disk that is too small for it, fails to
 * write what it had taken already. Only as root. Device-mapper's error and flakey targets would do more; kernels without
 * them have this.
 */
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import path from "node:path";
import { MiB } from "#base/units.ts";
import { mustRun, run } from "#scripts/lib/run.ts";

/** Why these tests cannot run here; undefined when they can. */
export function whyNoLoopDisk(): string | undefined {
  if (process.getuid?.() !== 0) return "only root may mount filesystems";
  if (!existsSync("/dev/loop-control")) return "this kernel has no loop devices";
  return Bun.which("mkfs.ext4") === null ? "mkfs.ext4 is not installed" : undefined;
}

export interface LoopDiskOptions {
  /** Where it is mounted; made. */
  readonly directory: string;
  /** Its file, which is made, sparse. */
  readonly image: string;
  readonly megabytes: number;
  /** For mkfs.ext4. */
  readonly features?: readonly string[];
}

export class LoopDisk {
  readonly directory: string;
  readonly #image: string;

  private constructor(options: LoopDiskOptions) {
    this.directory = options.directory;
    this.#image = options.image;
  }

  /** Makes it and mounts it. */
  static async make(options: LoopDiskOptions): Promise<LoopDisk> {
    const { directory, image, megabytes, features = [] } = options;
    mkdirSync(directory, { recursive: true });
    mkdirSync(path.dirname(image), { recursive: true });
    const file = openSync(image, "w");
    ftruncateSync(file, megabytes * MiB);
    closeSync(file);
    // All its room is for whoever is root, which the server is here.
    await mustRun(["mkfs.ext4", "-q", "-F", "-m", "0", ...features, image]);
    const disk = new LoopDisk(options);
    await disk.mount();
    return disk;
  }

  async mount(): Promise<void> {
    await mustRun(["mount", "-o", "loop,errors=remount-ro", this.#image, this.directory]);
  }

  /** Takes it away although it is in use, as when a disk is pulled or `umount --lazy` is called; open files stay open. */
  async pull(): Promise<void> {
    await mustRun(["umount", "--lazy", this.directory]);
  }

  /** As an error in its metadata would: from now on it is read-only, also for files that are open. */
  async breakDown(): Promise<void> {
    const device = (await mustRun(["findmnt", "-n", "-o", "SOURCE", this.directory])).trim();
    writeFileSync(`/sys/fs/ext4/${path.basename(device)}/trigger_fs_error`, "1");
  }

  /** Whether somebody still has it open after it was pulled. */
  async inUse(): Promise<boolean> {
    return (await run(["losetup", "-n", "-O", "NAME", "-j", this.#image])).stdout.trim() !== "";
  }

  /** Repairs it; it must not be in use. */
  async repair(): Promise<void> {
    const { exitCode, stderr } = await run(["e2fsck", "-f", "-y", this.#image]);
    // 1 and 2: errors were corrected.
    if (exitCode > 2) throw new Error(`e2fsck ended with ${exitCode}: ${stderr}`);
  }

  /** Unmounts it for good, however often it was mounted. Its file stays: it may lie on a disk that is read-only. */
  async remove(): Promise<void> {
    while ((await run(["umount", "--lazy", this.directory])).exitCode === 0);
  }
}
