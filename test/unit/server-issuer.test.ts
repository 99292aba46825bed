import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Clock } from "#base/clock.ts";
import { toFailure } from "#base/errors.ts";
import { systemRandom } from "#bin/system.ts";
import { commonNames, parseCertificate } from "#pki/certificate.ts";
import { findChain } from "#pki/chain.ts";
import { loadIdentity } from "#pki/identity.ts";
import { readCertificates } from "#pki/pem-file.ts";
import { makeRequest, newAgentKey } from "#pki/request.ts";
import { Issuer } from "#server/issuer.ts";
import { type DemoPki, expiredBy, makeDemoPki } from "#test/support/pki.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const NOW_MS = Date.UTC(2026, 1, 12, 2, 0, 0, 400);

let root: string;
let pki: DemoPki;
let other: DemoPki;

beforeAll(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-issuer-"));
  const validity = { notBeforeMs: NOW_MS - 3_600_000, notAfterMs: NOW_MS + 90 * 86_400_000 };
  pki = await makeDemoPki(path.join(root, "pki"), { validity, serverHosts: ["backup.example.org", "192.0.2.7"] });
  other = await makeDemoPki(path.join(root, "other"), { validity });
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

interface Changes {
  readonly caCertFile?: string;
  readonly caKeyFile?: string;
  readonly revokedMs?: number;
  readonly clock?: Clock;
}

function open({ caCertFile, caKeyFile, revokedMs, clock }: Changes = {}): Promise<Issuer> {
  return Issuer.open({
    caCertFile: caCertFile ?? pki.caPath,
    caKeyFile: caKeyFile ?? pki.caKeyPath,
    serverCertificate: () => new X509Certificate(fs.readFileSync(pki.server.certPath)).raw,
    revokedBefore: () => revokedMs,
    clock: clock ?? new SimClock(NOW_MS),
    random: systemRandom,
  });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "resolved",
    (error: unknown) => `${toFailure(error).code}: ${toFailure(error).message.replaceAll(root, "")}`,
  );
}

const parse = (pem: string): ReturnType<typeof parseCertificate> => parseCertificate(new X509Certificate(pem).raw);

describe("the issuer", () => {
  test("makes a certificate of the request's key that an agent starts with", async () => {
    const keyPem = newAgentKey();
    const issued = await (await open()).issueAgent("web-01", makeRequest("web-01", keyPem));
    expect(new X509Certificate(issued.certPem).checkPrivateKey(createPrivateKey(keyPem))).toBe(true);
    const files = { caPath: pki.caPath, certPath: path.join(root, "w.pem"), keyPath: path.join(root, "w-key.pem") };
    fs.writeFileSync(files.certPath, issued.certPem);
    fs.writeFileSync(files.keyPath, keyPem, { mode: 0o600 });
    const identity = loadIdentity({ ...files, role: "agent", nowMs: NOW_MS });
    expect(identity.commonName).toBe("web-01");
    expect(identity.fingerprint).toBe(issued.fingerprint);
    expect(identity.warnings).toEqual([]);
    expect(commonNames(parse(issued.certPem))).toEqual(["web-01"]);
  });

  test("gives every certificate a serial number of its own", async () => {
    const issuer = await open();
    const request = makeRequest("web-01", newAgentKey());
    const serials = await Promise.all([1, 2, 3].map(async () => (await issuer.issueAgent("web-01", request)).serial));
    expect(new Set(serials).size).toBe(3);
  });

  test("finds its CA among several in the file by the key", async () => {
    const bundle = path.join(root, "bundle.pem");
    fs.writeFileSync(bundle, fs.readFileSync(other.caPath, "utf8") + fs.readFileSync(pki.caPath, "utf8"));
    const issuer = await open({ caCertFile: bundle });
    const { certPem } = await issuer.issueAgent("web-01", makeRequest("web-01", newAgentKey()));
    fs.writeFileSync(path.join(root, "leaf.pem"), certPem);
    const [leaf] = readCertificates(path.join(root, "leaf.pem"));
    expect(
      leaf === undefined ? "none" : findChain(leaf, [], readCertificates(pki.caPath), NOW_MS).problem,
    ).toBeUndefined();
  });

  test("does not open with a key of another CA, or without one", async () => {
    expect(await codeOf(open({ caKeyFile: other.caKeyPath }))).toBe(
      "E_CERTIFICATE: /other/ca-key.pem: the private key does not belong to any certificate in " +
        `${pki.caPath.replace(root, "")}`,
    );
    expect(await codeOf(open({ caKeyFile: path.join(root, "none.pem") }))).toContain("cannot be read: ENOENT");
  });

  test("refuses a request for another name, and a name that no agent may have", async () => {
    const issuer = await open();
    const issue = (name: string, of: string): Promise<string> =>
      codeOf(issuer.issueAgent(name, makeRequest(of, newAgentKey())));
    expect(await issue("web-01", "web-02")).toBe(
      'E_REQUEST: the certificate request is for "web-02", expected "web-01"',
    );
    expect(await issue("server", "server")).toStartWith("E_NAME");
    expect(await issue("web-key", "web-key")).toStartWith("E_NAME");
    expect(await issue("Backup.example.org", "Backup.example.org")).toContain("is a name of the server");
  });

  test("begins after a revocation of the name, and is valid when it is handed out", async () => {
    const clock = new SimClock(NOW_MS);
    const waits = Promise.withResolvers<void>();
    const watched: Clock = {
      now: () => clock.now(),
      wall: () => clock.wall(),
      after: (delayMs, fn) => {
        waits.resolve();
        return clock.after(delayMs, fn);
      },
    };
    const issuing = open({ clock: watched, revokedMs: NOW_MS - 100 }).then((issuer) =>
      issuer.issueAgent("web-01", makeRequest("web-01", newAgentKey())),
    );
    // The crypto library's work is real, the wait for the certificate's beginning is not.
    await waits.promise;
    await clock.advance(1_000);
    const { notBeforeMs } = await issuing;
    expect(notBeforeMs).toBeGreaterThan(NOW_MS - 100);
    expect(notBeforeMs).toBeLessThanOrEqual(clock.wall());
  });

  test("does not issue when a revocation lies in the future, or its CA has ended meanwhile", async () => {
    const request = makeRequest("web-01", newAgentKey());
    const early = await open({ revokedMs: NOW_MS + 60_000 });
    expect(await codeOf(early.issueAgent("web-01", request))).toContain("and here it is 2026-02-12T02:00:00.400Z");
    const ending = await makeDemoPki(path.join(root, "ending"), { validity: expiredBy(NOW_MS) });
    const clock = new SimClock(NOW_MS);
    const issuer = await open({ caCertFile: ending.caPath, caKeyFile: ending.caKeyPath, clock });
    clock.jumpWall(4_000 * 86_400_000);
    expect(await codeOf(issuer.issueAgent("web-01", request))).toStartWith(
      "E_CERTIFICATE: the CA of this server cannot issue certificates: it expired",
    );
  });

  test("never outlives its CA", async () => {
    const short = await makeDemoPki(path.join(root, "short"), {
      validity: { notBeforeMs: NOW_MS - 4_000 * 86_400_000, notAfterMs: NOW_MS - 3_640 * 86_400_000 },
    });
    const issuer = await open({ caCertFile: short.caPath, caKeyFile: short.caKeyPath });
    const issued = await issuer.issueAgent("web-01", makeRequest("web-01", newAgentKey()));
    expect(issued.notAfterMs).toBe(parse(fs.readFileSync(short.caPath, "utf8")).notAfterMs);
  });
});
