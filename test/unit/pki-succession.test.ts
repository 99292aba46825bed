/** How a CA vouches for the next one, what an agent makes of it, and what it makes of everything else that it may be told. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, mock, spyOn, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import "reflect-metadata";
import {
  BasicConstraintsExtension,
  X509Certificate as PeculiarCertificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { AuthorityNews } from "#agent/authority-news.ts";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { trustSuccessors } from "#pki/authority-file.ts";
import { type Authority, createAuthority, type Validity } from "#pki/issue.ts";
import { loadIdentity } from "#pki/identity.ts";
import { readCertificates } from "#pki/pem-file.ts";
import { encodePem } from "#pki/pem.ts";
import { importSigningKey } from "#pki/signing-key.ts";
import { readSuccessions, type Succession, successionsText, vouchedSuccessors, vouchFor } from "#pki/succession.ts";
import { validityFrom } from "#pki/validity.ts";
import { type DemoPki, makeDemoPki } from "#test/support/pki.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.UTC(2026, 1, 12);
const random = { bytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)), unit: () => 0 };

interface Ca extends Authority {
  readonly pem: string;
}

let root: string;
let pki: DemoPki;
let old: Ca;
let next: Ca;
let third: Ca;
let made = 0;
let files: { readonly caPath: string; readonly certPath: string; readonly keyPath: string };

async function makeCa(name: string, validity: Validity = validityFrom(NOW_MS, 3650)): Promise<Ca> {
  const { certPem, keyPem } = await createAuthority(name, validity, random);
  return authorityOf(certPem, keyPem);
}

async function authorityOf(certPem: string, keyPem: string): Promise<Ca> {
  const key = await importSigningKey(createPrivateKey(keyPem), "key");
  return { certDer: new X509Certificate(certPem).raw, key, pem: certPem };
}

beforeAll(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-succession-"));
  const validity = { notBeforeMs: NOW_MS - DAY_MS, notAfterMs: NOW_MS + 90 * DAY_MS };
  pki = await makeDemoPki(path.join(root, "pki"), { agents: ["web"], validity });
  old = await authorityOf(fs.readFileSync(pki.caPath, "utf8"), fs.readFileSync(pki.caKeyPath, "utf8"));
  [next, third] = [await makeCa("next"), await makeCa("third")];
});
beforeEach(() => {
  made += 1;
  const dir = path.join(root, `d${made}`);
  fs.mkdirSync(dir);
  files = { ...pki.agent("web"), caPath: path.join(dir, "ca.pem") };
  fs.writeFileSync(files.caPath, `# kept by hand\n${old.pem}`, { mode: 0o640 });
});
afterEach(() => mock.restore());
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const cas = (): string[] => readCertificates(files.caPath).map(({ x509 }) => x509.subject);
const trust = (...successions: Succession[]): string[] =>
  trustSuccessors(files, successions, NOW_MS).map(({ x509 }) => x509.subject);

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return String(error).replaceAll(root, "");
  }
  return "none";
}

/** Nothing of it is believed: the file is what it was. */
function isRefused(...successions: Succession[]): void {
  const before = fs.readFileSync(files.caPath, "utf8");
  expect(refusal(() => trust(...successions))).toContain("E_RENEWAL: the server tells of a CA for which none in");
  expect(fs.readFileSync(files.caPath, "utf8")).toBe(before);
  expect(fs.readdirSync(path.dirname(files.caPath))).toEqual(["ca.pem"]);
}

