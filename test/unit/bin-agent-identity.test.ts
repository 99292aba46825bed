/** The agent's certificates on its disk as its programs use them: at a start, and before a renewal. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import { identityOf, renewalDisk, settledIdentityOf } from "#bin/agent-identity.ts";
import type { AgentConfig } from "#config/types.ts";
import type { Identity } from "#pki/identity.ts";
import { readRequest } from "#pki/request.ts";
import { readCertificates } from "#pki/pem-file.ts";
import type { Succession } from "#pki/succession.ts";
import { type DemoPki, makeDemoPki } from "#test/support/pki.ts";

let root: string;
let pki: DemoPki;
let dir: string;
let caPath: string;
let made = 0;

beforeAll(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-agent-identity-"));
  pki = await makeDemoPki(path.join(root, "pki"), { agents: ["web"] });
  await pki.addAgent("web", undefined, "newer");
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  made += 1;
  dir = path.join(root, `d${made}`);
  fs.mkdirSync(dir, { mode: 0o700 });
  put("web");
  caPath = pki.caPath;
});

/** Copies a pair to where the configuration has it. */
function put(name: string): void {
  fs.copyFileSync(pki.agent(name).certPath, path.join(dir, "client.pem"));
  fs.copyFileSync(pki.agent(name).keyPath, path.join(dir, "client-key.pem"));
}

/** The certificate is still in the hidden directory, the key in its place. */
function cutShort(): void {
  const decided = path.join(dir, ".nbackup-pki.replace.client");
  fs.mkdirSync(decided, { mode: 0o700 });
  fs.copyFileSync(pki.agent("newer").certPath, path.join(decided, "client.pem"));
  fs.copyFileSync(pki.agent("newer").keyPath, path.join(dir, "client-key.pem"));
}

function config(name = "web"): AgentConfig {
  const files = { clientCertFile: path.join(dir, "client.pem"), clientKeyFile: path.join(dir, "client-key.pem") };
  return { agent: { name }, tls: { caCertFile: caPath, ...files, renew: true } } as unknown as AgentConfig;
}

function codeOf(action: () => unknown): string {
  try {
    action();
    return "none";
  } catch (error) {
    return error instanceof Failure ? error.code : String(error);
  }
}

const fingerprintOf = (name: string): string => {
  const { certPath, keyPath } = pki.agent(name);
  const tls = { caCertFile: pki.caPath, clientCertFile: certPath, clientKeyFile: keyPath };
  return identityOf({ ...config(), tls: { ...tls, renew: true } }).fingerprint;
};

describe("the certificates of an agent", () => {
  test("are loaded as they lie, and must carry its name", () => {
    expect(identityOf(config()).fingerprint).toBe(fingerprintOf("web"));
    expect(codeOf(() => identityOf(config("db")))).toBe("E_IDENTITY");
  });

  test("are completed at a start when a renewal was cut short, and left alone by a look", () => {
    cutShort();
    expect(codeOf(() => identityOf(config()))).toBe("E_CERTIFICATE");
    expect(settledIdentityOf(config()).fingerprint).toBe(fingerprintOf("newer"));
    expect(fs.readdirSync(dir).sort()).toEqual(["client-key.pem", "client.pem"]);
  });
});

function diskWith(identity: Identity): ReturnType<typeof renewalDisk> {
  return renewalDisk(
    () => config(),
    () => identity,
  );
}

test("a new CA that is in the file counts when connections go by it, and not before; with a newer one it does not matter", async () => {
  const others = await Promise.all(["one", "two"].map((name) => makeDemoPki(path.join(dir, name), {})));
  const told = others.map((other): Succession => {
    const [ca] = readCertificates(other.caPath);
    return { certificate: new Uint8Array(ca?.x509.raw ?? []), signature: new Uint8Array(1) };
  });
  caPath = path.join(dir, "ca.pem");
  fs.copyFileSync(pki.caPath, caPath);
  const before = diskWith(identityOf(config()));
  expect([before.isUnused(told), before.known(told)]).toEqual([false, 0]);
  // The last one only, as who keeps the file of all machines may have it.
  fs.appendFileSync(caPath, fs.readFileSync(others[1]?.caPath ?? "", "utf8"));
  expect([before.isUnused(told), before.known(told)]).toEqual([true, 0]);
  const after = diskWith(identityOf(config()));
  expect([after.isUnused(told), after.known(told)]).toEqual([false, 2]);
});

describe("before a renewal", () => {
  test("nothing is found but what is in use, and the request is for the agent's name and a key of its own", () => {
    const disk = diskWith(identityOf(config()));
    expect(disk.prepare()).toBeUndefined();
    const [one, other] = [disk.makeRequest(), disk.makeRequest()];
    expect(readRequest(one.requestDer).name).toBe("web");
    expect(one.keyPem).not.toBe(other.keyPem);
  });

  test("a pair that was cut short, or brought by somebody, is used and not written over", () => {
    const used = identityOf(config());
    cutShort();
    expect(diskWith(used).prepare()?.fingerprint).toBe(fingerprintOf("newer"));
    put("web");
    put("newer");
    expect(diskWith(used).prepare()?.fingerprint).toBe(fingerprintOf("newer"));
  });
});
