import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
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

describe("pki show", () => {
  async function lines(argv: readonly string[], nowMs = NOW_MS): Promise<Record<string, unknown>[]> {
    const { out } = await pki(["show", "--json", ...argv], nowMs);
    return out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  test("prints one object per certificate, CA and server first", async () => {
    await d.good("init");
    await d.good("agent", "a-1");
    await d.good("server", "backup,192.0.2.7");
    const shown = await lines(["--dir", d.dir]);
    expect(shown.map(({ file }) => path.basename(String(file)))).toEqual(["ca.pem", "server.pem", "a-1.pem"]);
    expect(shown[1]).toEqual({
      file: d.at("server.pem"),
      number: 1,
      subject: "CN=backup",
      issuer: String(shown[0]?.["subject"]),
      serial: d.certificate("server.pem").serial,
      dnsNames: ["backup"],
      ipAddresses: ["192.0.2.7"],
      ca: false,
      keyUsages: ["digitalSignature"],
      extendedKeyUsages: ["serverAuth"],
      notBefore: "2026-02-12T01:00:00Z",
      notAfter: "2028-05-17T02:00:00Z",
      validity: "valid",
      daysLeft: 824,
      fingerprint: d.certificate("server.pem").fingerprint,
      chainsToCa: true,
      problem: null,
      revoked: null,
    });
    expect(shown[0]).toMatchObject({ ca: true, extendedKeyUsages: null, chainsToCa: true });
  });

  test("tells the certificates of another CA, expired ones and those not valid yet", async () => {
    await d.good("init");
    await d.good("agent", "web-01", "--days", "10");
    const agent = d.at("web-01.pem");
    expect(await lines([agent], NOW_MS + 11 * DAY_MS)).toMatchObject([
      { validity: "expired", daysLeft: -2, chainsToCa: true },
    ]);
    expect(await lines([agent], NOW_MS - DAY_MS)).toMatchObject([{ validity: "not-yet-valid" }]);
    await d.good("init", "--force");
    expect(await lines([agent])).toMatchObject([
      { chainsToCa: false, problem: expect.stringContaining("no certificate in the CA file has issued it") },
    ]);
    fs.rmSync(d.at("ca.pem"));
    expect(await lines([agent])).toMatchObject([{ chainsToCa: null, problem: null }]);
  });

  test("prints for people what counts", async () => {
    await d.good("init");
    await d.good("server", "backup,2001:db8::1");
    const { out } = await pki(["show", "--dir", d.dir]);
    expect(out).toContain("  names    DNS backup, IP 2001:db8::1\n");
    expect(out).toContain("  usages   digitalSignature, serverAuth\n");
    expect(out).toContain("  usages   CA, keyCertSign, cRLSign\n");
    expect(out).toContain("2028-05-17T02:00:00Z, 824 days left\n");
    expect(out).toContain(`  SHA-256  ${d.certificate("server.pem").fingerprint}\n`);
    expect(out).toContain("  chain    issued by the CA of ca.pem\n");
  });

  test("goes on after a file it cannot read, and fails in the end", async () => {
    await d.good("init");
    fs.writeFileSync(d.at("broken.pem"), "garbage");
    const { exit, out, err } = await pki(["show", "--dir", d.dir, "--json"]);
    expect(exit).toBe(2);
    expect(out.trimEnd().split("\n")).toHaveLength(1);
    expect(err).toMatch(/^E_CERTIFICATE: .*broken.pem: is not PEM.*\nHINT: .*\n$/);
  });

  test("needs something to show", async () => {
    expect((await pki(["show"])).err).toStartWith("E_USAGE: pki show needs --dir DIRECTORY or files\n");
    expect(await d.bad("show")).toBe("2 E_CERTIFICATE: D cannot be read: ENOENT");
    fs.mkdirSync(d.dir);
    expect(await d.bad("show")).toBe("2 E_CERTIFICATE: D holds no certificates (*.pem)");
  });
});

describe("the command line", () => {
  const wrong: [argv: string[], message: string][] = [
    [[], "E_USAGE: pki needs a command: init, server, agent, enroll-token, renew, revoke or show"],
    [
      ["frob"],
      'E_USAGE: "frob" is not a command of pki, which has init, server, agent, enroll-token, renew, revoke and show',
    ],
    [["init"], "E_USAGE: pki init needs --dir DIRECTORY"],
    [["init", "--dir="], "E_USAGE: pki init needs --dir DIRECTORY"],
    [["init", "--dir", "D", "x"], 'E_USAGE: pki init takes no argument, and found "x"'],
    [["server", "--dir", "D"], "E_USAGE: pki server takes HOST[,IP…], and found nothing"],
    [["agent", "a", "b", "--dir", "D"], 'E_USAGE: pki agent takes NAME, and found "a" "b"'],
    [
      ["agent", "a", "--dir", "D", "--days", "1.5"],
      'E_USAGE: --days is "1.5", expected a whole number from 1 to 36500',
    ],
    [
      ["agent", "a", "--dir", "D", "--days", "36501"],
      'E_USAGE: --days is "36501", expected a whole number from 1 to 36500',
    ],
    [["agent", "a", "--dri", "D"], "E_USAGE: pki agent: unknown option '--dri'"],
    [["init", "--dir"], "E_USAGE: pki init: option '--dir <value>' argument missing"],
  ];
  test.each(wrong)("%j is refused with a sentence and exit code 2", async (argv, message) => {
    const { exit, out, err } = await pki(argv);
    expect({ exit, out, first: err.split("\n")[0] }).toEqual({ exit: 2, out: "", first: message });
    expect(err).toMatch(/\nHINT: Run nbackup-server pki [a-z ]*--help to see what it takes\.\n$/);
  });

  test("--help says what each command takes, within 100 columns", async () => {
    for (const argv of [
      ["--help"],
      ["help", "server"],
      ["init", "-h"],
      ["server", "--help"],
      ["agent", "--help"],
      ["show", "--help"],
    ]) {
      const { exit, out, err } = await pki(argv);
      expect({ exit, err }).toEqual({ exit: 0, err: "" });
      expect(out).toContain("nbackup-server pki ");
      for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
    }
  });

  test("--json prints one object of what was made", async () => {
    await d.good("init");
    const out = JSON.parse(await d.good("server", "backup", "--json")) as Record<string, unknown>;
    expect(out).toEqual({
      certificate: d.at("server.pem"),
      key: d.at("server-key.pem"),
      subject: "CN=backup",
      names: ["backup"],
      serial: d.certificate("server.pem").serial,
      notAfter: "2028-05-17T02:00:00Z",
      fingerprint: d.certificate("server.pem").fingerprint,
    });
  });

  test("a directory that cannot be written is E_WRITE and exit code 1", async () => {
    fs.writeFileSync(path.join(root, "file"), "");
    const { exit, err } = await pki(["init", "--dir", path.join(root, "file", "sub")]);
    expect(exit).toBe(1);
    expect(err).toMatch(/^E_WRITE: .* cannot be written: ENOTDIR\nHINT: /);
  });
});
