/** SIGHUP and the page: who may look, the password, the certificate and where it listens change under a session that goes on. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:tls";
import { freePort } from "#scripts/lib/background.ts";
import { PageClient } from "#test/support/page-client.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type ServerSettings, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";
import type { StoragesAnswer } from "#web/api-archives.ts";
import type { ConfigAnswer, OverviewAnswer } from "#web/api-types.ts";

const TIMEOUT_MS = 90_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let pagePort: number;

beforeEach(async () => {
  site = await Site.make();
  pagePort = freePort();
}, TIMEOUT_MS);
afterEach(async () => {
  await site.remove();
});

function webUi(keys: Record<string, unknown> = {}): Record<string, unknown> {
  return { enabled: true, listen: `127.0.0.1:${pagePort}`, allow_origins: ["127.0.0.1"], ...keys };
}

async function writePassword(password: string): Promise<string> {
  const file = site.at("password");
  const command = [site.executables.server, "web-password", "--output", file];
  expect(await Bun.spawn(command, { stdin: new Blob([`${password}\n`]), stderr: "ignore" }).exited).toBe(0);
  return file;
}

/** Puts another configuration in the place of the one that runs, and waits for what becomes of it. */
async function reload(server: ServerProcess, settings: ServerSettings, kind = "server.reloaded"): Promise<void> {
  const { file } = await site.serverConfig({ port: server.port, ...settings });
  writeFileSync(site.at("server-1.yaml"), readFileSync(file, "utf8"));
  await hup(server, kind);
}

async function hup(server: ServerProcess, kind = "server.reloaded"): Promise<void> {
  const before = server.events(kind).length;
  server.kill("SIGHUP");
  await server.printed(new RegExp(`(?:"event":"${kind.replaceAll(".", "\\.")}"[\\s\\S]*){${before + 1}}`));
}

