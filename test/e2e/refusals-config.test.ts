/** Wrong usage, configurations and certificates: both programs say what is wrong, exit as documented and start nothing. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { stringify } from "yaml";
import type { DemoPair } from "#test/support/pki.ts";
import { expiredBy, makeDemoPki } from "#test/support/pki.ts";
import { expectRefusal, type Refusal } from "#test/support/refusal.ts";
import { AGENT, Site, STORAGE } from "#test/support/site.ts";
import { type ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";
import { lacksRoot } from "#test/support/tree.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

let site: Site;
let expired: DemoPair;
let strange: DemoPair;

beforeAll(async () => {
  site = await Site.make([AGENT, "web-2"]);
  expired = await site.pki.addAgent(AGENT, expiredBy(Date.now()), "expired");
  strange = (await makeDemoPki(site.at("other-pki"), { agents: [AGENT] })).agent(AGENT);
  mkdirSync(site.at("source"));
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

type Yaml = Record<string, unknown>;

function run(
  program: "agent" | "server",
  args: readonly string[],
  prefix: readonly string[] = [],
): Promise<ProcessEnd> {
  const command = [...prefix, site.executables[program], ...args];
  return new WatchedProcess(command, { cwd: site.at("cwd") }).end();
}

function agentYaml(changes: Yaml = {}, pair: DemoPair = site.pki.agent(AGENT)): Yaml {
  return {
    agent: { name: AGENT },
    server: { address: "127.0.0.1:1" },
    tls: { ca_cert: site.pki.caPath, client_cert: pair.certPath, client_key: pair.keyPath },
    backups: [{ name: "all", storage: STORAGE, sources: [{ path: site.at("source") }] }],
    ...changes,
  };
}

function serverYaml(changes: Yaml = {}, pair: DemoPair = site.pki.server): Yaml {
  return {
    server: { listen: "127.0.0.1:1", state_dir: site.at("never") },
    tls: { ca_cert: site.pki.caPath, server_cert: pair.certPath, server_key: pair.keyPath },
    storages: { [STORAGE]: { base_dir: site.at("never", "storage"), max_backups: 3 } },
    ...changes,
  };
}

function write(name: string, content: Yaml | string): string {
  const file = site.at(name);
  writeFileSync(file, typeof content === "string" ? content : stringify(content));
  return file;
}

interface Case extends Refusal {
  readonly title: string;
  /** Path of the configuration file. */
  readonly file: () => string;
}

const AGENT_CASES: readonly Case[] = [
  {
    title: "a configuration file that does not exist",
    file: () => site.at("missing.yaml"),
    ...{ exit: 2, code: "E_CONFIG_READ", says: /missing\.yaml.*does not exist/ },
  },
  {
    title: "a directory instead of a configuration file",
    file: () => site.at("source"),
    ...{ exit: 2, code: "E_CONFIG_READ", says: /is a directory/ },
  },
  {
    title: "a file that is not YAML",
    file: () => write("not-yaml.yaml", "agent: {name: [\n"),
    ...{ exit: 2, code: "E_CONFIG", says: /not-yaml\.yaml:\d+/ },
  },
  {
    title: "a key that does not exist",
    file: () => write("unknown.yaml", agentYaml({ backup: [] })),
    ...{ exit: 2, code: "E_CONFIG", says: /unknown\.yaml:\d+.*backup/, hint: /backups/ },
  },
  {
    title: "a source inside another",
    file: () => {
      const sources = [{ path: site.at("source") }, { path: site.at("source", "below") }];
      return write("nested.yaml", agentYaml({ backups: [{ name: "all", storage: STORAGE, sources }] }));
    },
    ...{ exit: 2, code: "E_CONFIG", says: /source\/below/ },
  },
  {
    title: "a bandwidth limit below the least one",
    file: () => {
      const backups = [
        { name: "all", storage: STORAGE, sources: [{ path: site.at("source") }], bandwidth_limit: "1kb" },
      ];
      return write("slow.yaml", agentYaml({ backups }));
    },
    ...{ exit: 2, code: "E_CONFIG", says: /bandwidth_limit.*1kb.*64kb/ },
  },
  {
    title: "a window that cannot hold the chunks it is asked to",
    file: () => write("window.yaml", agentYaml({ resume: { buffer_size: "16mb", chunk_size: "16mb" } })),
    ...{ exit: 2, code: "E_CONFIG", says: /buffer_size/ },
  },
  {
    title: "a certificate that does not exist",
    file: () => {
      const pair = { ...site.pki.agent(AGENT), certPath: site.at("missing.pem") };
      return write("no-cert.yaml", agentYaml({}, pair));
    },
    ...{ exit: 2, code: "E_CERTIFICATE", says: /missing\.pem/ },
  },
  {
    title: "the key of another certificate",
    file: () => {
      const pair = { ...site.pki.agent(AGENT), keyPath: site.pki.agent("web-2").keyPath };
      return write("other-key.yaml", agentYaml({}, pair));
    },
    ...{ exit: 2, code: "E_CERTIFICATE", says: /does not belong to the certificate/ },
  },
  {
    title: "an expired certificate",
    file: () => write("expired.yaml", agentYaml({}, expired)),
    ...{ exit: 2, code: "E_CERTIFICATE", says: /expired\.pem/, hint: /pki agent/ },
  },
  {
    title: "a certificate of another CA than the one in tls.ca_cert",
    file: () => write("other-ca.yaml", agentYaml({}, strange)),
    ...{ exit: 2, code: "E_CERTIFICATE", says: /other-pki/ },
  },
  {
    title: "the certificate of another agent",
    file: () => write("other-cn.yaml", agentYaml({}, site.pki.agent("web-2"))),
    ...{ exit: 2, code: "E_IDENTITY", says: /web-1.*web-2/ },
  },
];

