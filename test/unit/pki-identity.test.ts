import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import { type Identity, type IdentityFiles, loadIdentity } from "#pki/identity.ts";
import { encodePem } from "#pki/pem.ts";
import { PEM_FILE_BYTES_MAX } from "#pki/pem-file.ts";
import { type DemoPki, expiredBy, makeDemoPki, validityAround } from "#test/support/pki.ts";

const NOW_MS = Date.UTC(2026, 1, 12, 2);
const DAY_MS = 86_400_000;
const VALIDITY = validityAround(NOW_MS);

let dir: string;
let pki: DemoPki;
let stranger: DemoPki;

beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-identity-"));
  pki = await makeDemoPki(path.join(dir, "ours"), { agents: ["web-01"], validity: VALIDITY });
  stranger = await makeDemoPki(path.join(dir, "theirs"), { agents: ["web-01"], validity: VALIDITY });
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

function files(changes: Partial<IdentityFiles> = {}): IdentityFiles {
  return { caPath: pki.caPath, ...pki.agent("web-01"), role: "agent", nowMs: NOW_MS, ...changes };
}

/** The failure of loading; its message names the file by its base name only. */
function refusal(changes: Partial<IdentityFiles>): Failure {
  try {
    loadIdentity(files(changes));
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

let made = 0;

/** A new file of the test. */
function file(content: string | Uint8Array, mode = 0o600): string {
  made += 1;
  const filePath = path.join(dir, `made-${made}.pem`);
  fs.writeFileSync(filePath, content, { mode });
  return filePath;
}

const text = (filePath: string): string => fs.readFileSync(filePath, "utf8");
const web = (): { certPath: string; keyPath: string } => pki.agent("web-01");

describe("an identity", () => {
  test("of an agent has its name, fingerprint, ends and no warning", () => {
    const x509 = new X509Certificate(text(web().certPath));
    expect(loadIdentity(files())).toEqual({
      role: "agent",
      caPem: text(pki.caPath),
      certPem: text(web().certPath),
      keyPem: text(web().keyPath),
      commonName: "web-01",
      fingerprint: x509.fingerprint256.replaceAll(":", "").toLowerCase(),
      notBeforeMs: VALIDITY.notBeforeMs,
      notAfterMs: VALIDITY.notAfterMs,
      rootDer: new X509Certificate(text(pki.caPath)).raw,
      caNotAfterMs: Date.parse(new X509Certificate(text(pki.caPath)).validTo),
      warnings: [],
    } satisfies Identity);
  });

  test("of a server has its first host name", () => {
    const identity = loadIdentity(files({ ...pki.server, role: "server" }));
    expect(identity).toMatchObject({ role: "server", commonName: "localhost", warnings: [] });
  });

  test("takes several CAs in one file", () => {
    const both = file(text(stranger.caPath) + text(pki.caPath));
    expect(loadIdentity(files({ caPath: both })).caPem).toBe(text(stranger.caPath) + text(pki.caPath));
  });

  test("is the same from files with CRLF, text around the blocks, or key and certificate in one file", () => {
    const plain = loadIdentity(files());
    const crlf = (filePath: string): string => file(text(filePath).replaceAll("\n", "\r\n"));
    expect(
      loadIdentity(files({ caPath: crlf(pki.caPath), certPath: crlf(web().certPath), keyPath: crlf(web().keyPath) })),
    ).toEqual(plain);
    const combined = file(`Agent of the web server\n${text(web().keyPath)}\n${text(web().certPath)}`);
    expect(loadIdentity(files({ certPath: combined, keyPath: combined }))).toEqual(plain);
  });

  test("takes a key in the older forms of openssl, and hands it on as PKCS#8", () => {
    const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const older = file(String(pair.privateKey.export({ type: "pkcs1", format: "pem" })));
    expect(refusal({ keyPath: older }).message).toContain("does not belong to the certificate");
    const der = fs.readFileSync(web().keyPath);
    expect(loadIdentity(files({ keyPath: file(der) })).keyPem).toStartWith("-----BEGIN PRIVATE KEY-----\n");
  });
});

describe("an identity is refused with E_CERTIFICATE", () => {
  test("when key and certificate do not belong together", () => {
    const failure = refusal({ keyPath: stranger.agent("web-01").keyPath });
    expect(failure.code).toBe("E_CERTIFICATE");
    expect(failure.message).toBe(
      `${stranger.agent("web-01").keyPath}: the private key does not belong to the certificate in ${web().certPath}`,
    );
  });

  test("when our own certificate is not the first of its file", () => {
    const certPath = file(text(pki.caPath) + text(web().certPath));
    const failure = refusal({ certPath });
    expect(failure.message).toContain("is number 2 in the file, and TLS presents the first");
    expect(failure.hint).toContain("Put our own certificate first");
  });

  test("when it has expired, or is not valid yet", () => {
    const late = refusal({ nowMs: VALIDITY.notAfterMs + 1000 });
    expect(late.message).toBe(
      `${web().certPath}: the certificate of "web-01": it expired at 2026-05-13T02:00:00Z and now is 2026-05-13T02:00:01Z`,
    );
    expect(late.hint).toContain("pki agent NAME --force");
    const early = refusal({ nowMs: VALIDITY.notBeforeMs - 1000 });
    expect(early.message).toContain("it is not valid before 2026-02-12T01:00:00Z and now is 2026-02-12T00:59:59Z");
    expect(early.hint).toBe("Check this machine's clock.");
  });

  test("when the CA has expired", () => {
    expect(refusal({ nowMs: VALIDITY.notAfterMs + 3651 * DAY_MS }).message).toContain(
      `${pki.caPath}: the CA CN=demo CA`,
    );
  });

  test("when it is for the other role", () => {
    expect(refusal({ ...pki.server }).message).toContain(
      "its extended key usage is serverAuth, and being an agent needs clientAuth",
    );
    expect(refusal({ role: "server" }).message).toContain(
      "its extended key usage is clientAuth, and being a server needs serverAuth",
    );
  });

  test("when another CA has issued it", () => {
    const failure = refusal({ caPath: stranger.caPath });
    expect(failure.message).toContain(
      "no certificate in the CA file has issued it; it says that its issuer is CN=demo CA",
    );
    expect(failure.hint).toContain(`${stranger.caPath} must hold the CA`);
  });

  test("when the CA file holds a certificate that is not a CA", () => {
    const failure = refusal({ caPath: web().certPath });
    expect(failure.message).toBe(`${web().certPath}: CN=web-01: it is not a CA (basic constraints CA:FALSE)`);
  });

  test("when the agent's CN is not a name", async () => {
    const pair = await pki.addAgent("../etc", VALIDITY, "odd");
    expect(refusal(pair).message).toContain('its CN "../etc" is not a name');
  });

  const damaged: [what: string, content: () => string | Uint8Array, message: string][] = [
    ["is empty", () => "", "is empty"],
    ["is text", () => "hello\n", "is not PEM: it has no line -----BEGIN"],
    ["is DER", () => new X509Certificate(text(web().certPath)).raw, "is binary (DER or PKCS#12), not PEM"],
    ["is cut off", () => text(web().certPath).slice(0, 200), "ends inside the block of CERTIFICATE: is it complete?"],
    ["has lost a line", () => text(web().certPath).replace(/\n.{64}\n/, "\n"), "certificate 1 of the file is damaged"],
    ["holds a key", () => text(web().keyPath), "holds a private key, where a certificate belongs"],
    [
      "holds something else",
      () => encodePem("X509 CRL", Buffer.from("x")),
      "holds X509 CRL, where a certificate (CERTIFICATE) belongs",
    ],
    [
      "has bytes after the certificate",
      () => encodePem("CERTIFICATE", Buffer.concat([new X509Certificate(text(web().certPath)).raw, Buffer.from("x")])),
      "is damaged: bytes follow it",
    ],
    ["is too large", () => Buffer.alloc(PEM_FILE_BYTES_MAX + 1, " "), "more than the limit of 1048576"],
  ];
  test.each(damaged)("when a certificate's file %s", (_what, content, message) => {
    const filePath = file(content());
    for (const failure of [refusal({ certPath: filePath }), refusal({ caPath: filePath })]) {
      expect(failure.code).toBe("E_CERTIFICATE");
      expect(failure.message).toStartWith(`${filePath}: `);
      expect(failure.message).toContain(message);
    }
  });

  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const locked = { cipher: "aes-256-cbc", passphrase: "secret" };
  const badKeys: [what: string, content: () => string | Uint8Array, message: string][] = [
    [
      "is encrypted",
      () => String(privateKey.export({ type: "pkcs8", format: "pem", ...locked })),
      "the private key is encrypted",
    ],
    [
      "is encrypted in the old way",
      () =>
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
      "the private key is encrypted",
    ],
    ["is DER", () => privateKey.export({ type: "pkcs8", format: "der" }), "is binary (DER or PKCS#12), not PEM"],
    ["holds a certificate", () => text(web().certPath), "holds a certificate, where a private key belongs"],
    [
      "holds an ssh key",
      () => encodePem("OPENSSH PRIVATE KEY", Buffer.from("x")),
      "holds OPENSSH PRIVATE KEY, where a private key (PRIVATE KEY) belongs",
    ],
    ["holds two keys", () => text(web().keyPath).repeat(2), "holds 2 private keys, expected one"],
    ["is garbage", () => encodePem("PRIVATE KEY", Buffer.from("garbage")), "the private key is damaged or of a kind"],
  ];
  test.each(badKeys)("when the key's file %s", (_what, content, message) => {
    const keyPath = file(content());
    const failure = refusal({ keyPath });
    expect(failure.code).toBe("E_CERTIFICATE");
    expect(failure.message).toContain(`${keyPath}: ${message}`);
    expect(failure.message + failure.hint).not.toContain("secret");
  });

  test("when a file is missing, a directory or a fifo, without waiting for anything", () => {
    const missing = refusal({ keyPath: path.join(dir, "none.pem") });
    expect(missing.message).toBe(`${path.join(dir, "none.pem")}: cannot be read: ENOENT`);
    expect(refusal({ certPath: dir }).message).toContain("is not a regular file");
    const fifo = path.join(dir, "fifo");
    expect(Bun.spawnSync(["mkfifo", fifo]).exitCode).toBe(0);
    expect(refusal({ caPath: fifo }).message).toContain("is not a regular file");
  });
});

describe("an identity is accepted with a warning", () => {
  const warnings = (changes: Partial<IdentityFiles>): readonly string[] => loadIdentity(files(changes)).warnings;

  test("when others can read or change the key, but not for a group that may read it", () => {
    const mode = (bits: number): readonly string[] => {
      const keyPath = file(text(web().keyPath));
      fs.chmodSync(keyPath, bits);
      return warnings({ keyPath }).map((warning) => warning.replace(keyPath, "KEY"));
    };
    expect(mode(0o600)).toEqual([]);
    expect(mode(0o640)).toEqual([]);
    expect(mode(0o644)).toEqual([
      "KEY: has mode 0644, so every user of this machine can get at the private key; chmod 0600 it",
    ]);
    expect(mode(0o660)).toEqual(["KEY: has mode 0660, so its group can get at the private key; chmod 0600 it"]);
  });

  test("when it, or its CA, ends within 30 days", () => {
    expect(warnings({ nowMs: VALIDITY.notAfterMs - 30 * DAY_MS })).toEqual([]);
    expect(warnings({ nowMs: VALIDITY.notAfterMs - 30 * DAY_MS + 1000 })).toEqual([
      `${web().certPath}: expires in 29 days, at 2026-05-13T02:00:00Z`,
    ]);
  });

  test("when one of several CAs has expired", async () => {
    const old = await makeDemoPki(path.join(dir, "old"), { validity: expiredBy(NOW_MS - 4000 * DAY_MS) });
    const both = file(text(old.caPath) + text(pki.caPath));
    expect(warnings({ caPath: both })).toEqual([expect.stringMatching(/the CA CN=demo CA [0-9a-f]+: it expired at/)]);
    const onlyOld = file(text(old.caPath).repeat(2));
    expect(refusal({ caPath: onlyOld }).message).toBe(`${onlyOld}: none of its CAs is valid now`);
  });
});
