/**
 * The page of a compiled server as a person has it: a site whose server serves the page, real backups of a tree with names that would run
 * as HTML, and a browser. What stands on the page is the test's to look at.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { freePort } from "#scripts/lib/background.ts";
import { Chromium, type OpenedPage } from "#test/support/chromium.ts";
import { serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentEnd, type ServerSettings, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

/** Names of a file and of a directory: whoever takes them for HTML runs what they say. */
export const HOSTILE_FILE = "<img src=x onerror=\"document.title='owned'\">";
export const HOSTILE_DIRECTORY = "<svg onload=document.title='owned'>";
export const PASSWORD = "correct horse battery";
const FILE_BYTES = 300_000;
/** Nothing compresses it: at 64 kB a second it takes longer than any test looks. */
const SLOW_BYTES = 20_000_000;

type Yaml = Record<string, unknown>;

export class PageSite {
  readonly site: Site;
  readonly browser = new Chromium();
  readonly pagePort = freePort();
  #server: ServerProcess | undefined;
  #settings: ServerSettings = {};
  #configFile = "";

  private constructor(site: Site) {
    this.site = site;
  }

  static async make(agents?: readonly string[]): Promise<PageSite> {
    const site = await Site.make(agents);
    mkdirSync(site.at("source/etc/nginx"), { recursive: true });
    writeFileSync(site.at("source/file"), patternBytes(FILE_BYTES));
    writeFileSync(site.at("source", HOSTILE_FILE), "its content");
    writeFileSync(site.at("source/etc/nginx/nginx.conf"), "worker_processes 1;\n");
    mkdirSync(site.at("slow"));
    writeFileSync(site.at("slow/noise"), randomBytes(SLOW_BYTES));
    return new PageSite(site);
  }

  get url(): string {
    return `http://127.0.0.1:${this.pagePort}`;
  }

  get server(): ServerProcess {
    if (this.#server === undefined) throw new Error("no server was started");
    return this.#server;
  }

  /** `webUi` beside the usual keys. */
  async start(settings: ServerSettings = {}): Promise<void> {
    const webUi = { enabled: true, listen: `127.0.0.1:${this.pagePort}`, allow_origins: ["127.0.0.1"] };
    this.#settings = { ...settings, webUi: { ...webUi, ...settings.webUi } };
    this.#server = await this.site.startServer(this.#settings);
    this.#settings = { ...this.#settings, port: this.#server.port };
    this.#configFile = (await this.site.serverConfig(this.#settings)).file;
  }

  /** With the same configuration, on the same ports. */
  async startAgain(): Promise<void> {
    this.#server = await this.site.startServer(this.#settings);
  }

  /** A password file that the program has made itself, as keys of web_ui. */
  async password(): Promise<Yaml> {
    const file = this.site.at("password");
    const command = [this.site.executables.server, "web-password", "--output", file];
    const made = Bun.spawn(command, { stdin: new Blob([`${PASSWORD}\n`]), stdout: "ignore", stderr: "inherit" });
    if ((await made.exited) !== 0) throw new Error("the server made no password file");
    return { password_file: file };
  }

  entry(name: string, keys: Yaml = {}): Yaml {
    return { name, storage: STORAGE, sources: [{ path: this.site.at("source") }], ...keys };
  }

  /** One that runs until somebody ends it. */
  slowEntry(name: string, keys: Yaml = {}): Yaml {
    return this.entry(name, { sources: [{ path: this.site.at("slow") }], bandwidth_limit: "64kb", ...keys });
  }

  async backUp(entry: Yaml, keys: { readonly name?: string; readonly stateDir?: string } = {}): Promise<AgentEnd> {
    return await this.site.once({ port: this.server.port, backups: [entry], ...keys });
  }

  /** Resolves when the server has admitted it. */
  async begin(entry: Yaml, name?: string): Promise<WatchedProcess> {
    const settings = { port: this.server.port, backups: [entry], ...(name === undefined ? {} : { name }) };
    const agent = this.site.startAgent(await this.site.agentConfig(settings), ["--once", "--json"]);
    await this.server.printed(new RegExp(`"event":"session.admitted".*"backup":"${String(entry["name"])}"`));
    return agent;
  }

  /** A run that doubts its source, whose name is in what the server says of the session. */
  async doubtedBackUp(): Promise<void> {
    const { site } = this;
    const stateDir = site.at("agent-state");
    const source = site.at(HOSTILE_DIRECTORY);
    mkdirSync(`${stateDir}/entries`, { recursive: true });
    mkdirSync(source);
    writeFileSync(`${source}/file`, "content");
    const entry = this.entry("doubted", { sources: [{ path: source }] });
    await this.backUp(entry, { stateDir });
    rmSync(`${source}/file`);
    await this.backUp(entry, { stateDir });
    await this.server.event("rotation.held");
  }

  async command(...args: readonly string[]): Promise<string> {
    const end = await serverCommand(this.site, this.#configFile, args);
    if (end.exitCode !== 0) throw new Error(`nbackup-server ${args.join(" ")}: ${end.stdout}${end.stderr}`);
    return end.stdout;
  }

  /** Closes browser and processes, and removes all. */
  async remove(): Promise<void> {
    await this.browser.close();
    await this.site.remove();
  }
}

/** Resolves when a view's heading is there, its stream is, and nothing of it loads. */
export async function settled({ page }: OpenedPage): Promise<void> {
  await page.locator("main h1").first().waitFor({ state: "attached" });
  await page.locator(".connection.live").waitFor();
  await page.locator(".loading").waitFor({ state: "detached" });
}
