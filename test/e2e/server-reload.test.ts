/** SIGHUP with the compiled server, as systemd and TLS see it. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:tls";
import { DatagramSocket } from "#test/support/datagram-socket.ts";
import { Site } from "#test/support/site.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;

beforeEach(async () => {
  site = await Site.make();
}, TIMEOUT_MS);
afterEach(async () => {
  await site.remove();
});

/** What a new handshake is shown. */
function shownCertificate(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, ALPNProtocols: ["nbackup/1"] }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("an invalid file changes nothing; a good one counts at once with its certificate; systemd hears of each", async () => {
  const socket = new DatagramSocket(site.at("notify"));
  const server = await site.startServer({ env: { NOTIFY_SOCKET: site.at("notify") } });
  const file = site.at("server-1.yaml");
  const text = readFileSync(file, "utf8");
  const before = await shownCertificate(server.port);

  writeFileSync(file, text.replace("max_backups", "max_backupz"));
  server.kill("SIGHUP");
  await server.event("server.reload-failed");
  await server.printed(/nothing was changed/);
  expect(await shownCertificate(server.port)).toBe(before);

  const pair = await site.pki.addServer("another", ["127.0.0.1"]);
  const next = await site.serverConfig({ port: server.port, pair, storages: { main: {}, more: {} } });
  writeFileSync(file, readFileSync(next.file, "utf8"));
  server.kill("SIGHUP");
  await server.event("server.reloaded");
  expect(await shownCertificate(server.port)).not.toBe(before);

  expect((await server.stop()).exitCode).toBe(0);
  const states = socket.received().map((message) => message.split("\n")[0]);
  expect(states).toEqual([
    ...["READY=1", "RELOADING=1", "READY=1", "RELOADING=1", "READY=1", "STOPPING=1"],
    "EXTEND_TIMEOUT_USEC=30000000",
  ]);
  socket.close();
});
