/**
 * What a new administrator does in the first hour, in a Debian root with nothing but the packages: a machine with files and a database, the
 * programs set up, started and stopped. Each step is timed. What must come of it is said by the test.
 */
import { readFileSync } from "node:fs";
import { parse, stringify } from "yaml";
import type { Program } from "#scripts/lib/executables.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { type DebianRoot, eventually } from "#test/support/debian-root.ts";
import { WatchedProcess } from "#test/support/watched-process.ts";

export const AGENT = "web-01";
export const ENTRY = "system";
export const STORAGE = "main";
export const BASE_DIR = "/srv/nbackup";

/** How the programs run: as units of a booted systemd, or as an administrator starts them where there is none. */
export interface Services {
  start(program: Program): Promise<void>;
  reload(program: Program): Promise<void>;
  stop(program: Program): Promise<void>;
  readonly kind: "systemd" | "by hand";
}

export class Systemd implements Services {
  readonly kind = "systemd";
  readonly #root: DebianRoot;

  constructor(root: DebianRoot) {
    this.#root = root;
  }

  async start(program: Program): Promise<void> {
    await this.#root.must("systemctl", "enable", "--now", `nbackup-${program}`);
  }

  async reload(program: Program): Promise<void> {
    await this.#root.must("systemctl", "reload", `nbackup-${program}`);
  }

  async stop(program: Program): Promise<void> {
    await this.#root.must("systemctl", "stop", `nbackup-${program}`);
  }
}

/** As any other supervisor would: in the foreground, the server as its user. */
export class ByHand implements Services {
  readonly kind = "by hand";
  readonly #root: DebianRoot;
  readonly #running = new Map<Program, WatchedProcess>();

  constructor(root: DebianRoot) {
    this.#root = root;
  }

  async start(program: Program): Promise<void> {
    const name = `nbackup-${program}`;
    const command = program === "server" ? ["runuser", "-u", "nbackup", "--", name] : [name];
    const started = new WatchedProcess(this.#root.command(...command), { cwd: "/" });
    this.#running.set(program, started);
    await eventually(`${name} answers`, async () => {
      if (!started.running) throw new Error(`${name} ended: ${started.output}`);
      return (await this.#root.run(name, "status")).exitCode === 0;
    });
  }

  async reload(program: Program): Promise<void> {
    await this.#signal(program, "HUP");
  }

  async stop(program: Program): Promise<void> {
    await this.#signal(program, "TERM");
    await this.#running.get(program)?.end();
    this.#running.delete(program);
  }

  /** What was started here is what entered the root; the program says its own number. */
  async #signal(program: Program, signal: "HUP" | "TERM"): Promise<void> {
    const { pid } = JSON.parse(await this.#root.must(`nbackup-${program}`, "status", "--json")) as { pid: number };
    await this.#root.must("sh", "-c", `kill -${signal} ${pid}`);
  }
}

/** Seconds of each step, for docs/packages.md. */
export class Steps {
  readonly #rows: string[] = [];

  async time<T>(step: string, act: () => Promise<T>): Promise<T> {
    const started = performance.now();
    const result = await act();
    this.#rows.push(`${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s  ${step}`);
    return result;
  }

  toString(): string {
    return this.#rows.join("\n");
  }
}

/** Another one to be read by root only, one that dumps a database as its own user, and what else a file can be. */
const FILES = `
set -e
mkdir -p /home/maria/notes /srv/app /var/lib/postgresql
head -c 8000000 /dev/urandom > /srv/app/data.bin
seq 200000 > /home/maria/notes/numbers
echo secret > /home/maria/diary && chmod 0 /home/maria/diary
ln /home/maria/diary /home/maria/linked
ln -s notes/numbers /home/maria/symbolic
truncate -s 32M /srv/app/sparse && echo end >> /srv/app/sparse
mkfifo /srv/app/pipe
chown -R 1234:1235 /home/maria
useradd --system postgres
echo "a table" > /var/lib/postgresql/table
chown -R postgres /var/lib/postgresql && chmod -R go= /var/lib/postgresql
printf '#!/bin/sh\nid -un\ncat /var/lib/postgresql/table\n' > /usr/bin/pg_dump && chmod 755 /usr/bin/pg_dump
`;

export const DUMP = "postgres\na table\n";
const SOURCES = ["/home", "/srv/app", "/var/lib/postgresql"];

export async function makeFiles(root: DebianRoot): Promise<void> {
  await root.must("sh", "-c", FILES);
  // Only where it is the machine's own root may it be given.
  if (root.native) await mustRun(["setfattr", "-n", "trusted.nbackup", "-v", "seen", root.at("home/maria/diary")]);
}

/** GNU tar of this machine, as the judge of what lies in a directory of the root. */
export async function compare(root: DebianRoot, archive: string, below = "/"): Promise<void> {
  const flags = ["--compare", "--gzip", "--numeric-owner"];
  const said = await mustRun(["tar", ...flags, "--file", root.at(BASE_DIR, archive), "--directory", root.at(below)]);
  if (said !== "") throw new Error(`${archive} is not what lies in ${below}:\n${said}`);
}

export interface Listed {
  readonly archive: string;
  readonly problems: number;
}

/** By the agent, over the network; the newest first. */
export async function listed(root: DebianRoot): Promise<readonly Listed[]> {
  const text = await root.must("nbackup-agent", "list", "--json");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Listed]));
}

