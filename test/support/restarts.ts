/**
 * Ends a real server at chosen moments of a backup and starts it again on the same port, storage and state. The moments
 * are read off its disk and its log, so that the rare ones (hashing after a start, the middle of a commit) come up every
 * time. What must be true afterwards is the test's business.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { errnoName } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import type { ServerSettings, Site } from "#test/support/site.ts";
import { WatchedProcess } from "#test/support/watched-process.ts";

export type Moment =
  /** So much of the archive is on the disk, as a share of its length; of a lazy one, in its staged chunks. */
  | { readonly at: "progress"; readonly share: number }
  /** So long after the last start: what is on the disk is being hashed again, or the agent is just coming back. */
  | { readonly at: "start"; readonly afterMs: number }
  /** Staged chunks are being assembled: so much of the archive lies in its part file. Only lazy sessions have it. */
  | { readonly at: "assembly"; readonly share: number }
  /** The commit has begun: its checksum file is made, the archive has no name yet or just got it. */
  | { readonly at: "commit" }
  /** The archive has its name; the commit record and the answer may be on their way. */
  | { readonly at: "name" }
  /** The server has logged the commit: the agent has the answer, or not. */
  | { readonly at: "answer" };

export function momentText(moment: Moment): string {
  if (moment.at === "progress") return `${(100 * moment.share).toFixed(1)} % on disk`;
  if (moment.at === "assembly") return `${(100 * moment.share).toFixed(1)} % assembled`;
  return moment.at === "start" ? `${moment.afterMs} ms after the start` : moment.at;
}

/** Long enough for the hash of 1 GB. */
const START_MOMENT_MS_MAX = 700;

/** `count` moments of one backup in the order in which they can come; the last may be one of the commit's. */
export function drawMoments(random: Random, count: number, lazy: boolean): Moment[] {
  const shares = Array.from({ length: count }, () => 0.02 + 0.93 * random.unit()).sort((a, b) => a - b);
  const assembly: Moment = { at: "assembly", share: random.unit() };
  const lasts: readonly Moment[] = [{ at: "commit" }, { at: "name" }, { at: "answer" }, ...(lazy ? [assembly] : [])];
  return shares.map((share, index): Moment => {
    const [first, last] = [index === 0, index === count - 1];
    if (last && random.unit() < 0.6) return lasts[Math.floor(random.unit() * lasts.length)] ?? { at: "commit" };
    if (!first && random.unit() < 0.5) return { at: "start", afterMs: Math.floor(random.unit() * START_MOMENT_MS_MAX) };
    return { at: "progress", share };
  });
}

/** Coarser than this, and the moments of a commit are over before they are seen. */
const LOOK_EVERY_MS = 1;
/** There may be a thousand staged chunks to look at. */
const COUNT_EVERY_MS = 25;

export interface RestartsOptions {
  readonly site: Site;
  readonly settings: ServerSettings & { readonly port: number };
  /** The directory of the storage that is written to. */
  readonly storage: string;
  /** Where its archives of this entry appear, below the storage. */
  readonly entry: string;
}

/** A server that goes and comes. */
export class Restarts {
  readonly #options: RestartsOptions;
  /** Every process so far, the running one last. */
  readonly servers: ServerProcess[] = [];
  #startedAtMs = 0;

  constructor(options: RestartsOptions) {
    this.#options = options;
  }

  get server(): ServerProcess {
    const server = this.servers.at(-1);
    if (server === undefined) throw new Error("the server was not started");
    return server;
  }

  async start(): Promise<void> {
    const { site, settings } = this.#options;
    this.servers.push(await site.startServer(settings));
    this.#startedAtMs = performance.now();
  }

  /** Ends the server with that signal and starts another one when it is gone. */
  async restart(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.server.kill(signal);
    const { exitCode } = await this.server.end();
    if (signal === "SIGTERM" && exitCode !== 0) throw new Error(`the server ended with ${exitCode}`);
    await this.start();
  }

  /** Kills the server, then its successor so long after its beginning, served it by then or not, and starts a third one. */
  async restartTwice(afterMs: number): Promise<void> {
    this.server.kill("SIGKILL");
    await this.server.end();
    const { site, settings } = this.#options;
    const { file } = await site.serverConfig(settings);
    const successor = new WatchedProcess([site.executables.server, "--config", file], { cwd: site.at("cwd") });
    await Bun.sleep(afterMs);
    successor.kill("SIGKILL");
    await successor.end();
    await this.start();
  }

  /** Resolves with true when the moment has come, with false when the agent ends before it. */
  async reached(moment: Moment, archiveBytes: number, agent: WatchedProcess): Promise<boolean> {
    const { server } = this;
    const before = { names: this.#archives().length, commits: commitsOf(server) };
    while (!this.#isNow(moment, archiveBytes, before)) {
      if (!agent.running) return false;
      if (!server.running) throw new Error(`the server ended by itself:\n${server.output.slice(-2000)}`);
      await Bun.sleep(moment.at === "progress" ? COUNT_EVERY_MS : LOOK_EVERY_MS);
    }
    return true;
  }

  /** How often a session was admitted, over all servers: more than once, and the agent began anew. */
  get admissions(): number {
    return this.servers.reduce((count, server) => count + server.events("session.admitted").length, 0);
  }

  #isNow(moment: Moment, archiveBytes: number, before: { names: number; commits: number }): boolean {
    const named = (): boolean => this.#archives().length > before.names;
    switch (moment.at) {
      case "progress":
        return (
          Math.max(0, ...this.#parts("archive.part").map(sizeOf), this.#stagedBytes()) >= moment.share * archiveBytes
        );
      case "assembly":
        return Math.max(0, ...this.#parts("archive.part").map(sizeOf)) > moment.share * archiveBytes || named();
      case "start":
        return performance.now() - this.#startedAtMs >= moment.afterMs;
      case "commit":
        return this.#parts("checksum.part").some((file) => existsSync(file)) || named();
      case "name":
        return named();
      case "answer":
        return commitsOf(this.server) > before.commits;
    }
  }

  #parts(name: string): string[] {
    const sessions = path.join(this.#options.storage, ".nbackup/sessions");
    return namesIn(sessions).map((session) => path.join(sessions, session, name));
  }

  /** What lies in staged chunks and has not been assembled. */
  #stagedBytes(): number {
    let bytes = 0;
    for (const directory of this.#parts("chunks")) {
      for (const name of namesIn(directory, true))
        if (/\/0-\w+$/.test(name)) bytes += sizeOf(path.join(directory, name));
    }
    return bytes;
  }

  #archives(): string[] {
    return namesIn(path.join(this.#options.storage, this.#options.entry)).filter((name) => /\.tar\.\w+$/.test(name));
  }
}

const commitsOf = (server: ServerProcess): number => server.events("session.committed").length;

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** Nothing of a directory that is gone, which it may be at any moment. */
function namesIn(directory: string, recursive = false): string[] {
  try {
    return readdirSync(directory, { recursive }) as string[];
  } catch (error) {
    if (errnoName(error) === "ENOENT") return [];
    throw error;
  }
}
