/**
 * What a new administrator does in the first hour, in a Debian root with nothing but the packages: a machine with files and a database, the
 * programs set up, started and stopped. Each step is timed. What must come of it is said by the test.
 */
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
    await this.#root.must("systemctl", "start", `nbackup-${program}`);
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

  async stop(program: Program): Promise<void> {
    const status = JSON.parse(await this.#root.must(`nbackup-${program}`, "status", "--json")) as { pid: number };
    await this.#root.must("sh", "-c", `kill ${status.pid}`);
    await this.#running.get(program)?.end();
    this.#running.delete(program);
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
export const SOURCES = ["/home", "/srv/app", "/var/lib/postgresql"];

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

/** What setup and enroll do not know: what is backed up, and when. */
export async function writeEntry(root: DebianRoot, schedule: string): Promise<void> {
  const file = "/etc/nbackup/agent.yaml";
  const written = parse(await root.must("cat", file)) as Record<string, unknown>;
  const hooks = { before: "runuser -u postgres -- pg_dump > /srv/app/dump.sql" };
  const sources = SOURCES.map((source) => ({ path: source }));
  const backups = [{ name: ENTRY, storage: STORAGE, schedule, hooks, sources }];
  root.put(file, stringify({ ...written, backups }));
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

/** As docs/packages.md says it. */
export async function setUpServer(root: DebianRoot, address: string): Promise<void> {
  await root.must("nbackup-server", "pki", "init", "--dir", "/etc/nbackup");
  await root.must("nbackup-server", "pki", "server", "localhost", "--dir", "/etc/nbackup");
  await root.must("chown", "nbackup", "/etc/nbackup/server-key.pem");
  await root.must("install", "-d", "-o", "nbackup", "-g", "nbackup", "-m", "0700", BASE_DIR);
  root.put(
    "/etc/nbackup/server.yaml",
    stringify({
      server: { listen: address.replace("localhost", "127.0.0.1") },
      tls: { ca_cert: "ca.pem", server_cert: "server.pem", server_key: "server-key.pem" },
      storages: { [STORAGE]: { base_dir: BASE_DIR, max_backups: 5 } },
    }),
  );
  root.put("/etc/systemd/system/nbackup-server.service.d/storages.conf", `[Service]\nReadWritePaths=-${BASE_DIR}\n`);
  if (root.native) await root.must("systemctl", "daemon-reload");
}

export async function enroll(root: DebianRoot, address: string): Promise<void> {
  await root.must("nbackup-server", "pki", "agent", AGENT, "--dir", "/etc/nbackup");
  root.put(
    "/etc/nbackup/agent.yaml",
    stringify({
      agent: { name: AGENT },
      server: { address },
      tls: { ca_cert: "ca.pem", client_cert: `${AGENT}.pem`, client_key: `${AGENT}-key.pem` },
    }),
  );
}

/** By --once; the archive. */
export async function backUp(root: DebianRoot): Promise<string> {
  const report = JSON.parse(await root.must("nbackup-agent", "--once", "--json")) as { archive: string };
  return report.archive;
}
