/** What the benchmark ran on: the machine's kind and the versions of everything that took part. Names no host. */
import { cpus, release, totalmem } from "node:os";
import { VERSION } from "#scripts/lib/project.ts";
import { mustRun, run } from "#scripts/lib/run.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  /** Of the directory where archives are written. */
  readonly fileSystem: string;
  readonly versions: Readonly<Record<string, string>>;
}

const VERSION_COMMANDS: Readonly<Record<string, readonly string[]>> = {
  tar: ["tar", "--version"],
  pigz: ["pigz", "--version"],
  zstd: ["zstd", "--version"],
  socat: ["socat", "-V"],
  openssl: ["openssl", "version"],
  restic: ["restic", "version"],
  borg: ["borg", "--version"],
};

async function versionOf(command: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(command);
  return /\d+\.\d+[\w.]*/.exec(`${stdout}${stderr}`)?.[0] ?? "unknown";
}

export async function describeMachine(directory: string): Promise<Machine> {
  const versions: Record<string, string> = { nbackup: VERSION, bun: Bun.version };
  for (const [name, command] of Object.entries(VERSION_COMMANDS)) versions[name] = await versionOf(command);
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    fileSystem: (await mustRun(["findmnt", "-n", "-o", "FSTYPE", "-T", directory])).trim(),
    versions,
  };
}

export function machineText(machine: Machine): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const memory = `${(machine.memoryBytes / 2 ** 30).toFixed(0)} GB`;
  return `${machine.cpu}, ${machine.cores} cores, ${memory}, Linux ${machine.kernel}, ${machine.fileSystem}; ${versions.join(", ")}`;
}
