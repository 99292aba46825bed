/** Loads sample configurations from test/fixtures/config, or from text, on a disk where one symbolic link exists. */
import path from "node:path";
import { type ConfigDisk, linuxConfigDisk } from "#config/disk.ts";
import { type Loaded, loadAgentConfig, loadServerConfig } from "#config/load.ts";
import { ConfigFailure, type ConfigProblem, problemText } from "#config/problem.ts";
import type { Environment } from "#config/state-dir.ts";
import type { AgentConfig, ServerConfig } from "#config/types.ts";

export const FIXTURES = path.join(path.dirname(import.meta.dir), "fixtures", "config");

const LINK = "/mnt/link";
const LINK_TARGET = "/srv/backups/sub";

function realPath(file: string): string {
  return file === LINK || file.startsWith(`${LINK}/`) ? file.replace(LINK, LINK_TARGET) : file;
}

export const fixtureDisk: ConfigDisk = { read: (file) => linuxConfigDisk.read(file), realPath };

function diskOf(text: string | Uint8Array): ConfigDisk {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  return { read: () => bytes, realPath };
}

export function agentOf(text: string | Uint8Array): Loaded<AgentConfig> {
  return loadAgentConfig("agent.yaml", { disk: diskOf(text), env: {}, workingDir: "/etc/nbackup" });
}

export function serverOf(
  text: string | Uint8Array,
  env: Environment = {},
  file = "/etc/nbackup/server.yaml",
): Loaded<ServerConfig> {
  return loadServerConfig(file, { disk: diskOf(text), env, workingDir: "/" });
}

/** The ConfigFailure that `load` throws. */
export function failureOf(load: () => unknown): ConfigFailure {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigFailure) return error;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

/** Sentences and hints, one per line. */
export function problemLines(problems: readonly ConfigProblem[]): string {
  return problems
    .flatMap((problem) => [problemText(problem), ...(problem.hint === undefined ? [] : [`  HINT: ${problem.hint}`])])
    .map((line) => `${line}\n`)
    .join("");
}

/** A whole agent.yaml with more top-level lines and more keys of its entry. */
export function agentYaml(more: string, entry = ""): string {
  return `agent: {name: web-01}
server: {address: "backup.example.com:9847"}
tls: {ca_cert: ca.pem, client_cert: c.pem, client_key: k.pem}
backups:
  - name: home
    storage: main
    sources: [{path: /home}]
    ${entry}
${more}
`;
}

/** A whole server.yaml with more top-level lines and more keys of its storage. */
export function serverYaml(more: string, storage = ""): string {
  return `tls: {ca_cert: ca.pem, server_cert: s.pem, server_key: k.pem}
storages:
  main:
    base_dir: /srv/main
    max_backups: 7
    ${storage}
${more}
`;
}
