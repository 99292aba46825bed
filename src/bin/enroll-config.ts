/** What an enrolled agent's configuration holds: sources that this machine has, and never the storages of a server beside it. */
import fs from "node:fs";
import path from "node:path";
import type { EnrollRequest } from "#cli/enroll-command.ts";
import { DEFAULT_AGENT_CONFIG_FILE, DEFAULT_SERVER_CONFIG_FILE } from "#config/defaults.ts";
import { linuxConfigDisk } from "#config/disk.ts";
import { loadServerConfig } from "#config/load.ts";
import { agentYaml, type MadeAgent } from "#config/made-agent.ts";
import { formatAddress } from "#net/address.ts";
import type { Message } from "#wire/messages.ts";
import { CERT_FILE, KEY_FILE } from "./enroll-files.ts";

/** What a machine has that no package brings back. Only those that are there are written down. */
const USUAL_SOURCES = [
  "/etc",
  "/home",
  "/root",
  "/srv",
  "/opt",
  "/usr/local",
  "/var/lib",
  "/var/mail",
  "/var/spool",
  "/var/www",
];

/** What makes itself again, or has a copy of its own. */
const USUAL_EXCLUDES = [
  "*/.cache/**",
  "*.tmp",
  "/var/lib/apt/lists/**",
  "/var/lib/nbackup/**",
  "/var/lib/nbackup-agent/**",
];

export interface EnrolledParts {
  readonly request: EnrollRequest;
  /** Absolute. */
  readonly configFile: string;
  readonly answer: Message<"certificate">;
  readonly agent: string;
  /** Without directory. */
  readonly caName: string;
}

export function enrolledYaml({ request, configFile, answer, agent, caName }: EnrolledParts): string {
  const at = (name: string): string => path.join(path.dirname(configFile), name);
  const isDefault = configFile === DEFAULT_AGENT_CONFIG_FILE;
  return agentYaml({
    name: agent,
    server: formatAddress({ host: request.server.host, port: answer.port }),
    ...{ caCert: at(caName), clientCert: at(CERT_FILE), clientKey: at(KEY_FILE), storages: answer.storages },
    ...whatToBackUp(request.sources, configFile),
    checkCommand: `nbackup-agent check-config${isDefault ? "" : ` --config ${configFile}`}`,
  });
}

function whatToBackUp(wanted: readonly string[], configFile: string): Pick<MadeAgent, "sources" | "exclude"> {
  const exclude = [...USUAL_EXCLUDES, ...storagesHere(configFile).map((dir) => `${dir}/**`)];
  if (wanted.length > 0) return { sources: wanted.map((source) => ({ path: source, optional: false })), exclude };
  const sources = USUAL_SOURCES.filter((source) => fs.existsSync(source));
  return { sources: sources.map((source) => ({ path: source, optional: source !== "/etc" })), exclude };
}

/** Of a server on this machine: a backup of all backups would double each night. One that cannot be read has no say. */
function storagesHere(configFile: string): string[] {
  const files = new Set([DEFAULT_SERVER_CONFIG_FILE, path.join(path.dirname(configFile), "server.yaml")]);
  return [...files].flatMap((file) => {
    if (!fs.existsSync(file)) return [];
    try {
      const context = { disk: linuxConfigDisk, env: process.env, workingDir: process.cwd() };
      return loadServerConfig(file, context).config.storages.map(({ baseDir }) => baseDir);
    } catch {
      return []; // It is the server's business to say what is wrong with it.
    }
  });
}