const SERVER_CASES: readonly Case[] = [
  {
    title: "a configuration file that does not exist",
    file: () => site.at("missing.yaml"),
    ...{ exit: 2, code: "E_CONFIG_READ", says: /missing\.yaml.*does not exist/ },
  },
  {
    title: "a key that does not exist",
    file: () => write("server-unknown.yaml", serverYaml({ storage: {} })),
    ...{ exit: 2, code: "E_CONFIG", says: /server-unknown\.yaml:\d+.*storage/, hint: /storages/ },
  },
  {
    title: "a storage inside another",
    file: () => {
      const storages = {
        outer: { base_dir: site.at("never"), max_backups: 1 },
        inner: { base_dir: site.at("never", "inner"), max_backups: 1 },
      };
      return write("server-nested.yaml", serverYaml({ storages, server: { listen: "127.0.0.1:1" } }));
    },
    ...{ exit: 2, code: "E_CONFIG", says: /inner\.base_dir/ },
  },
  {
    title: "a storage without max_backups",
    file: () => write("server-keep.yaml", serverYaml({ storages: { [STORAGE]: { base_dir: site.at("never") } } })),
    ...{ exit: 2, code: "E_CONFIG", says: /max_backups/ },
  },
  {
    title: "an agent's certificate as its own",
    file: () => write("server-agent.yaml", serverYaml({}, site.pki.agent(AGENT))),
    ...{ exit: 2, code: "E_CERTIFICATE", says: /web-1\.pem/, hint: /pki server/ },
  },
  {
    title: "an expired certificate",
    file: () => write("server-expired.yaml", serverYaml({}, expired)),
    ...{ exit: 2, code: "E_CERTIFICATE", says: /expired\.pem/ },
  },
];

describe("the agent refuses", () => {
  test.each([...AGENT_CASES])("$title", async (given) => {
    expectRefusal(await run("agent", ["--config", given.file(), "--once"]), given);
  });

  test.skipIf(lacksRoot())("a configuration file that it may not read", async () => {
    const file = write("secret.yaml", agentYaml());
    chmodSync(file, 0o600);
    const end = await run("agent", ["--config", file, "--once"], NOBODY);
    expectRefusal(end, { exit: 2, code: "E_CONFIG_READ", says: /may not be read/ });
  });

  test.skipIf(lacksRoot())("a key that it may not read", async () => {
    const { certPath, keyPath } = site.pki.agent(AGENT);
    chmodSync(site.at("pki"), 0o755);
    const copy = site.at("key-of-root.pem");
    copyFileSync(keyPath, copy);
    chmodSync(copy, 0o600);
    const file = write("key-of-root.yaml", agentYaml({}, { certPath, keyPath: copy }));
    const end = await run("agent", ["--config", file, "--once"], NOBODY);
    expectRefusal(end, { exit: 2, code: "E_CERTIFICATE", says: /key-of-root\.pem/ });
  });

  test.each([
    [["--onec"], /onec/],
    [["--once", "--backup"], /backup/],
    [["--backup", "all"], /backup/],
    [["frobnicate"], /frobnicate/],
  ] as const)("the arguments %p", async (args, says) => {
    expectRefusal(await run("agent", args), { exit: 2, code: "E_USAGE", says });
  });
});

describe("the server refuses", () => {
  test.each([...SERVER_CASES])("$title", async (given) => {
    expectRefusal(await run("server", ["--config", given.file()]), given);
    expect(existsSync(site.at("never"))).toBe(false);
  });
});

describe("check-config", () => {
  test.each([...AGENT_CASES])("of the agent says the same of $title", async (given) => {
    // Its exit status says one thing only: whether the file can be used.
    expectRefusal(await run("agent", ["check-config", "--config", given.file()]), { ...given, exit: 2 });
  });

  test.each([...SERVER_CASES])("of the server says the same of $title", async (given) => {
    expectRefusal(await run("server", ["check-config", "--config", given.file()]), given);
  });

  test("accepts what can be used, creates nothing and exits with 0", async () => {
    const agent = await run("agent", ["check-config", "--config", write("good-agent.yaml", agentYaml())]);
    expect({ exit: agent.exitCode, stderr: agent.stderr }).toEqual({ exit: 0, stderr: "" });
    const server = await run("server", ["check-config", "--config", write("good-server.yaml", serverYaml())]);
    expect({ exit: server.exitCode, stderr: server.stderr }).toEqual({ exit: 0, stderr: "" });
    expect(existsSync(site.at("never"))).toBe(false);
  });
});
