/** Renewal over the control channel with the compiled programs: certificates whose life is nearly over, so that it is due at once. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import type { AgentStatus } from "#observe/views.ts";
import { readCertificates } from "#pki/pem-file.ts";
import type { DemoPair } from "#test/support/pki.ts";
import { serverCommand } from "#test/support/server-command.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentSettings, Site, STORAGE } from "#test/support/site.ts";
import { type ProcessEnd, WatchedProcess } from "#test/support/watched-process.ts";

const DAY_MS = 86_400_000;
setDefaultTimeout(150_000);
const CHANNEL = { keepalive_interval: "1s", reconnect_delay: "200ms", max_reconnect_delay: "1s" };

let site: Site;
let server: ServerProcess;
let serverConfig: string;
let made = 0;
const NOBODY = 65_534;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  // 16 chunks of 64 KiB, which a limit of 128 KiB a second stretches.
  const random = Array.from({ length: 16 }, () => Buffer.from(crypto.getRandomValues(new Uint8Array(65_536))));
  writeFileSync(site.at("source", "file"), Buffer.concat(random));
  server = await site.startServer({ tls: { ca_key: site.pki.caKeyPath } });
  serverConfig = (await site.serverConfig({ port: server.port, tls: { ca_key: site.pki.caKeyPath } })).file;
}, 150_000);

afterAll(() => site.remove());

interface Laid extends DemoPair {
  /** One is renewed once a minute, so each test has an agent of its own. */
  readonly name: string;
  /** Where the pair came from. */
  readonly old: DemoPair;
}

/** A pair that is due, in a place of its own: certificate and key in directories of those names. */
async function lay(certDir = "pair", keyDir = certDir): Promise<Laid> {
  made += 1;
  const name = `web-${made}`;
  const validity = { notBeforeMs: Date.now() - 95 * DAY_MS, notAfterMs: Date.now() + 5 * DAY_MS };
  const old = await site.pki.addAgent(name, validity);
  const [certPath, keyPath] = [site.at(name, certDir, "client.crt"), site.at(name, keyDir, "client.key")];
  for (const one of [certPath, keyPath]) mkdirSync(path.dirname(one), { recursive: true });
  copyFileSync(old.certPath, certPath);
  copyFileSync(old.keyPath, keyPath);
  return { name, old, certPath, keyPath };
}

function settings(pair: Laid, backup: Record<string, unknown> = {}): AgentSettings {
  const entry = { name: "home", storage: STORAGE, sources: [{ path: site.at("source") }], ...backup };
  const common = {
    pair,
    name: pair.name,
    port: server.port,
    daemon: { control_channel: CHANNEL },
    resume: { chunk_size: "64kb" },
  };
  return { ...common, stateDir: site.at(`state-${pair.name}`), backups: [entry] };
}

async function start(agentSettings: AgentSettings): Promise<{ agent: WatchedProcess; config: string }> {
  const config = await site.agentConfig(agentSettings);
  const agent = site.startAgent(config, []);
  await agent.printed(/the control channel is up/);
  return { agent, config };
}

const certificateOf = ({ certPath }: DemoPair): X509Certificate => new X509Certificate(readFileSync(certPath));
const daysLeft = (pair: DemoPair): number => (Date.parse(certificateOf(pair).validTo) - Date.now()) / DAY_MS;
const renewed = (agent: WatchedProcess): Promise<RegExpExecArray> => agent.printed(/"event":"certificate.renewed"/);
/** The control channel was made anew with the new certificate. */
const isBack = (agent: WatchedProcess): Promise<RegExpExecArray> =>
  agent.printed(/the control channel is up[\s\S]*the control channel is up/);

function command(executable: string, ...args: readonly string[]): Promise<ProcessEnd> {
  return new WatchedProcess([executable, ...args], { cwd: site.at("cwd") }).end();
}

async function run(agent: WatchedProcess, { name }: Laid): Promise<void> {
  await serverCommand(site, serverConfig, ["run", name, "home"]);
  await agent.printed(/"event":"run.committed"/);
}

