/**
 * One end-to-end test's world in a temporary directory: the executables copied there, certificates, storages, sources
 * and configurations. Everything it starts or mounts is gone after `remove`.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { stringify } from "yaml";
import { freePort } from "#scripts/lib/background.ts";
import { mustRun, run } from "#scripts/lib/run.ts";
import { type Executables, executablesIn } from "#test/support/executables.ts";
import { type DemoPair, type DemoPki, makeDemoPki } from "#test/support/pki.ts";
import { ServerProcess } from "#test/support/server-process.ts";
import { type ProcessEnd, WAIT_MS, WatchedProcess } from "#test/support/watched-process.ts";

export const AGENT = "web-1";
export const STORAGE = "main";

type Yaml = Record<string, unknown>;

export interface ServerSettings {
  readonly env?: Record<string, string>;
  /** Keys under `server`. */
  readonly server?: Yaml;
  /** By name; `base_dir` and `max_backups` are filled in. One called `main` unless told. */
  readonly storages?: Record<string, Yaml>;
  readonly tls?: Yaml;
  readonly webUi?: Yaml;
  readonly flowRotation?: Yaml;
  readonly logging?: Yaml;
  readonly port?: number;
  /** Certificate other than the usual one. */
  readonly pair?: DemoPair;
}

export interface AgentSettings {
  readonly port: number;
  readonly name?: string;
  readonly host?: string;
  readonly pair?: DemoPair;
  readonly caPath?: string;
  readonly backups: readonly Yaml[];
  readonly retry?: Yaml;
  readonly resume?: Yaml;
  readonly resources?: Yaml;
  readonly logging?: Yaml;
  /** For the daemon; without it `--once` remembers nothing. */
  readonly stateDir?: string;
  readonly daemon?: Yaml;
  readonly tls?: Yaml;
}

/** The object that `--once --json` prints. */
export interface OnceJson {
  readonly backup: string;
  readonly storage: string;
  readonly session: string | null;
  readonly result: "committed" | "failed";
  readonly archive: string | null;
  readonly sha256: string | null;
  readonly entries: number;
  readonly rawBytes: number;
  readonly archiveBytes: number;
  readonly resentBytes: number;
  readonly verify: "none" | "pending" | "ok" | "damaged" | "unknown";
  readonly skipped: readonly { readonly path: string; readonly reason: string; readonly errno?: string }[];
  readonly sockets: readonly string[];
  readonly socketCount: number;
  readonly durationMs: number;
}

export interface AgentEnd extends ProcessEnd {
  /** Of `--json`; empty without. */
  readonly reports: readonly OnceJson[];
}

/** Small delays: tests of retries should not wait for minutes. */
export const QUICK_RETRY = { max_attempts: 5, initial_delay: "50ms", max_delay: "500ms" };

export class Site {
  readonly directory: string;
  readonly executables: Executables;
  readonly pki: DemoPki;
  readonly #processes: WatchedProcess[] = [];
  readonly #mounts: string[] = [];
  #configs = 0;

  private constructor(directory: string, executables: Executables, pki: DemoPki) {
    this.directory = directory;
    this.executables = executables;
    this.pki = pki;
  }

  static async make(agents: readonly string[] = [AGENT]): Promise<Site> {
    const directory = realpathSync(mkdtempSync(path.join(tmpdir(), "nbackup-e2e-")));
    try {
      // Some tests run the agent as somebody else.
      chmodSync(directory, 0o755);
      const executables = await executablesIn(path.join(directory, "bin"));
      const pki = await makeDemoPki(path.join(directory, "pki"), { agents });
      mkdirSync(path.join(directory, "cwd"));
      return new Site(directory, executables, pki);
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  at(...parts: string[]): string {
    return path.join(this.directory, ...parts);
  }

  /** Where the storage's archives are. */
  storage(name = STORAGE): string {
    return this.at("storage", name);
  }

  /** Writes a server.yaml and returns its path with the port it names. */
  async serverConfig(settings: ServerSettings = {}): Promise<{ file: string; port: number }> {
    const port = settings.port ?? freePort();
    const { pki } = this;
    const pair = settings.pair ?? pki.server;
    const storages = Object.entries(settings.storages ?? { [STORAGE]: {} }).map(([name, keys]): [string, Yaml] => [
      name,
      { base_dir: this.storage(name), max_backups: 50, ...keys },
    ]);
    const file = await this.#write("server", {
      server: { listen: `127.0.0.1:${port}`, state_dir: this.at("state"), shutdown_timeout: "10s", ...settings.server },
      tls: { ca_cert: pki.caPath, server_cert: pair.certPath, server_key: pair.keyPath, ...settings.tls },
      storages: Object.fromEntries(storages),
      ...(settings.webUi === undefined ? {} : { web_ui: settings.webUi }),
      ...(settings.flowRotation === undefined ? {} : { flow_rotation: settings.flowRotation }),
      logging: { level: "info", format: "json", ...settings.logging },
    });
    return { file, port };
  }

