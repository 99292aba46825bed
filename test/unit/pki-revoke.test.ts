/** `pki revoke`, `pki renew`, and what the other commands make of a revocation. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import { loadIdentity } from "#pki/identity.ts";
import { readCertificates } from "#pki/pem-file.ts";
import { readSuccessions, vouchedSuccessors } from "#pki/succession.ts";
import { isRevoked, readRevocations, type Revocation } from "#pki/revocations.ts";
import type { PkiServer, RevokedNow } from "#pki-tools/revoke.ts";
import { NOW_MS, PkiDirectory, pki } from "#test/support/pki-commands.ts";

const DAY_MS = 86_400_000;
const SECOND_MS = 1000;
const NOW_SECOND_MS = Math.floor(NOW_MS / SECOND_MS) * SECOND_MS;
const NOW_TEXT = "2026-02-12T02:00:00Z";

let root: string;
let d: PkiDirectory;
let made = 0;

beforeAll(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-revoke-"));
});
beforeEach(async () => {
  made += 1;
  d = new PkiDirectory(path.join(root, `d${made}`));
  await d.good("init");
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

interface ServerOptions {
  readonly caDir?: string;
  readonly answer?: () => Promise<RevokedNow>;
  readonly revokedMs?: number;
  readonly later?: readonly string[];
}

/** A server that goes by the list in the directory; what it was told is in `told`. */
function serverOf(options: ServerOptions = {}): { server: PkiServer; told: Revocation[] } {
  const told: Revocation[] = [];
  const server: PkiServer = {
    caDir: options.caDir ?? d.dir,
    revokedMs: () => Promise.resolve(options.revokedMs),
    beginningAfter: () => Promise.resolve(options.later ?? []),
    revoke: (revocation) => {
      told.push(revocation);
      return options.answer?.() ?? Promise.resolve({ sessions: 2, connections: 1, known: true });
    },
  };
  return { server, told };
}

const listed = (): ReadonlyMap<string, number> => readRevocations(d.at("revoked.jsonl"));

