/**
 * Runs programs of an arm64 Debian root on this machine, by qemu-user: a user namespace with its own binfmt_misc tells the kernel what to do
 * with them, so that nothing is registered on the machine, and all of it is gone when the first process of the namespace ends. That one ends
 * with this process, however it ends.
 */
import { readlinkSync, writeFileSync } from "node:fs";
import { Sentence } from "#scripts/lib/run.ts";
import { childrenOf } from "#test/support/processes.ts";

const QEMU = "qemu-aarch64-static";
/** The first bytes of an arm64 ELF file that can be executed, and the mask over them, as qemu's own registration has them. */
const MAGIC = String.raw`\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00`;
const MASK = String.raw`\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff`;
const BINFMT = "/proc/sys/fs/binfmt_misc";
/** O and C: descriptors and credentials of the program; F: qemu is opened now, so that the root needs none. */
const FLAGS = "OCF";

/** Every user of the machine is itself: who makes the namespace is root, and files in it belong to many. */
const ALL_USERS = "0 0 4294967295";

/** In the namespace: $1 is the root, $2 what is registered. Ends when its input does. */
const SETUP = [
  `mount -t binfmt_misc binfmt_misc ${BINFMT}`,
  `printf %s "$2" > ${BINFMT}/register`,
  'mount -t proc proc "$1/proc"',
  "echo ready",
  "exec cat",
].join(" && ");

/** Why there are none here; undefined when there are. */
export async function whyNoArm64(): Promise<string | undefined> {
  if (process.arch === "arm64") return "this machine needs no emulator for it";
  if (Bun.which(QEMU) === null) return `${QEMU} is not installed`;
  try {
    await (await Arm64Namespace.enter("/")).leave();
    return undefined;
  } catch (error) {
    if (error instanceof Sentence) return error.message;
    throw error;
  }
}

export class Arm64Namespace {
  readonly #outer: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #first: number;
  readonly #root: string;

  private constructor(outer: Bun.Subprocess<"pipe", "pipe", "pipe">, first: number, root: string) {
    this.#outer = outer;
    this.#first = first;
    this.#root = root;
  }

  /** Over a root that is unpacked at least. A Sentence when the kernel does not let root do it: before Linux 6.7, and in many containers. */
  static async enter(root: string): Promise<Arm64Namespace> {
    const registered = `:nbackup-arm64:M::${MAGIC}:${MASK}:${Bun.which(QEMU) ?? QEMU}:${FLAGS}`;
    // The maps are written from outside, so it waits for a line before it goes on.
    const inner = 'read -r _ && exec unshare --mount --pid --fork --mount-proc --kill-child sh -c "$0" sh "$@"';
    const outer = Bun.spawn(["unshare", "--user", "sh", "-c", inner, SETUP, root, registered], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    try {
      await inItsOwnNamespace(outer);
      for (const map of ["uid_map", "gid_map"]) writeFileSync(`/proc/${outer.pid}/${map}`, ALL_USERS);
      outer.stdin.write("\n");
      await outer.stdin.flush();
      const { value } = await outer.stdout.getReader().read();
      const [first] = childrenOf(outer.pid);
      if (new TextDecoder().decode(value) !== "ready\n" || first === undefined) throw new Error("it is not ready");
      return new Arm64Namespace(outer, first, root);
    } catch (error) {
      outer.kill("SIGKILL");
      throw new Sentence(`arm64 programs cannot be run here: ${String(error)} ${await outer.stderr.text()}`.trim(), {
        cause: error,
      });
    }
  }

  /** What stands in front of a command. */
  prefix(): readonly string[] {
    return ["nsenter", `--target=${this.#first}`, "--user", "--mount", "--pid", "chroot", this.#root];
  }

  /** Ends all that runs in it. */
  async leave(): Promise<void> {
    await this.#outer.stdin.end();
    await this.#outer.exited;
  }
}

async function inItsOwnNamespace(child: Bun.Subprocess<"pipe", "pipe", "pipe">): Promise<void> {
  const of = (pid: number | "self"): string => readlinkSync(`/proc/${pid}/ns/user`);
  while (of(child.pid) === of("self")) {
    if (child.exitCode !== null) throw new Error(`unshare ended with ${child.exitCode}`);
    await Bun.sleep(5);
  }
}
