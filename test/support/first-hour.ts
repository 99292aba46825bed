/** A new user's first hour with the compiled programs: setup, a server, tokens, machines that enrol. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { freePort } from "#scripts/lib/background.ts";
import { run, type RunResult } from "#scripts/lib/run.ts";
import { type Executables, executablesIn } from "#test/support/executables.ts";
import { archivesIn } from "#test/support/site.ts";
import { ServerProcess } from "#test/support/server-process.ts";

/** A command that runs another one as nobody. */
export const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

export interface TokenJson {
  readonly agent: string;
  readonly token: string;
  readonly server: string;
  readonly expires: string;
  readonly replace: boolean;
}

export class FirstHour {
  readonly dir: string;
  readonly executables: Executables;
  readonly port = freePort();
  readonly enrollPort = freePort();
  #server: ServerProcess | undefined;

  private constructor(dir: string, executables: Executables) {
    this.dir = dir;
    this.executables = executables;
  }

  static async make(): Promise<FirstHour> {
    const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-first-hour-")));
    // Some of it runs as somebody else.
    fs.chmodSync(dir, 0o755);
    fs.mkdirSync(path.join(dir, "source"));
    fs.writeFileSync(path.join(dir, "source", "file"), "something\n");
    return new FirstHour(dir, await executablesIn(path.join(dir, "bin")));
  }

  at(...parts: string[]): string {
    return path.join(this.dir, ...parts);
  }

  get serverConfig(): string {
    return this.at("server", "server.yaml");
  }

  /** `nbackup-server setup` with everything in one directory; `prefix` runs it as somebody else. */
  async setup(more: readonly string[] = [], prefix: readonly string[] = []): Promise<RunResult> {
    const where = [`--listen=127.0.0.1:${this.port}`, `--enroll-listen=127.0.0.1:${this.enrollPort}`];
    const hosts = "--hosts=localhost,127.0.0.1";
    return await this.run([
      ...[...prefix, this.executables.server, "setup", "--yes", "--config", this.serverConfig],
      ...[...where, hosts, ...more],
    ]);
  }

  async startServer(): Promise<ServerProcess> {
    const { executables, serverConfig: configFile, port, dir: cwd } = this;
    this.#server = await ServerProcess.start({ executable: executables.server, configFile, port, cwd });
    return this.#server;
  }

  async stopServer(): Promise<void> {
    this.#server?.kill("SIGTERM");
    await this.#server?.end();
    this.#server = undefined;
  }

  async killServer(): Promise<void> {
    this.#server?.kill("SIGKILL");
    await this.#server?.end();
    this.#server = undefined;
  }

  server(...args: string[]): Promise<RunResult> {
    return this.run([this.executables.server, ...args, "--config", this.serverConfig]);
  }

  /** A token that must be made. */
  async token(agent: string, ...more: string[]): Promise<TokenJson> {
    const { exitCode, stdout, stderr } = await this.server("pki", "enroll-token", agent, "--json", ...more);
    if (exitCode !== 0) throw new Error(`no token: ${stderr}`);
    return JSON.parse(stdout) as TokenJson;
  }

  /** `nbackup-agent enroll` into a directory of its own; `name` is the directory's. */
  enroll(
    name: string,
    token: string,
    options: { readonly where?: string; readonly more?: readonly string[] } = {},
  ): Promise<RunResult> {
    const where = options.where ?? `127.0.0.1:${this.enrollPort}`;
    const source = `--source=${this.at("source")}`;
    return this.run([
      ...[this.executables.agent, "enroll", where, token, "--config", this.agentConfig(name), source],
      ...(options.more ?? []),
    ]);
  }

  agentConfig(name: string): string {
    return this.at(name, "agent.yaml");
  }

  agent(name: string, ...args: string[]): Promise<RunResult> {
    return this.run([this.executables.agent, "--config", this.agentConfig(name), ...args]);
  }

  archives(): string[] {
    return archivesIn(this.at("server", "storage"));
  }

  run(command: readonly string[]): Promise<RunResult> {
    return run(command, { cwd: this.dir, timeoutMs: 60_000 });
  }

  async remove(): Promise<void> {
    if (this.#server?.running === true) this.#server.kill("SIGKILL");
    await this.#server?.end();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