interface AgentYaml {
  readonly backups: readonly object[];
}

/** What enroll does not know: when to back up, and that there is a database. */
export async function amendEntry(root: DebianRoot, schedule: string): Promise<void> {
  const hooks = { before: "runuser -u postgres -- pg_dump > /srv/app/dump.sql" };
  await writeBackups(root, (backups) => backups.map((entry) => ({ ...entry, schedule, schedule_jitter: "0s", hooks })));
}

/** Reads a file that the programs wrote, and writes it changed. */
export async function rewrite<T extends object>(
  root: DebianRoot,
  file: string,
  change: (value: T) => T,
): Promise<void> {
  root.put(file, stringify(change(parse(readFileSync(root.at(file), "utf8")) as T)));
}

export async function writeBackups(
  root: DebianRoot,
  change: (backups: readonly object[]) => readonly object[],
): Promise<void> {
  await rewrite<AgentYaml>(root, "/etc/nbackup/agent.yaml", (yaml) => ({ ...yaml, backups: change(yaml.backups) }));
  await root.must("nbackup-agent", "check-config");
}

/** The contents of what an administrator or the programs made below these directories, by path. */
export async function sums(root: DebianRoot, ...directories: readonly string[]): Promise<string> {
  return await root.must(
    "sh",
    "-c",
    'find "$@" -type f ! -name "*.example" -exec sha256sum {} + | sort -k 2',
    "sh",
    ...directories,
  );
}

export interface Ports {
  readonly data: number;
  readonly enroll: number;
}

/** With an answer in an option for each question. */
export async function setUpServer(root: DebianRoot, ports: Ports): Promise<void> {
  const listen = [`--listen=127.0.0.1:${ports.data}`, `--enroll-listen=127.0.0.1:${ports.enroll}`];
  const storage = `--storage=${STORAGE}=${BASE_DIR}`;
  await root.must("nbackup-server", "setup", "--yes", "--hosts=localhost", ...listen, storage);
}

/** With a token of the running server, by the command that comes with it. */
export async function enroll(root: DebianRoot): Promise<void> {
  const command = (await root.must("nbackup-server", "pki", "enroll-token", AGENT)).trim();
  await root.must(...command.split(" "), ...SOURCES.map((source) => `--source=${source}`));
}

/** By --once; the archive. */
export async function backUp(root: DebianRoot): Promise<string> {
  const report = JSON.parse(await root.must("nbackup-agent", "--once", "--json")) as { archive: string };
  return report.archive;
}
