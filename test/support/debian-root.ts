/**
 * A clean Debian in a directory, made with debootstrap: programs are run in it by chroot, one for arm64 by qemu-user; or it is booted in a
 * container with systemd as its first process. Only as root. The first one of a run is kept, the others are copies of it. Where it runs, nothing
 * of the checkout is seen.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type Architecture, nativeArchitecture } from "#scripts/lib/executables.ts";
import { mustRun, run, type RunResult } from "#scripts/lib/run.ts";
import { RESULTS_DIRECTORY } from "#scripts/lib/test-run.ts";
import { Arm64Namespace } from "#test/support/arm64-namespace.ts";
import { childrenOf, commandOf } from "#test/support/processes.ts";

const RELEASE = "bookworm";
const SYSTEMD = "--include=systemd,systemd-sysv,dbus";
const MAKE_MS = 900_000;
const COMMAND_MS = 120_000;
const BOOT_MS = 120_000;
const ENVIRONMENT: Readonly<Record<string, string>> = {
  ...{ DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
};

/** Why there is none here; undefined when there can be. */
export function whyNoDebianRoot(): string | undefined {
  if (process.getuid?.() !== 0) return "only root may make a Debian root";
  const missing = ["debootstrap", "dpkg-deb", "systemd-nspawn"].filter((name) => Bun.which(name) === null);
  return missing.length === 0 ? undefined : `${missing.join(", ")} is not installed`;
}

export class DebianRoot {
  readonly directory: string;
  readonly architecture: Architecture;
  readonly #namespace: Arm64Namespace | undefined;
  #container: Bun.Subprocess<"ignore", "ignore", "ignore"> | undefined;
  #leader: number | undefined;

  private constructor(directory: string, architecture: Architecture, namespace: Arm64Namespace | undefined) {
    this.directory = directory;
    this.architecture = architecture;
    this.#namespace = namespace;
  }

  /** A copy at `directory`, which must not exist. */
  static async make(directory: string, architecture = nativeArchitecture()): Promise<DebianRoot> {
    const base = await baseOf(architecture);
    await mustRun(["cp", "-a", "--reflink=auto", base, directory], { timeoutMs: COMMAND_MS });
    if (architecture !== nativeArchitecture())
      return new DebianRoot(directory, architecture, await Arm64Namespace.enter(directory));
    await mustRun(["mount", "-t", "proc", "proc", path.join(directory, "proc")]);
    return new DebianRoot(directory, architecture, undefined);
  }

  /** Whether its programs run here without an emulator. */
  get native(): boolean {
    return this.#namespace === undefined;
  }

  at(...parts: string[]): string {
    return path.join(this.directory, ...parts);
  }

  /** A file that an administrator writes, below directories that are made. */
  put(file: string, text: string): void {
    mkdirSync(path.dirname(this.at(file)), { recursive: true });
    writeFileSync(this.at(file), text);
  }

  /** The command for `run`, to be started otherwise. */
  command(...command: readonly string[]): readonly string[] {
    const variables = Object.entries(ENVIRONMENT).map((pair) => pair.join("="));
    return [...this.#enter(), "/usr/bin/env", "-i", ...variables, ...command];
  }

  /** By chroot; in the container when it is booted. A failure is a result. */
  async run(...command: readonly string[]): Promise<RunResult> {
    return await run(this.command(...command), { timeoutMs: COMMAND_MS });
  }

  /** The output of what must succeed. */
  async must(...command: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(...command);
    if (exitCode === 0) return stdout;
    throw new Error(`${command.join(" ")} ended with ${exitCode}:\n${stdout}\n${stderr}`);
  }

  /** What `systemd-analyze verify` says of units. A root without systemd gets the units that theirs rest upon, which are no program's. */
  async verifyUnits(units: readonly string[]): Promise<string> {
    const verify = ["systemd-analyze", "verify", "--man=no"];
    const place = "usr/lib/systemd/system";
    if (!this.native) {
      const theirs = path.join(await baseOf(nativeArchitecture()), place);
      await mustRun(["cp", "-a", "--no-clobber", `${theirs}/.`, this.at(place)]);
    }
    const { exitCode, stdout, stderr } = this.native
      ? await this.run(...verify, ...units)
      : await run([...verify, `--root=${this.directory}`, ...units]);
    return exitCode === 0 ? stdout + stderr : `${stdout}${stderr}It ended with ${exitCode}.`;
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
    await this.#namespace?.leave();
    await this.#unmount();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #enter(): readonly string[] {
    if (this.#namespace !== undefined) return this.#namespace.prefix();
    if (this.#leader === undefined) return ["chroot", this.directory];
    return ["nsenter", `--target=${this.#leader}`, "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"];
  }

  async #unmount(): Promise<void> {
    const proc = this.at("proc");
    if (readFileSync("/proc/mounts", "utf8").includes(` ${proc} `)) await mustRun(["umount", proc]);
  }
}

/** The one that is kept. */
async function baseOf(architecture: Architecture): Promise<string> {
  const base = path.join(RESULTS_DIRECTORY, `debian-${RELEASE}-${architecture}`);
  if (existsSync(base)) return base;
  mkdirSync(RESULTS_DIRECTORY, { recursive: true });
  const unfinished = `${base}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  const foreign = architecture !== nativeArchitecture();
  await (foreign ? makeForeign(unfinished, architecture) : debootstrap(unfinished, SYSTEMD));
  renameSync(unfinished, base);
  return base;
}

async function debootstrap(directory: string, ...flags: readonly string[]): Promise<void> {
  await mustRun(["debootstrap", "--variant=minbase", ...flags, RELEASE, directory], { timeoutMs: MAKE_MS });
}

/** Unpacked here, and configured by its own programs; without systemd, which could not be booted and takes a minute more. */
async function makeForeign(directory: string, architecture: Architecture): Promise<void> {
  await debootstrap(directory, `--arch=${architecture}`, "--foreign");
  const namespace = await Arm64Namespace.enter(directory);
  // Nothing here need survive a crash.
  const unsafe = path.join(directory, "etc/dpkg/dpkg.cfg.d/unsafe-io");
  writeFileSync(unsafe, "force-unsafe-io\n");
  try {
    // As in lxc it does not try to make a device.
    const environment = ["/usr/bin/env", "-i", "container=lxc", "LC_ALL=C", `PATH=${ENVIRONMENT["PATH"]}`];
    const second = ["/debootstrap/debootstrap", "--second-stage"];
    await mustRun([...namespace.prefix(), ...environment, ...second], { timeoutMs: MAKE_MS });
  } finally {
    await namespace.leave();
  }
  rmSync(unsafe);
}

/** Looks again until it is so. */
export async function eventually(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + BOOT_MS;
  while (!(await look())) {
    if (performance.now() > endMs) throw new Error(`after ${BOOT_MS / 1000} s it is not so that ${what}`);
    await Bun.sleep(200);
  }
}
