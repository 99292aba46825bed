/**
 * Machines for what a manual tells root to type: each sees this system with an /etc, /home, /mnt, /root, /srv and /var/lib of its own, all of them share a
 * network of their own in which their names lead to each other. So commands run as they are printed, with their paths and ports, and leave
 * nothing. Namespaces of Linux, only as root.
 */
import { chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { run, type RunResult } from "#scripts/lib/run.ts";

const OWN = ["etc", "home", "mnt", "root", "srv", "var/lib"];
/** What programs look for in /etc. */
const COPIED = ["group", "hostname", "ld.so.cache", "nsswitch.conf", "passwd"];
const COMMAND_MS = 60_000;

/** Why there can be none here; undefined when there can. */
export function whyNoMachines(): string | undefined {
  if (process.getuid?.() !== 0) return "only root may make namespaces";
  const missing = ["ip", "nsenter", "unshare", "setpriv"].filter((name) => Bun.which(name) === null);
  return missing.length === 0 ? undefined : `${missing.join(", ")} is not installed`;
}

type Holder = Bun.Subprocess<"ignore", "pipe", "inherit">;

export class Network {
  readonly #holder: Holder;
  readonly #machines: Machine[] = [];

  private constructor(holder: Holder) {
    this.#holder = holder;
  }

  static async make(): Promise<Network> {
    return new Network(await hold(["unshare", "--net"], "ip link set lo up"));
  }

  /** `hosts` are names that lead to this network's only address. */
  async machine(directory: string, hosts: readonly string[], bin: string): Promise<Machine> {
    for (const name of OWN) mkdirSync(path.join(directory, name), { recursive: true });
    const etc = path.join(directory, "etc");
    for (const name of COPIED) if (existsSync(`/etc/${name}`)) copyFileSync(`/etc/${name}`, path.join(etc, name));
    writeFileSync(path.join(etc, "hosts"), `127.0.0.1 localhost ${hosts.join(" ")}\n`);
    const mounts = OWN.map((name) => `mount --bind '${path.join(directory, name)}' /${name}`);
    const within = ["nsenter", `--target=${this.#holder.pid}`, "--net", "unshare", "--mount"];
    const machine = new Machine(directory, await hold(within, mounts.join(" && ")), bin);
    this.#machines.push(machine);
    return machine;
  }

  /** Ends all that runs there. */
  async remove(): Promise<void> {
    for (const machine of this.#machines) await machine.remove();
    this.#holder.kill("SIGKILL");
    await this.#holder.exited;
  }
}

export class Machine {
  readonly #directory: string;
  readonly #holder: Holder;
  readonly #bin: string;
  readonly #running: Bun.Subprocess[] = [];

  constructor(directory: string, holder: Holder, bin: string) {
    this.#directory = directory;
    this.#holder = holder;
    this.#bin = bin;
  }

  /** Where a path of the machine is for others. */
  at(file: string): string {
    return path.join(this.#directory, file);
  }

  /** As a package would: a user of the system with its directory of state. */
  addUser(name: string, id: number, stateDirectory: string): void {
    writeFileSync(this.at("etc/passwd"), `${name}:x:${id}:${id}::/nonexistent:/usr/sbin/nologin\n`, { flag: "a" });
    writeFileSync(this.at("etc/group"), `${name}:x:${id}:\n`, { flag: "a" });
    mkdirSync(this.at(stateDirectory), { recursive: true, mode: 0o700 });
    chownSync(this.at(stateDirectory), id, id);
  }

  /** A line as root's shell takes it. A failure is a result. */
  async run(line: string): Promise<RunResult> {
    return await run(this.#command(line, "/root"), { timeoutMs: COMMAND_MS });
  }

  /** Starts what goes on running; it is ended with the machine. The process is the program itself. */
  start(line: string): Bun.Subprocess {
    const stdio = ["ignore", "ignore", Bun.file(this.at("log"))] as const;
    const process = Bun.spawn([...this.#command(`exec ${line}`, "/")], { stdio: [...stdio] });
    this.#running.push(process);
    return process;
  }

  /** What the programs that were started have said. */
  log(): string {
    return existsSync(this.at("log")) ? readFileSync(this.at("log"), "utf8") : "";
  }

  async remove(): Promise<void> {
    for (const one of [...this.#running, this.#holder]) {
      one.kill("SIGKILL");
      await one.exited;
    }
  }

  #command(line: string, directory: string): readonly string[] {
    const env = ["env", "-i", "HOME=/root", "LC_ALL=C", `PATH=${this.#bin}:/usr/sbin:/usr/bin:/sbin:/bin`];
    const enter = ["nsenter", `--target=${this.#holder.pid}`, "--mount", "--net"];
    return [...enter, ...env, "bash", "-euo", "pipefail", "-c", `cd ${directory}; ${line}`];
  }
}

/** A process that keeps namespaces, which `script` makes ready. */
async function hold(within: readonly string[], script: string): Promise<Holder> {
  const command = [...within, "sh", "-c", `${script} && echo ready && exec sleep infinity`];
  const holder = Bun.spawn(command, { stdio: ["ignore", "pipe", "inherit"] });
  const { value } = await holder.stdout.getReader().read();
  if (value === undefined) throw new Error(`${command.join(" ")} ended with ${await holder.exited}`);
  return holder;
}