  async startServer(settings: ServerSettings = {}): Promise<ServerProcess> {
    const { file, port } = await this.serverConfig(settings);
    const server = await ServerProcess.start({
      executable: this.executables.server,
      configFile: file,
      port,
      cwd: this.at("cwd"),
      ...(settings.env === undefined ? {} : { env: settings.env }),
    });
    this.#processes.push(server);
    return server;
  }

  /** Writes an agent.yaml and returns its path. */
  async agentConfig(settings: AgentSettings): Promise<string> {
    const name = settings.name ?? AGENT;
    const pair = settings.pair ?? this.pki.agent(name);
    return await this.#write("agent", {
      agent: { name, ...(settings.stateDir === undefined ? {} : { state_dir: settings.stateDir }) },
      server: { address: `${settings.host ?? "127.0.0.1"}:${settings.port}` },
      tls: {
        ca_cert: settings.caPath ?? this.pki.caPath,
        client_cert: pair.certPath,
        client_key: pair.keyPath,
        ...settings.tls,
      },
      // Tests that ask for streams mean all of them at once, unless they say otherwise.
      backups: settings.backups.map((backup) => ({ auto_scaler: { enabled: false }, ...backup })),
      retry: settings.retry ?? QUICK_RETRY,
      resume: settings.resume ?? {},
      resources: { nice: 0, ...settings.resources },
      logging: { format: "json", ...settings.logging },
      ...(settings.daemon === undefined ? {} : { daemon: settings.daemon }),
    });
  }

  /** Starts `nbackup-agent --config FILE …`; `prefix` is a command that runs it, for instance as another user. */
  startAgent(
    configFile: string,
    args: readonly string[],
    prefix: readonly string[] = [],
    env: Record<string, string> = {},
  ): WatchedProcess {
    const command = [...prefix, this.executables.agent, "--config", configFile, ...args];
    const agent = new WatchedProcess(command, { cwd: this.at("cwd"), env });
    this.#processes.push(agent);
    return agent;
  }

  /** Runs `--once --json` to its end. */
  async once(settings: AgentSettings, args: readonly string[] = [], withinMs = WAIT_MS): Promise<AgentEnd> {
    const agent = this.startAgent(await this.agentConfig(settings), ["--once", "--json", ...args]);
    return agentEnd(await agent.end(withinMs));
  }

  /** A tmpfs of that size at a new directory. Only as root. */
  async mountTmpfs(name: string, size: string): Promise<string> {
    const directory = this.at(name);
    mkdirSync(directory, { recursive: true });
    await mustRun(["mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", directory]);
    this.#mounts.push(directory);
    return directory;
  }

  /** Ends what runs, unmounts what is mounted, removes all. */
  async remove(): Promise<void> {
    for (const process of this.#processes) if (process.running) process.kill("SIGKILL");
    await Promise.all(this.#processes.map((process) => process.end()));
    // What was mounted last may lie on what was mounted before.
    for (const mount of this.#mounts.toReversed()) await run(["umount", mount]);
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #write(what: string, value: Yaml): Promise<string> {
    this.#configs += 1;
    const file = this.at(`${what}-${this.#configs}.yaml`);
    await Bun.write(file, stringify(value));
    return file;
  }
}

/** The end of an agent's process with what it printed for programs. */
export function agentEnd(end: ProcessEnd): AgentEnd {
  const lines = end.stdout.split("\n").filter((line) => line.startsWith("{"));
  return { ...end, reports: lines.map((line) => JSON.parse(line) as OnceJson) };
}

/** Every file below a storage but the records of its own, sorted, relative: what a user and rotation see. */
export function archivesIn(storage: string): string[] {
  return filesIn(storage).filter((file) => !file.startsWith(".nbackup/"));
}

/** What unfinished sessions left behind: must be empty when none runs. */
export function leftoversIn(storage: string): string[] {
  return filesIn(storage).filter((file) => /^\.nbackup\/sessions\/.|\.part$/.test(file));
}

function filesIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return (readdirSync(directory, { recursive: true, withFileTypes: true }) as import("node:fs").Dirent[])
    .filter((entry) => !entry.isDirectory() || path.basename(entry.parentPath) === "sessions")
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)))
    .sort();
}