describe("pki revoke", () => {
  test("writes a line beside the CA, tells the server that reads it, and says what that ended", async () => {
    const { server, told } = serverOf();
    const { exit, out, err } = await pki(["revoke", "web-01"], NOW_MS, { server });
    expect([exit, err]).toEqual([0, ""]);
    expect(out).toBe(
      [
        "agent    web-01",
        `revoked  every certificate made until ${NOW_TEXT}`,
        `list     ${d.at("revoked.jsonl")}`,
        "server   2 sessions ended, 1 connection closed",
        "",
      ].join("\n"),
    );
    expect(told).toEqual([{ agent: "web-01", atMs: NOW_SECOND_MS, certificates: [] }]);
    expect(fs.readFileSync(d.at("revoked.jsonl"), "utf8")).toBe(`{"agent":"web-01","revoked":"${NOW_TEXT}"}\n`);
    expect([...listed()]).toEqual([["web-01", NOW_SECOND_MS]]);
  });

  test("names what was made while a clock was ahead, by the directory and the server, and a certificate made now is good", async () => {
    const ahead = NOW_MS + 400 * DAY_MS;
    await pki(["agent", "web-01", "--dir", d.dir], ahead);
    const early = d.certificate("web-01.pem");
    const { server, told } = serverOf({ later: ["ab".repeat(32)] });
    expect((await pki(["revoke", "web-01"], NOW_MS, { server })).exit).toBe(0);
    expect(told[0]?.certificates).toEqual([early.fingerprint, "ab".repeat(32)]);
    const shown = async (): Promise<unknown> => {
      const { out } = await pki(["show", d.at("web-01.pem"), "--json"], ahead + DAY_MS);
      return (JSON.parse(out.split("\n")[0] ?? "") as { revoked: unknown }).revoked;
    };
    expect(await shown()).toBe(NOW_TEXT);
    await d.good("agent", "web-01", "--force");
    expect(d.certificate("web-01.pem").notBeforeMs).toBe(NOW_SECOND_MS + SECOND_MS);
    expect(await shown()).toBeNull();
  });

  test("works while no server runs, and where there is none, and says which", async () => {
    await d.good("agent", "web-01");
    const down = serverOf({ answer: () => Promise.reject(new Failure("E_NOT_RUNNING", "no nbackup-server")) });
    const first = await pki(["revoke", "web-01", "--json"], NOW_MS, { server: down.server });
    expect(JSON.parse(first.out)).toEqual({
      ...{ agent: "web-01", revoked: NOW_TEXT, file: d.at("revoked.jsonl"), server: "not-running" },
      ...{ sessions: null, connections: null },
    });
    const { exit, out, err } = await pki(["revoke", "web-01", "--dir", d.dir]);
    expect([exit, err]).toEqual([0, ""]);
    expect(out).toContain("none here reads this list");
  });

  test("does not tell a server that goes by another CA", async () => {
    const { server, told } = serverOf({ caDir: root });
    const { exit, err } = await pki(["revoke", "web-01", "--dir", d.dir], NOW_MS, { server });
    expect([exit, told]).toEqual([0, []]);
    expect(err).toBe("note: no certificate of web-01 is known here: look whether the name is right\n");
  });

  test("fails when the running server did not take it, and the line is there all the same", async () => {
    const answer = (): Promise<RevokedNow> => Promise.reject(new Failure("E_USAGE", "it does not know this request"));
    const { exit, err } = await pki(["revoke", "web-01"], NOW_MS, { server: serverOf({ answer }).server });
    expect(exit).toBe(2);
    expect(err).toContain("the revocation is in the list, but the running server did not take it");
    expect(listed().has("web-01")).toBe(true);
  });

  test("is not kept from its list by a configuration that is wrong", async () => {
    const around = {
      get server(): PkiServer {
        throw new Failure("E_CONFIG", "server.yaml:3: nonsense");
      },
    };
    const { exit, err } = await pki(["revoke", "web-01", "--dir", d.dir], NOW_MS, around);
    expect(exit).toBe(0);
    expect(err).toContain("note: the server of this machine is not told: server.yaml:3: nonsense");
    expect(listed().has("web-01")).toBe(true);
    expect((await pki(["revoke", "web-01"], NOW_MS, around)).exit).toBe(2);
  });

  test("refuses what is no name, no directory of a CA, or a list that means nothing", async () => {
    expect(await d.bad("revoke", "../x")).toStartWith('2 E_NAME: "../x" is not a name');
    expect((await pki(["revoke", "web-01", "--dir", root])).err).toContain("holds no ca.pem");
    expect((await pki(["revoke", "web-01"])).err).toContain("there is no server configuration here, and no --dir");
    expect((await pki(["revoke"])).err).toStartWith("E_USAGE: pki revoke takes one AGENT\n");
    fs.writeFileSync(d.at("revoked.jsonl"), "{nonsense}\n");
    expect(await d.bad("revoke", "web-01")).toContain("line 1 is not a revocation");
  });

  test("ends what was made before it and nothing made after it, within one second too", async () => {
    for (let round = 0; round < 3; round += 1) {
      await d.good("agent", "web-01", "--force");
      const certificate = d.certificate("web-01.pem");
      expect(isRevoked(certificate, listed().get("web-01"))).toBe(false);
      await d.good("revoke", "web-01");
      expect(isRevoked(certificate, listed().get("web-01"))).toBe(true);
    }
    // Certificates that take their time to begin: the clock stood still here.
    expect(d.certificate("web-01.pem").notBeforeMs).toBe(NOW_SECOND_MS + 2 * SECOND_MS);
  });

  test("waits for the second to pass, so that what is made next is valid at once", async () => {
    const sleeps: number[] = [];
    await pki(["revoke", "web-01", "--dir", d.dir], NOW_MS, { sleeps });
    expect(sleeps).toEqual([500]);
  });
});

describe("pki agent", () => {
  test("begins after what only the server of this CA was told", async () => {
    const { server } = serverOf({ revokedMs: NOW_SECOND_MS - 60_000 });
    expect((await pki(["agent", "web-01", "--dir", d.dir], NOW_MS, { server })).exit).toBe(0);
    expect(d.certificate("web-01.pem").notBeforeMs).toBe(NOW_SECOND_MS - 59_000);
  });

  test("does not make what would not be valid for long, after a revocation by a clock that was ahead", async () => {
    const ahead = await pki(["revoke", "web-01", "--dir", d.dir], NOW_MS + DAY_MS);
    expect(ahead.exit).toBe(0);
    expect(await d.bad("agent", "web-01")).toBe(
      '2 E_CERTIFICATE: agent "web-01" was revoked at a time that is yet to come',
    );
    await d.good("agent", "db");
  });
});

