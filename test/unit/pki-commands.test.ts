import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseCertificate } from "#pki/certificate.ts";
import { loadIdentity } from "#pki/identity.ts";
import { NOW_MS, PkiDirectory, pki } from "#test/support/pki-commands.ts";

const DAY_MS = 86_400_000;

let root: string;
let d: PkiDirectory;
let made = 0;

beforeAll(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-commands-"));
});
beforeEach(() => {
  made += 1;
  d = new PkiDirectory(path.join(root, `d${made}`));
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

describe("pki init", () => {
  test("makes a CA of ten years in a directory of its own, its key for its owner only", async () => {
    const out = await d.good("init");
    expect(Object.keys(d.contents())).toEqual(["ca-key.pem", "ca.pem"]);
    expect([d.mode(""), d.mode("ca.pem"), d.mode("ca-key.pem")]).toEqual(["700", "644", "600"]);
    const ca = d.certificate("ca.pem");
    expect(ca).toMatchObject({ ca: true, keyUsages: ["keyCertSign", "cRLSign"] });
    expect(ca.notAfterMs).toBe(Math.floor((NOW_MS + 3650 * DAY_MS) / 1000) * 1000);
    expect(out).toContain(`SHA-256      ${ca.fingerprint}\n`);
    expect(d.contents()["ca-key.pem"]).toStartWith("-----BEGIN PRIVATE KEY-----\n");
  });

  test("never replaces a CA without --force, not even half of one", async () => {
    await d.good("init");
    expect(await d.bad("init")).toBe("2 E_USAGE: D/ca.pem exists already, and nothing was changed");
    fs.rmSync(d.at("ca.pem"));
    expect(await d.bad("init")).toBe("2 E_USAGE: D/ca-key.pem exists already, and nothing was changed");
  });

  test("replaces it with --force, and says what that means", async () => {
    await d.good("init");
    const before = d.contents();
    const { exit, err } = await pki(["init", "--dir", d.dir, "--force"]);
    expect(exit).toBe(0);
    expect(err).toStartWith("note: the CA is being replaced");
    expect(d.contents()["ca.pem"]).not.toBe(before["ca.pem"]);
    expect(d.contents()["ca-key.pem"]).not.toBe(before["ca-key.pem"]);
    await d.good("agent", "web-01");
  });

  test("gives every CA another name, so that two can stand in one file", async () => {
    await d.good("init");
    const first = d.certificate("ca.pem").subjectHex;
    await d.good("init", "--force");
    expect(d.certificate("ca.pem").subjectHex).not.toBe(first);
  });

  test("makes a CA that outlives 2050", async () => {
    await d.good("init", "--days", "36500");
    expect(d.certificate("ca.pem").notAfterMs).toBe(Math.floor((NOW_MS + 36_500 * DAY_MS) / 1000) * 1000);
  });
});

describe("pki server and pki agent", () => {
  test("make certificates that both sides load without a warning", async () => {
    await d.good("init");
    await d.good("server", "backup.example.org,192.0.2.7,2001:db8::1");
    await d.good("agent", "web-01");
    for (const [role, name] of [
      ["server", "server"],
      ["agent", "web-01"],
    ] as const) {
      const identity = loadIdentity({
        caPath: d.at("ca.pem"),
        certPath: d.at(`${name}.pem`),
        keyPath: d.at(`${name}-key.pem`),
        role,
        nowMs: NOW_MS,
      });
      expect(identity.warnings).toEqual([]);
      expect(identity.commonName).toBe(role === "server" ? "backup.example.org" : "web-01");
      expect([d.mode(`${name}.pem`), d.mode(`${name}-key.pem`)]).toEqual(["644", "600"]);
    }
    expect(d.certificate("server.pem")).toMatchObject({
      dnsNames: ["backup.example.org"],
      ipAddresses: ["192.0.2.7", "2001:db8::1"],
      ca: false,
    });
  });

  test("make certificates valid an hour ago for other clocks, for 825 days or as long as told", async () => {
    await d.good("init");
    await d.good("agent", "web-01");
    const second = Math.floor(NOW_MS / 1000) * 1000;
    expect(d.certificate("web-01.pem").notBeforeMs).toBe(second - 3_600_000);
    expect(d.certificate("web-01.pem").notAfterMs).toBe(second + 825 * DAY_MS);
    await d.good("agent", "web-02", "--days", "1");
    expect(d.certificate("web-02.pem").notAfterMs).toBe(second + DAY_MS);
  });

  test("never make a certificate that outlives its CA", async () => {
    await d.good("init", "--days", "100");
    const { exit, err } = await pki(["server", "backup", "--dir", d.dir]);
    expect({ exit, err }).toEqual({ exit: 0, err: "note: the certificate ends with its CA, earlier than asked for\n" });
    expect(d.certificate("server.pem").notAfterMs).toBe(d.certificate("ca.pem").notAfterMs);
  });

  test("give every certificate a positive serial number of 127 bits that no other has", async () => {
    await d.good("init");
    const serials = new Set<string>();
    for (let i = 0; i < 20; i++) {
      await d.good("agent", `web-${i}`);
      serials.add(d.certificate(`web-${i}.pem`).serial);
    }
    expect(serials.size).toBe(20);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/);
  });

  test("change key and certificate together with --force, and neither without", async () => {
    await d.good("init");
    await d.good("agent", "web-01");
    const before = d.contents();
    expect(await d.bad("agent", "web-01")).toBe("2 E_USAGE: D/web-01.pem exists already, and nothing was changed");
    await d.good("agent", "web-01", "--force");
    const changed = Object.keys(before).filter((name) => d.contents()[name] !== before[name]);
    expect(changed).toEqual(["web-01-key.pem", "web-01.pem"]);
  });

  test("work for different agents at the same time", async () => {
    await d.good("init");
    await Promise.all(Array.from({ length: 10 }, (_, i) => d.good("agent", `web-${i}`)));
    expect(Object.keys(d.contents())).toHaveLength(22);
  });

  test("complete what an interrupted command had begun, and say so", async () => {
    await d.good("init");
    await d.good("agent", "web-01");
    const left = d.at(".nbackup-pki.add.web-01");
    fs.mkdirSync(left);
    fs.renameSync(d.at("web-01.pem"), path.join(left, "web-01.pem"));
    const { exit, err } = await pki(["agent", "web-01", "--dir", d.dir]);
    expect(exit).toBe(2);
    expect(err).toStartWith(
      "note: an earlier pki command was interrupted; its web-01.pem and web-01-key.pem are now in place\nE_USAGE: ",
    );
    expect(Object.keys(d.contents())).toEqual(["ca-key.pem", "ca.pem", "web-01-key.pem", "web-01.pem"]);
  });

  test("need a CA, whole and valid now", async () => {
    expect(await d.bad("agent", "web-01")).toBe("2 E_CERTIFICATE: D/ca.pem: does not exist: there is no CA here");
    await d.good("init", "--days", "1");
    const late = await pki(["agent", "web-01", "--dir", d.dir], NOW_MS + 2 * DAY_MS);
    expect(late.err).toMatch(/^E_CERTIFICATE: .*ca.pem: CN=nbackup CA [0-9a-f]{8}: it expired at 2026-02-13T02:00:00Z/);
    const key = d.contents()["ca-key.pem"] ?? "";
    fs.rmSync(d.at("ca-key.pem"));
    expect(await d.bad("agent", "web-01")).toStartWith("2 E_CERTIFICATE: D/ca-key.pem: does not exist");
    fs.writeFileSync(d.at("ca-key.pem"), key);
    fs.writeFileSync(d.at("ca.pem"), "garbage");
    expect(await d.bad("server", "backup")).toStartWith("2 E_CERTIFICATE: D/ca.pem: is not PEM");
  });

  test("need a key that belongs to the CA, which may stand beside an older one", async () => {
    await d.good("init");
    const old = d.contents()["ca.pem"] ?? "";
    await d.good("init", "--force");
    const young = d.contents()["ca.pem"] ?? "";
    fs.writeFileSync(d.at("ca.pem"), old);
    expect(await d.bad("agent", "web-01")).toBe(
      "2 E_CERTIFICATE: D/ca-key.pem: the private key does not belong to any certificate in D/ca.pem",
    );
    fs.writeFileSync(d.at("ca.pem"), old + young);
    await d.good("agent", "web-01");
    expect(d.certificate("web-01.pem").issuerHex).toBe(parseCertificate(new X509Certificate(young).raw).subjectHex);
  });
});
