import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type Identity, loadIdentity } from "#pki/identity.ts";
import { peerIdentity } from "#pki/peer-identity.ts";
import { type DemoPair, type DemoPki, expiredBy, makeDemoPki } from "#test/support/pki.ts";
import { handshake, type TlsSide } from "#test/support/tls-handshake.ts";

let dir: string;
let ours: DemoPki;
let theirs: DemoPki;

beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-handshake-"));
  ours = await makeDemoPki(path.join(dir, "ours"), { agents: ["web-01"], serverHosts: ["localhost", "127.0.0.1"] });
  theirs = await makeDemoPki(path.join(dir, "theirs"), { agents: ["web-01"] });
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

function identity(pki: DemoPki, role: "server" | "agent"): Identity {
  const pair = role === "server" ? pki.server : pki.agent("web-01");
  return loadIdentity({ caPath: pki.caPath, ...pair, role, nowMs: Date.now() });
}

function side(loaded: Identity): TlsSide {
  return { ca: loaded.caPem, cert: loaded.certPem, key: loaded.keyPem };
}

/** Past loadIdentity, for what it refuses. */
function sideOf(pair: DemoPair): TlsSide {
  const text = (filePath: string): string => fs.readFileSync(filePath, "utf8");
  return { ca: text(ours.caPath), cert: text(pair.certPath), key: text(pair.keyPath) };
}

const server = (): TlsSide => side(identity(ours, "server"));
const agent = (): TlsSide => side(identity(ours, "agent"));

describe("a mutual TLS 1.3 handshake", () => {
  test("between our server and our agent succeeds, and each knows the other", async () => {
    const result = await handshake(server(), agent());
    expect([result.server.verdict, result.client.verdict, result.echoed]).toEqual(["accepted", "accepted", true]);
    expect(peerIdentity(result.server.peer, "agent", Date.now())).toMatchObject({
      commonName: "web-01",
      fingerprint: identity(ours, "agent").fingerprint,
      notAfterMs: identity(ours, "agent").notAfterMs,
    });
    expect(peerIdentity(result.client.peer, "server", Date.now()).fingerprint).toBe(
      identity(ours, "server").fingerprint,
    );
  });

  test("finds the server by an IP address of its certificate", async () => {
    expect((await handshake(server(), agent(), "127.0.0.1")).echoed).toBe(true);
  });

  test("succeeds when the CA file holds two CAs", async () => {
    const both = fs.readFileSync(theirs.caPath, "utf8") + fs.readFileSync(ours.caPath, "utf8");
    expect((await handshake({ ...server(), ca: both }, agent())).echoed).toBe(true);
  });

  test("refuses a server whose certificate does not name the host", async () => {
    const { client, echoed } = await handshake(server(), agent(), "backup.example.org");
    expect([client.verdict, echoed]).toEqual(["ERR_TLS_CERT_ALTNAME_INVALID", false]);
  });

  test("refuses an agent of another CA", async () => {
    const stranger = { ...side(identity(theirs, "agent")), ca: server().ca };
    const result = await handshake(server(), stranger);
    expect([result.server.verdict, result.echoed]).toEqual(["UNABLE_TO_VERIFY_LEAF_SIGNATURE", false]);
  });

  test("refuses a server of another CA", async () => {
    const result = await handshake(side(identity(theirs, "server")), agent());
    expect([result.client.verdict, result.echoed]).toEqual(["SELF_SIGNED_CERT_IN_CHAIN", false]);
  });

  test("refuses an agent without a certificate", async () => {
    const result = await handshake(server(), { ca: agent().ca });
    expect([result.server.verdict, result.echoed]).toEqual(["EPROTO", false]);
  });

  test("refuses an expired agent and an expired server", async () => {
    const expired = expiredBy(Date.now());
    const oldAgent = await ours.addAgent("old", expired);
    const oldServer = await ours.addServer("old-server", ["localhost"], expired);
    const first = await handshake(server(), sideOf(oldAgent));
    expect([first.server.verdict, first.echoed]).toEqual(["CERT_HAS_EXPIRED", false]);
    const second = await handshake(sideOf(oldServer), agent());
    expect([second.client.verdict, second.echoed]).toEqual(["CERT_HAS_EXPIRED", false]);
  });

  test("refuses each certificate in the other's role", async () => {
    const first = await handshake(server(), sideOf(ours.server));
    expect([first.server.verdict, first.echoed]).toEqual(["INVALID_PURPOSE", false]);
    const named = await ours.addAgent("localhost");
    const second = await handshake(sideOf(named), agent());
    expect([second.client.verdict, second.echoed]).toEqual(["INVALID_PURPOSE", false]);
  });
});
