/**
 * A clean Debian in a directory, made with debootstrap: programs are run in it by chroot, or it is booted in a container with systemd as
 * its first process. Only as root. The first one of a run is kept, the others are copies of it. Where it runs, nothing of the checkout is seen.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { mustRun, run, type RunResult } from "#scripts/lib/run.ts";
import { RESULTS_DIRECTORY } from "#scripts/lib/test-run.ts";

const RELEASE = "bookworm";
const MAKE_MS = 900_000;
const COMMAND_MS = 120_000;
const BOOT_MS = 120_000;

/** Why there is none here; undefined when there can be. */
export function whyNoDebianRoot(): string | undefined {
  if (process.getuid?.() !== 0) return "only root may make a Debian root";
  const missing = ["debootstrap", "dpkg-deb", "systemd-nspawn"].filter((name) => Bun.which(name) === null);
  return missing.length === 0 ? undefined : `${missing.join(", ")} is not installed`;
}

export class DebianRoot {
  readonly directory: string;
  #container: Bun.Subprocess<"ignore", "ignore", "ignore"> | undefined;
  #leader: number | undefined;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** A copy at `directory`, which must not exist. */
  static async make(directory: string): Promise<DebianRoot> {
    const base = path.join(RESULTS_DIRECTORY, `debian-${RELEASE}`);
    if (!existsSync(base)) {
      mkdirSync(RESULTS_DIRECTORY, { recursive: true });
      const unfinished = `${base}.new`;
      rmSync(unfinished, { recursive: true, force: true });
      const flags = ["--variant=minbase", "--include=systemd,systemd-sysv,dbus"];
      await mustRun(["debootstrap", ...flags, RELEASE, unfinished], { timeoutMs: MAKE_MS });
      renameSync(unfinished, base);
    }
    await mustRun(["cp", "-a", "--reflink=auto", base, directory], { timeoutMs: COMMAND_MS });
    await mustRun(["mount", "-t", "proc", "proc", path.join(directory, "proc")]);
    return new DebianRoot(directory);
  }

  at(...parts: string[]): string {
    return path.join(this.directory, ...parts);
  }

  /** By chroot; in the container when it is booted. A failure is a result. */
  async run(...command: string[]): Promise<RunResult> {
    const env = { DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
    const enter =
      this.#leader === undefined
        ? ["chroot", this.directory]
        : ["nsenter", `--target=${this.#leader}`, "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"];
    return await run([...enter, "/usr/bin/env", ...Object.entries(env).map((pair) => pair.join("=")), ...command], {
      timeoutMs: COMMAND_MS,
    });
  }

  /** The output of what must succeed. */
  async must(...command: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(...command);
    if (exitCode === 0) return stdout;
    throw new Error(`${command.join(" ")} ended with ${exitCode}:\n${stdout}\n${stderr}`);
  }

  /** Starts systemd, with a network of its own, and waits until it answers; services may still be starting. */
  async boot(): Promise<void> {
    await this.#unmount();
    const flags = ["--quiet", "--register=no", "--keep-unit", "--private-network", "--boot"];
    const container = Bun.spawn(["systemd-nspawn", ...flags, "--directory", this.directory], {
      stdio: ["ignore", "ignore", "ignore"],
    });
    this.#container = container;
    await eventually("the container has a first process", () => {
      const [leader] = childrenOf(container.pid);
      if (leader === undefined || commandOf(leader) !== "systemd") return false;
      this.#leader = leader;
      return true;
    });
    await eventually("systemd answers", async () => {
      const { stdout } = await this.run("systemctl", "is-system-running");
      return /running|degraded|starting/.test(stdout);
    });
  }

  async remove(): Promise<void> {
    if (this.#container !== undefined) {
      await this.run("systemctl", "poweroff", "--force", "--force");
      const killed = setTimeout(() => this.#container?.kill("SIGKILL"), COMMAND_MS);
      await this.#container.exited;
      clearTimeout(killed);
      this.#leader = undefined;
    }
    await this.#unmount();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #unmount(): Promise<void> {
    const proc = this.at("proc");
    if (readFileSync("/proc/mounts", "utf8").includes(` ${proc} `)) await mustRun(["umount", proc]);
  }
}

function childrenOf(pid: number): readonly number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  return existsSync(file) ? readFileSync(file, "utf8").trim().split(" ").filter(Boolean).map(Number) : [];
}

function commandOf(pid: number): string {
  const file = `/proc/${pid}/comm`;
  return existsSync(file) ? readFileSync(file, "utf8").trim() : "";
}

/** Looks again until it is so. */
export async function eventually(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + BOOT_MS;
  while (!(await look())) {
    if (performance.now() > endMs) throw new Error(`after ${BOOT_MS / 1000} s it is not so that ${what}`);
    await Bun.sleep(200);
  }
}
