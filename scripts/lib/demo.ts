/** The quickstart's certificates and configuration: what an administrator would write by hand, made in one folder. */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { stringify } from "yaml";
import { mustRun } from "./run.ts";

const AGENT_NAME = "demo-agent";
const BACKUP_NAME = "tree";
const STORAGE_NAME = "demo";

export interface Demo {
  readonly directory: string;
  readonly serverConfig: string;
  readonly agentConfig: string;
  readonly serverLog: string;
  /** Where the archives of the demo's backup entry appear. */
  readonly archives: string;
  readonly restored: string;
}

export interface DemoOptions {
  /** Made anew: what an earlier run left there is removed. */
  readonly directory: string;
  readonly serverExecutable: string;
  readonly port: number;
  readonly source: string;
  /** Absolute paths below the source that are not backed up. */
  readonly exclude: readonly string[];
}

/** Makes a CA, a certificate for the server on the loopback interface and one for the agent. */
async function makeCertificates(serverExecutable: string, directory: string): Promise<void> {
  const pki = async (...what: string[]): Promise<void> => {
    await mustRun([serverExecutable, "pki", ...what, "--dir", directory]);
  };
  await pki("init");
  await pki("server", "localhost,127.0.0.1");
  await pki("agent", AGENT_NAME);
}

/** Prepares the folder: certificates, server.yaml and agent.yaml, and nothing of an earlier run. */
export async function prepareDemo(options: DemoOptions): Promise<Demo> {
  const { directory, port } = options;
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const inside = (...parts: string[]): string => path.join(directory, ...parts);
  await makeCertificates(options.serverExecutable, inside("pki"));
  const demo: Demo = {
    directory,
    serverConfig: inside("server.yaml"),
    agentConfig: inside("agent.yaml"),
    serverLog: inside("server.log"),
    archives: inside("storage", AGENT_NAME, BACKUP_NAME),
    restored: inside("restored"),
  };
  const ca = inside("pki/ca.pem");
  await writeYaml(demo.serverConfig, {
    server: { listen: `127.0.0.1:${port}`, state_dir: inside("state") },
    tls: { ca_cert: ca, server_cert: inside("pki/server.pem"), server_key: inside("pki/server-key.pem") },
    storages: { [STORAGE_NAME]: { base_dir: inside("storage"), max_backups: 3 } },
    logging: { level: "info", format: "text" },
  });
  await writeYaml(demo.agentConfig, {
    agent: { name: AGENT_NAME },
    server: { address: `127.0.0.1:${port}` },
    tls: {
      ca_cert: ca,
      client_cert: inside(`pki/${AGENT_NAME}.pem`),
      client_key: inside(`pki/${AGENT_NAME}-key.pem`),
    },
    backups: [
      {
        name: BACKUP_NAME,
        storage: STORAGE_NAME,
        sources: [{ path: options.source }],
        exclude: options.exclude,
        parallels: 4,
      },
    ],
    logging: { level: "warn", format: "text" },
  });
  await mkdir(demo.restored);
  return demo;
}

async function writeYaml(file: string, value: unknown): Promise<void> {
  await Bun.write(file, stringify(value));
}