describe("pki show", () => {
  test("says which certificates are revoked, and of a directory who is", async () => {
    await d.good("agent", "web-01");
    await d.good("agent", "db");
    await d.good("server", "backup");
    await d.good("revoke", "web-01");
    await d.good("revoke", "gone");
    const text = await d.good("show");
    expect(text.match(/REVOKED at 2026-02-12T02:00:00Z/g)).toHaveLength(1);
    expect(text).toContain(
      `${d.at("revoked.jsonl")}: revoked\n  gone   certificates made until ${NOW_TEXT}\n  web-01 certificates made until`,
    );
    const rows = (await d.good("show", "--json"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(rows.map(({ revoked }) => revoked)).toEqual([null, null, null, NOW_TEXT, NOW_TEXT, NOW_TEXT]);
    expect(rows.at(-2)).toEqual({ file: d.at("revoked.jsonl"), agent: "gone", revoked: NOW_TEXT });
    await d.good("agent", "web-01", "--force");
    expect(await d.good("show")).not.toContain("REVOKED");
  });
});

describe("pki renew", () => {
  const LATER_MS = NOW_MS + 400 * DAY_MS;
  const good = async (...argv: string[]): Promise<string> => {
    const { exit, out, err } = await pki([...argv, "--dir", d.dir], LATER_MS);
    expect({ exit, err: err.replace(/^note: .*\n/gm, "") }).toEqual({ exit: 0, err: "" });
    return out;
  };

  test("of an agent makes a new key and certificate under the same name, with a whole life", async () => {
    await d.good("agent", "web-01");
    const before = d.contents();
    const { serial } = d.certificate("web-01.pem");
    expect(await good("renew", "web-01")).toContain("subject      CN=web-01");
    const after = d.contents();
    expect(after["web-01-key.pem"]).not.toBe(before["web-01-key.pem"]);
    expect(d.certificate("web-01.pem").serial).not.toBe(serial);
    expect(d.certificate("web-01.pem").notAfterMs).toBe(Math.floor(LATER_MS / SECOND_MS) * SECOND_MS + 825 * DAY_MS);
    const paths = { certPath: d.at("web-01.pem"), keyPath: d.at("web-01-key.pem") };
    expect(loadIdentity({ caPath: d.at("ca.pem"), ...paths, role: "agent", nowMs: LATER_MS }).warnings).toEqual([]);
  });

  test("of the server keeps all its names, the CN too", async () => {
    await d.good("server", "192.0.2.7,backup.example.org,2001:db8::1");
    const old = d.certificate("server.pem");
    await good("renew", "server");
    const renewed = d.certificate("server.pem");
    expect([...renewed.dnsNames, ...renewed.ipAddresses].sort()).toEqual([...old.dnsNames, ...old.ipAddresses].sort());
    expect(renewed.subject).toEqual(old.subject);
    expect(renewed.serial).not.toBe(old.serial);
  });

  test("of the CA keeps the old one trusted beside the new one, which issues from then on", async () => {
    await d.good("agent", "old");
    await good("renew", "ca");
    const [first, second] = readCertificates(d.at("ca.pem"));
    // The old one has vouched for it, which is all that an agent needs.
    const vouched = vouchedSuccessors(readSuccessions(d.at("ca-successors.jsonl")), second ? [second] : [], LATER_MS);
    expect(vouched.map(({ pem }) => pem)).toEqual([first?.pem ?? ""]);
    expect(d.mode("ca-successors.jsonl")).toBe("644");
    expect(readCertificates(d.at("ca.pem"))).toHaveLength(2);
    const key = createPrivateKey(fs.readFileSync(d.at("ca-key.pem")));
    expect([first?.x509.checkPrivateKey(key), second?.x509.checkPrivateKey(key)]).toEqual([true, false]);
    await good("agent", "new");
    const issuerOf = (name: string): string => new X509Certificate(fs.readFileSync(d.at(name))).issuer;
    expect([issuerOf("old.pem"), issuerOf("new.pem")]).toEqual([second?.x509.subject ?? "", first?.x509.subject ?? ""]);
    for (const name of ["old", "new"]) {
      const paths = { certPath: d.at(`${name}.pem`), keyPath: d.at(`${name}-key.pem`) };
      expect(loadIdentity({ caPath: d.at("ca.pem"), ...paths, role: "agent", nowMs: LATER_MS }).commonName).toBe(name);
    }
    expect(d.certificate("ca.pem").notAfterMs).toBe(Math.floor(LATER_MS / SECOND_MS) * SECOND_MS + 3650 * DAY_MS);
    // Those that have ended need nobody's trust.
    const { exit } = await pki(["renew", "ca", "--dir", d.dir], NOW_MS + 3700 * DAY_MS);
    expect([exit, readCertificates(d.at("ca.pem")).length]).toEqual([0, 2]);
    expect(readSuccessions(d.at("ca-successors.jsonl"))).toHaveLength(2);
  });

  test("refuses what is not there, is another's, or is not for that", async () => {
    expect(await d.bad("renew", "web-01")).toContain("D/web-01.pem does not exist: there is nothing to renew here");
    await d.good("agent", "web-01");
    fs.copyFileSync(d.at("web-01.pem"), d.at("db.pem"));
    fs.copyFileSync(d.at("web-01.pem"), d.at("server.pem"));
    expect(await d.bad("renew", "db")).toBe('2 E_CERTIFICATE: D/db.pem is for "web-01", not for "db"');
    expect(await d.bad("renew", "server")).toContain("needs serverAuth");
    expect(await d.bad("renew")).toBe("2 E_USAGE: pki renew takes NAME, server or ca, and found nothing");
    expect(await d.bad("renew", "web-01", "--force")).toContain("'--force'");
  });
});