describe("a certificate that is due", () => {
  test("is renewed with a new key by the daemon, used at once and by the next start, and the old one stays good", async () => {
    const pair = await lay();
    const oldKey = readFileSync(pair.keyPath, "utf8");
    const { agent, config } = await start(settings(pair));
    await renewed(agent);
    await isBack(agent);
    expect(daysLeft(pair)).toBeGreaterThan(80);
    expect(readFileSync(pair.keyPath, "utf8")).not.toBe(oldKey);
    expect(statSync(pair.keyPath).mode & 0o777).toBe(0o600);
    expect(readdirSync(path.dirname(pair.certPath)).sort()).toEqual(["client.crt", "client.key"]);
    const serial = certificateOf(pair).serialNumber.toLowerCase();
    expect(server.events("certificate.renewed")).toMatchObject([{ agent: pair.name, serial }]);
    const status = JSON.parse(
      (await command(site.executables.agent, "status", "--json", "--config", config)).stdout,
    ) as AgentStatus;
    expect(status.certificateNotAfterMs).toBe(Date.parse(certificateOf(pair).validTo));
    await run(agent, pair);
    await agent.stop();
    const again = await start(settings(pair));
    await again.agent.stop();
    const old = await site.agentConfig({ ...settings(pair), pair: pair.old });
    expect(
      (await command(site.executables.agent, "health", `127.0.0.1:${server.port}`, "--config", old)).exitCode,
    ).toBe(0);
  });

  test("lets a backup that runs go on over the old one", async () => {
    const pair = await lay();
    const off = { ...settings(pair, { bandwidth_limit: "128kb", parallels: 2 }), tls: { renew: false } };
    const { agent, config } = await start(off);
    await serverCommand(site, serverConfig, ["run", pair.name, "home"]);
    await agent.printed(/"event":"run.started"/);
    const yaml = await Bun.file(config).text();
    writeFileSync(config, yaml.replace("renew: false", "renew: true"));
    agent.kill("SIGHUP");
    await renewed(agent);
    expect(agent.output).not.toContain("run.committed");
    await agent.printed(/"event":"run.committed"/);
    expect(agent.output).not.toContain("connection lost");
    await agent.stop();
  });

  test("is renewed by a run of --once, unless a daemon runs that does it", async () => {
    const pair = await lay();
    const ran = await site.once(settings(pair));
    expect([ran.exitCode, ran.reports.length]).toEqual([0, 1]);
    expect(ran.stderr).not.toContain("renew");
    expect(daysLeft(pair)).toBeGreaterThan(80);
    expect(server.events("certificate.renewed").filter((event) => event["agent"] === pair.name)).toHaveLength(1);
    const left = { ...settings(await lay()), tls: { renew: false } };
    const { agent } = await start(left);
    const beside = await site.once({ ...left, tls: {} });
    expect(beside.exitCode).toBe(0);
    expect(server.events("certificate.renewed").filter((event) => event["agent"] === left.name)).toEqual([]);
    expect(server.output).not.toContain("another control connection of agent");
    await agent.stop();
  });

  test("is renewed by a run of --once of a user who may not look into the state directory", async () => {
    if (process.getuid?.() !== 0 || Bun.which("setpriv") === null) return;
    const pair = await lay();
    for (const one of [path.dirname(pair.certPath), pair.certPath, pair.keyPath]) chownSync(one, NOBODY, NOBODY);
    const common = { ...settings(pair), caPath: site.at(pair.name, "ca.pem") };
    copyFileSync(site.pki.caPath, common.caPath);
    mkdirSync(common.stateDir ?? "", { mode: 0o700 });
    for (const one of [site.directory, site.at(pair.name)]) chmodSync(one, 0o755);
    const config = await site.agentConfig(common);
    const asNobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
    const once = [...asNobody, site.executables.agent, "--config", config, "--once", "--json"];
    const ran = await new WatchedProcess(once, { cwd: "/" }).end();
    expect([ran.exitCode, ran.stderr.split("\n").length]).toEqual([0, 2]);
    expect(daysLeft(pair)).toBeGreaterThan(80);
  });

  test("is renewed where certificate and key lie in two directories", async () => {
    const pair = await lay("certs", "private");
    const { agent } = await start(settings(pair));
    await isBack(agent);
    expect(daysLeft(pair)).toBeGreaterThan(80);
    expect(readdirSync(path.dirname(pair.keyPath))).toEqual(["client.key"]);
    await agent.stop();
  });

  test("is left to the program that keeps it behind a symbolic link, which is said once", async () => {
    const pair = await lay();
    renameSync(pair.certPath, `${pair.certPath}.real`);
    symlinkSync(`${pair.certPath}.real`, pair.certPath);
    const { agent } = await start(settings(pair));
    await agent.printed(/"event":"certificate.renewal-failed".*is a symbolic link/);
    await run(agent, pair);
    expect(agent.output.match(/certificate.renewal-failed/g)).toHaveLength(1);
    await agent.stop();
  });
});

describe("a renewal that a crash cut short between the two files", () => {
  test("is completed by the next start, and by a command that is not the daemon", async () => {
    for (const what of ["daemon", "health"]) {
      const pair = await lay();
      const dir = path.dirname(pair.certPath);
      const fresh = await site.pki.addAgent(pair.name, undefined, `fresh-${what}`);
      // As pair-store.ts leaves it: the decision was made, the key is in its place, the certificate is not.
      const decided = path.join(dir, ".nbackup-pki.replace.client.crt");
      mkdirSync(decided, { mode: 0o700 });
      copyFileSync(fresh.certPath, path.join(decided, "client.crt"));
      copyFileSync(fresh.keyPath, pair.keyPath);
      if (what === "daemon") {
        const { agent } = await start(settings(pair));
        await agent.stop();
      } else {
        const config = await site.agentConfig(settings(pair));
        const health = await command(site.executables.agent, "health", `127.0.0.1:${server.port}`, "--config", config);
        expect(health.exitCode).toBe(0);
      }
      expect(certificateOf(pair).serialNumber).toBe(certificateOf(fresh).serialNumber);
      expect(existsSync(decided)).toBe(false);
    }
  });
});

