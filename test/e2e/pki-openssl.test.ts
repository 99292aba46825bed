import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pki } from "#test/support/pki-commands.ts";
import { KEYS, opensslBench, side } from "#test/support/openssl.ts";
import { handshake } from "#test/support/tls-handshake.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-openssl-"));
const { at, text, openssl, accepts, makeCa, makeLeaf, load, refusal } = opensslBench(dir);

beforeAll(() => {
  makeCa("ca");
  makeLeaf("srv", {
    subject: "/CN=localhost",
    extensions: ["subjectAltName=DNS:localhost", "extendedKeyUsage=serverAuth"],
  });
  makeLeaf("agt", { extensions: ["extendedKeyUsage=clientAuth"] });
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

describe("what pki makes", () => {
  const run = async (...argv: string[]): Promise<void> => {
    const { exit, err } = await pki([...argv, "--dir", at("own")], Date.now());
    expect({ exit, err }).toEqual({ exit: 0, err: "" });
  };
  const verify = (command: string): boolean => accepts(`verify -x509_strict -CAfile own/ca.pem ${command}`);

  beforeAll(async () => {
    await run("init");
    await run("server", "backup.example.org,192.0.2.7,2001:db8::1");
    await run("agent", "web-01");
  });

  test("is accepted by openssl verify for its purpose, by host name and by address", () => {
    expect(verify("-purpose sslserver -verify_hostname backup.example.org own/server.pem")).toBe(true);
    expect(verify("-purpose sslserver -verify_ip 192.0.2.7 own/server.pem")).toBe(true);
    expect(verify("-purpose sslserver -verify_ip 2001:db8::1 own/server.pem")).toBe(true);
    expect(verify("-purpose sslclient own/web-01.pem")).toBe(true);
  });

  test("is refused by openssl verify for anything else", () => {
    expect(verify("-purpose sslclient own/server.pem")).toBe(false);
    expect(verify("-purpose sslserver own/web-01.pem")).toBe(false);
    expect(verify("-verify_hostname other.example.org own/server.pem")).toBe(false);
    expect(verify("-verify_ip 192.0.2.8 own/server.pem")).toBe(false);
    expect(accepts("verify -CAfile ca.pem own/web-01.pem")).toBe(false);
  });

  test("reads in openssl as it was meant", () => {
    const ca = openssl(
      "x509 -in own/ca.pem -noout -ext basicConstraints,keyUsage,subjectKeyIdentifier,authorityKeyIdentifier",
    );
    expect(ca).toContain("CA:TRUE, pathlen:0");
    expect(ca).toContain("Certificate Sign, CRL Sign");
    const key = /Key Identifier: *\n *([0-9A-F:]+)/.exec(ca)?.[1] ?? "none";
    const agent = openssl("x509 -in own/web-01.pem -noout -text");
    expect(agent).toContain("Subject: CN = web-01");
    expect(agent).toContain("ecdsa-with-SHA256");
    expect(agent).toContain("TLS Web Client Authentication");
    expect(agent).toMatch(new RegExp(`Authority Key Identifier: *\\n *(keyid:)?${key}`));
  });

  test("has keys that openssl finds sound", () => {
    for (const name of ["ca", "server", "web-01"]) expect(accepts(`pkey -check -in own/${name}-key.pem`)).toBe(true);
  });

  test("has the fingerprint that openssl prints", async () => {
    const { out } = await pki(["show", "--json", at("own/web-01.pem")], Date.now());
    const printed = openssl("x509 -in own/web-01.pem -noout -fingerprint -sha256");
    expect(printed.replaceAll(":", "").toLowerCase()).toContain(String(JSON.parse(out).fingerprint));
  });
});

describe("a CA made by openssl", () => {
  test.each(["P-256", "P-384", "RSA 2048"] as const)("with a %s key can be used by pki", async (key) => {
    const caDir = `with-${key.replace(" ", "-")}`;
    fs.mkdirSync(at(caDir));
    makeCa(`${caDir}/ca`, "/O=Example/CN=Example CA", key);
    for (const argv of [
      ["server", "localhost"],
      ["agent", "web-01"],
    ]) {
      expect(await pki([...argv, "--dir", at(caDir)], Date.now())).toMatchObject({ exit: 0 });
    }
    expect(accepts(`verify -purpose sslclient -CAfile ${caDir}/ca.pem ${caDir}/web-01.pem`)).toBe(true);
    const [server, agent] = [
      load(`${caDir}/server`, "server", `${caDir}/ca`),
      load(`${caDir}/web-01`, "agent", `${caDir}/ca`),
    ];
    expect([...server.warnings, ...agent.warnings]).toEqual([]);
    expect((await handshake(side(server), side(agent))).echoed).toBe(true);
  });

  test("with a key that nbackup does not sign with is refused in words", async () => {
    fs.mkdirSync(at("ed"));
    makeCa("ed/ca", "/CN=ed", "Ed25519");
    const { exit, err } = await pki(["agent", "web-01", "--dir", at("ed")], Date.now());
    expect(exit).toBe(2);
    expect(err).toMatch(
      /ca-key.pem: a CA key of type ed25519 cannot sign here\nHINT: Use a CA with a P-256, P-384 or RSA key/,
    );
  });

  test("without basic constraints is refused in words", () => {
    openssl(`req ${KEYS["P-256"]} -nodes -keyout v1ca-key.pem -out v1ca.csr -subj /CN=v1ca`);
    openssl("x509 -req -in v1ca.csr -signkey v1ca-key.pem -out v1ca.pem");
    makeLeaf("under-v1", { ca: "v1ca" });
    expect(refusal("under-v1", "agent", "v1ca")).toBe(
      "E_CERTIFICATE: v1ca.pem: CN=v1ca: it has no basic constraints, so it is not a CA",
    );
  });

  test("of the same name as another in the file gets a warning", () => {
    makeCa("twin", "/CN=ca");
    fs.writeFileSync(at("twins.pem"), text("twin.pem") + text("ca.pem"));
    expect(load("agt", "agent", "twins").warnings).toEqual([
      `${at("twins.pem")}: two CAs with different keys are both called CN=ca; give each CA a name of its own`,
    ]);
  });
});