describe("a CA for which the agent's CA has vouched", () => {
  test("is trusted beside it, in a file that keeps what else it holds and its mode, and once", async () => {
    const succession = await vouchFor(old, next.pem);
    expect(trust(succession)).toEqual(["CN=next"]);
    expect(cas()).toEqual([new X509Certificate(old.pem).subject, "CN=next"]);
    expect(fs.readFileSync(files.caPath, "utf8")).toStartWith("# kept by hand\n");
    expect(fs.statSync(files.caPath).mode & 0o777).toBe(0o640);
    expect(trust(succession)).toEqual([]);
    expect(loadIdentity({ ...files, role: "agent", nowMs: NOW_MS }).commonName).toBe("web");
  });

  test("vouches for the next one, so that who missed one change hears of two", async () => {
    expect(trust(await vouchFor(old, next.pem), await vouchFor(next, third.pem))).toEqual(["CN=next", "CN=third"]);
  });

  test("is not missed when a later one is there, and is when it is the newest", async () => {
    const both = [await vouchFor(old, next.pem), await vouchFor(next, third.pem)];
    fs.writeFileSync(files.caPath, third.pem);
    expect(refusal(() => trust(...both))).toBe("none");
    expect(refusal(() => trust(...both.slice(0, 1)))).toContain("E_RENEWAL");
  });

  test.each([
    { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
    { name: "RSASSA-PKCS1-v1_5", modulusLength: 4096, publicExponent: Uint8Array.of(1, 0, 1), hash: "SHA-256" },
  ])("may have a key of $name, as openssl makes them", async (algorithm) => {
    const keys = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
    const made = await X509CertificateGenerator.createSelfSigned({
      ...{ name: "CN=other kind", keys, signingAlgorithm: algorithm, serialNumber: "43" },
      ...{ notBefore: new Date(NOW_MS - DAY_MS), notAfter: new Date(NOW_MS + DAY_MS) },
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    });
    const der = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
    const ca = await authorityOf(made.toString("pem"), encodePem("PRIVATE KEY", new Uint8Array(der)));
    expect(trust(await vouchFor(old, ca.pem), await vouchFor(ca, next.pem))).toEqual(["CN=other kind", "CN=next"]);
  });

  test("leaves the old file or the new one, whatever call fails", async () => {
    const succession = await vouchFor(old, next.pem);
    const before = fs.readFileSync(files.caPath, "utf8");
    const names = ["openSync", "writeFileSync", "fchmodSync", "fsyncSync", "renameSync"] as const;
    const seen = new Set<number>();
    for (let first = 0; first < 20; first += 1) {
      fs.writeFileSync(files.caPath, before);
      let count = 0;
      for (const name of names) {
        const real = fs[name] as (...args: unknown[]) => unknown;
        spyOn(fs, name).mockImplementation(((...args: unknown[]) => {
          count += 1;
          if (count > first) throw Object.assign(new Error("planted"), { code: "EIO" });
          return real(...args);
        }) as never);
      }
      const failed = refusal(() => trust(succession));
      mock.restore();
      seen.add(cas().length);
      if (failed === "none") break;
      expect(failed).toMatch(/^E_(?:WRITE|CERTIFICATE)/);
    }
    expect([...seen].sort()).toEqual([1, 2]);
  });
});

describe("a CA is not trusted", () => {
  test("that another CA has vouched for, or that has vouched for itself", async () => {
    isRefused(await vouchFor(third, next.pem));
    isRefused(await vouchFor(next, next.pem));
  });

  test("for which somebody else's signature, or another CA's, is shown", async () => {
    const { certificate, signature } = await vouchFor(old, next.pem);
    const bent = Uint8Array.from(signature);
    bent[5] = (bent[5] ?? 0) ^ 1;
    isRefused({ certificate, signature: bent });
    isRefused({ certificate: third.certDer, signature });
    isRefused({ certificate, signature: new Uint8Array(64) });
    isRefused({ certificate, signature: new Uint8Array(1) });
    isRefused({ certificate: Buffer.from("hello"), signature });
  });

  test("whose certificate the old CA has signed, as it signs those of agents: that is no word for a successor", async () => {
    // What an intermediate CA, or an agent, could show of the old CA's signatures: that of its own certificate.
    const leaf = new X509Certificate(fs.readFileSync(files.certPath));
    const signed = await crypto.subtle.sign(old.key.algorithm, old.key.key, Uint8Array.from(next.certDer));
    isRefused({ certificate: next.certDer, signature: new Uint8Array(signed) });
    isRefused({ certificate: leaf.raw, signature: (await vouchFor(old, leaf.toString())).signature });
  });

  test("for which an intermediate CA has vouched, also one that stands in the file beside its root", async () => {
    const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
    const issuer = new PeculiarCertificate(old.pem);
    // As a company's root would make one.
    const made = await X509CertificateGenerator.create({
      ...{ subject: "CN=between", issuer: issuer.subjectName, publicKey: keys.publicKey, serialNumber: "41" },
      ...{ notBefore: new Date(NOW_MS - DAY_MS), notAfter: new Date(NOW_MS + DAY_MS) },
      ...{ signingKey: old.key.key, signingAlgorithm: old.key.algorithm },
      extensions: [new BasicConstraintsExtension(true, 0, true)],
    });
    const between = made.toString("pem");
    fs.appendFileSync(files.caPath, `${between}\n`);
    const der = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
    const authority = await authorityOf(between, encodePem("PRIVATE KEY", new Uint8Array(der)));
    isRefused(await vouchFor(authority, next.pem));
    fs.writeFileSync(files.caPath, old.pem);
    isRefused(await vouchFor(old, between));
  });

  test("when it is not valid now, or the CA that has vouched is not", async () => {
    const ended = await makeCa("ended", { notBeforeMs: NOW_MS - 10 * DAY_MS, notAfterMs: NOW_MS - DAY_MS });
    isRefused(await vouchFor(old, ended.pem));
    const early = await makeCa("early", { notBeforeMs: NOW_MS + DAY_MS, notAfterMs: NOW_MS + 10 * DAY_MS });
    isRefused(await vouchFor(old, early.pem));
    fs.appendFileSync(files.caPath, ended.pem);
    isRefused(await vouchFor(ended, next.pem));
  });

  test("when the agent's own pair would be of no use with the file, or the file is behind a symbolic link", async () => {
    const succession = await vouchFor(old, next.pem);
    const broken = { ...files, keyPath: pki.server.keyPath };
    expect(refusal(() => trustSuccessors(broken, [succession], NOW_MS))).toContain("E_CERTIFICATE");
    expect(cas()).toHaveLength(1);
    fs.renameSync(files.caPath, `${files.caPath}.real`);
    fs.symlinkSync(`${files.caPath}.real`, files.caPath);
    expect(refusal(() => trust(succession))).toContain("is a symbolic link");
    expect(cas()).toHaveLength(1);
  });
});

describe("the list of successors", () => {
  test("is read as it was written, the newest four, and says what is wrong with it", async () => {
    const file = path.join(path.dirname(files.caPath), "ca-successors.jsonl");
    expect(readSuccessions(file)).toEqual([]);
    const succession = await vouchFor(old, next.pem);
    fs.writeFileSync(file, successionsText([succession]));
    expect(vouchedSuccessors(readSuccessions(file), readCertificates(files.caPath), NOW_MS)).toHaveLength(1);
    expect(successionsText(Array(6).fill(succession)).trim().split("\n")).toHaveLength(4);
    const long = { certificate: new Uint8Array(2049), signature: new Uint8Array(513) };
    expect(
      successionsText([
        { ...succession, ...{ signature: long.signature } },
        { ...long, signature: new Uint8Array(1) },
      ]),
    ).toBe("");
    fs.appendFileSync(file, "hello\n");
    expect(refusal(() => readSuccessions(file))).toContain("line 2 is not what pki renew ca writes");
  });
});

describe("what the server tells of new CAs", () => {
  test("is an event when one is trusted, and a warning once a day while it cannot be", async () => {
    const clock = new SimClock(NOW_MS);
    const events: ObservedEvent[] = [];
    let enabled = false;
    let outcome = (): readonly string[] => {
      throw new Failure("E_RENEWAL", "none has vouched");
    };
    const news = new AuthorityNews({
      ...{ clock, enabled: () => enabled, trust: () => outcome(), known: (all) => known(all) },
      use: (all) => all.length > 0 && used(),
      events: { emit: (event) => void events.push(event) },
    });
    let known = (_all: readonly Succession[]): number => 0;
    let used = (): boolean => false;
    const told = [await vouchFor(old, next.pem)];
    expect([news.trusted, news.heard(told), events.length, news.trusted]).toEqual([undefined, false, 0, 0]);
    enabled = true;
    expect([news.again(), news.heard(told), news.heard(told)]).toEqual([false, false, false]);
    await clock.advance(DAY_MS + 1);
    expect(news.heard(told)).toBe(false);
    expect(events.map(({ kind, level }) => [kind, level])).toEqual(
      Array(2).fill(["certificate.authority-refused", "warn"]),
    );
    outcome = () => ["next"];
    known = (all) => all.length;
    used = () => true;
    expect([news.again(), news.trusted]).toEqual([true, 1]);
    expect(must(events.at(-1), "event")).toMatchObject({ kind: "certificate.authority-added", level: "info" });
    const before = events.length;
    outcome = () => [];
    // Brought by somebody else.
    expect([news.again(), events.length - before]).toEqual([true, 0]);
    outcome = () => {
      throw new Failure("E_WRITE", "the directory could not be synced");
    };
    // It may be in the file, whatever failed then.
    expect(news.again()).toBe(true);
    used = () => {
      throw new Failure("E_CERTIFICATE", "the pair does not fit");
    };
    expect(news.again()).toBe(false);
  });
});