/** What a new handshake with the page is shown. */
function shownCertificate(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

const statusOf = async (page: PageClient, path = "/api/v1/overview"): Promise<number> => (await page.get(path)).status;

describe("a reload", () => {
  test("changes who may look, the password and what waits for a restart, under a session that goes on", async () => {
    mkdirSync(site.at("source"));
    writeFileSync(site.at("source/file"), patternBytes(4_000_000));
    const server = await site.startServer({ webUi: webUi() });
    const agent = site.startAgent(
      await site.agentConfig({
        port: server.port,
        backups: [{ name: "all", storage: STORAGE, sources: [{ path: site.at("source") }], bandwidth_limit: "512kb" }],
      }),
      ["--once", "--json"],
    );
    await server.event("session.admitted");
    const page = new PageClient(pagePort);
    const closed = page.streamUntil("/api/v1/stream", () => false).catch(String);
    expect(await statusOf(page)).toBe(200);

    const file = await writePassword("correct horse battery");
    await reload(server, {
      webUi: webUi({ password_file: file, events_max_lines: 5_000 }),
      storages: { [STORAGE]: {}, more: {} },
    });
    expect(await closed).toMatch(/error/i);
    expect(await statusOf(page)).toBe(401);
    expect((await page.login("correct horse battery")).status).toBe(204);
    const config = await page.json<ConfigAnswer>("/api/v1/config/effective");
    expect(config.restartKeys).toEqual(["web_ui.events_max_lines"]);
    expect(config.rows.find(({ key }) => key === "web_ui.password_file")).toMatchObject({ value: file });
    await server.printed(/"keys":\["web_ui\.events_max_lines"\].*wait for a restart/);
    const { rows } = await page.json<StoragesAnswer>("/api/v1/storages");
    expect(rows.map(({ name }) => name)).toEqual([STORAGE, "more"]);

    // The same password: who is in stays in. Another one: nobody does.
    await hup(server);
    expect(await statusOf(page)).toBe(200);
    await writePassword("another correct one");
    await hup(server);
    expect(await statusOf(page)).toBe(401);
    expect((await page.login("correct horse battery")).status).toBe(401);
    expect((await page.login("another correct one")).status).toBe(204);

    // What is wrong changes nothing.
    writeFileSync(file, "no hash\n");
    await hup(server, "server.reload-failed");
    expect(await statusOf(page)).toBe(200);
    await server.printed(/does not hold an argon2id hash/);

    await reload(server, { webUi: webUi({ allow_origins: ["192.0.2.1"] }) });
    expect(await statusOf(page, "/api/v1/health")).toBe(403);
    expect((await agent.end()).exitCode).toBe(0);
    expect(server.events("session.disconnected")).toEqual([]);
  });

  test("brings another certificate, another address and another key of the page, or none", async () => {
    const own = await site.pki.addServer("page", ["127.0.0.1"]);
    const other = await site.pki.addServer("other", ["127.0.0.1"]);
    const tls = { tls_cert: site.at("page.pem"), tls_key: site.at("page-key.pem") };
    const put = (pair: typeof own, keyOf = pair): void => {
      writeFileSync(tls.tls_cert, readFileSync(pair.certPath));
      writeFileSync(tls.tls_key, readFileSync(keyOf.keyPath), { mode: 0o600 });
    };
    put(own);
    const server = await site.startServer({ webUi: webUi(tls) });
    const first = await shownCertificate(pagePort);
    put(other);
    await hup(server);
    const second = await shownCertificate(pagePort);
    expect(second).not.toBe(first);
    const page = new PageClient(pagePort, "https");
    const { certificates } = await page.json<OverviewAnswer>("/api/v1/overview");
    expect(certificates.map(({ name }) => name)).toEqual(["server", "ca", "page"]);

    put(own, other);
    await hup(server, "server.reload-failed");
    await server.printed(/is not the key of/);
    expect(await shownCertificate(pagePort)).toBe(second);

    const newPort = freePort();
    await reload(server, { webUi: webUi({ listen: `127.0.0.1:${newPort}` }) });
    expect(await statusOf(new PageClient(newPort))).toBe(200);
    await expect(statusOf(page)).rejects.toThrow();

    const taken = freePort();
    const blocker = Bun.listen({ hostname: "127.0.0.1", port: taken, socket: { data: () => undefined } });
    await reload(server, { webUi: webUi({ listen: `127.0.0.1:${taken}` }) });
    blocker.stop(true);
    expect(server.events("page.failed")).toHaveLength(1);
    expect(await statusOf(new PageClient(newPort))).toBe(200);
    await hup(server);
    expect(await statusOf(new PageClient(taken))).toBe(200);

    // Its own port under an address that this machine does not have: it has to come back.
    await reload(server, { webUi: webUi({ listen: `192.0.2.99:${taken}` }) });
    expect(server.events("page.failed")).toHaveLength(2);
    expect(await statusOf(new PageClient(taken))).toBe(200);

    await reload(server, {});
    await expect(statusOf(new PageClient(taken))).rejects.toThrow();
    await reload(server, { webUi: webUi() });
    expect(await statusOf(new PageClient(pagePort))).toBe(200);
  });

  test("shows a page that was not wanted at the start, and its certificate that ends soon is told", async () => {
    const server = await site.startServer();
    await expect(statusOf(new PageClient(pagePort))).rejects.toThrow();
    const soon = await site.pki.addServer("soon", ["127.0.0.1"], {
      notBeforeMs: Date.now() - 3_600_000,
      notAfterMs: Date.now() + 5 * 86_400_000,
    });
    await reload(server, { webUi: webUi({ tls_cert: soon.certPath, tls_key: soon.keyPath }) });
    const page = new PageClient(pagePort, "https");
    expect(await statusOf(page)).toBe(200);
    await server.printed(/"event":"certificate\.expiring".*soon/);
    expect(await (await page.get("/metrics")).text()).toMatch(
      /^nbackup_certificate_end_timestamp_seconds\{certificate="page"\} \d{10}$/m,
    );
    expect((await server.stop()).exitCode).toBe(0);
  });
});