describe("a server without the CA's key", () => {
  test("is not asked, and the agent says once what to do", async () => {
    const { port } = server;
    await server.stop();
    server = await site.startServer({ port });
    const pair = await lay();
    const once = await site.once(settings(pair));
    expect([once.exitCode, once.reports.length]).toEqual([0, 1]);
    expect(once.stderr).toContain("the server does not renew certificates");
    const { agent } = await start(settings(pair));
    await agent.printed(/"event":"certificate.renewal-failed".*|"code":"E_RENEWAL"/);
    await run(agent, pair);
    expect(agent.output.match(/certificate.renewal-failed/g)).toHaveLength(1);
    expect(agent.output).toContain("Set tls.ca_key in its server.yaml");
    expect(daysLeft(pair)).toBeLessThan(6);
    // The key comes with a reload, and the agent hears of it on the connection that stands.
    const yaml = await Bun.file(server.configFile).text();
    writeFileSync(server.configFile, yaml.replace("tls:", `tls:\n  ca_key: ${site.pki.caKeyPath}`));
    server.kill("SIGHUP");
    await isBack(agent);
    expect(daysLeft(pair)).toBeGreaterThan(80);
    await agent.stop();
  });
});

describe("a change of the CA", () => {
  const reload = async (): Promise<void> => {
    const before = server.events("server.reloaded").length;
    server.kill("SIGHUP");
    while (server.events("server.reloaded").length === before) await Bun.sleep(50);
  };

  test("renews nothing where the new ca.pem is not known yet, and goes on when it was brought there and the agent reloaded", async () => {
    const pki = site.at("pki");
    const pair = await lay();
    // Of its own: what the server has is not what the agent has.
    const caPath = site.at(pair.name, "ca.pem");
    copyFileSync(site.pki.caPath, caPath);
    const renewedCa = await command(site.executables.server, "pki", "renew", "ca", "--dir", pki);
    expect(renewedCa.exitCode).toBe(0);
    // As when nobody could vouch for it.
    rmSync(path.join(pki, "ca-successors.jsonl"));
    server.kill("SIGHUP");
    await server.printed(/"event":"server.reloaded"[\s\S]*"event":"server.reloaded"/);
    const { agent } = await start({ ...settings(pair), caPath });
    await agent.printed(/"event":"certificate.renewal-failed".*no certificate in the CA file has issued it/);
    expect(daysLeft(pair)).toBeLessThan(6);
    await run(agent, pair);
    copyFileSync(site.pki.caPath, caPath);
    agent.kill("SIGHUP");
    await agent.printed(/"msg":"configuration and certificates were read again"/);
    // The server still has the answer that could not be used, and gives it again.
    await renewed(agent);
    expect(server.events("certificate.renewed").filter((event) => event["agent"] === pair.name)).toHaveLength(1);
    expect(certificateOf(pair).verify(new X509Certificate(readFileSync(caPath)).publicKey)).toBe(true);
    await agent.stop();
  });

  test.each([
    ["reaches an agent that is connected by itself, which", false],
    ["that was brought into its file before it is told, is used by an agent that is connected, which", true],
  ])("%s trusts both, renews with the new one, and goes on when the server has only that", async (_, isBrought) => {
    const pki = site.at("pki");
    const pair = await lay();
    const caPath = site.at(pair.name, "ca.pem");
    copyFileSync(site.pki.caPath, caPath);
    const before = readCertificates(caPath).length;
    const { agent } = await start({ ...settings(pair), caPath });
    await isBack(agent);
    for (const name of ["ca", "server"]) {
      const made = await command(site.executables.server, "pki", "renew", name, "--dir", pki);
      expect([name, made.exitCode]).toEqual([name, 0]);
      if (name === "server") break;
      if (isBrought) copyFileSync(site.pki.caPath, caPath);
      await reload();
      // Told with the next keep-alive of the connection that stands.
      if (!isBrought) await agent.printed(/"event":"certificate.authority-added"/);
      expect(readCertificates(caPath)).toHaveLength(before + 1);
      // The server hears that, soon.
      const listed = async (): Promise<unknown> => {
        const { objects } = await serverCommand(site, serverConfig, ["agents", "--json"]);
        return objects.find((row) => row["agent"] === pair.name)?.["newCa"];
      };
      while ((await listed()) !== "trusted") await Bun.sleep(50);
    }
    const agentsServer = new X509Certificate(readFileSync(site.pki.server.certPath));
    expect(agentsServer.verify(new X509Certificate(readFileSync(site.pki.caPath)).publicKey)).toBe(true);
    await reload();
    // Its connections are made anew with the server's new certificate.
    await run(agent, pair);
    await agent.stop();
    const again = await start({ ...settings(pair), caPath });
    await again.agent.stop();
  });
});
