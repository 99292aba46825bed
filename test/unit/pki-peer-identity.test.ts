import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Failure } from "#base/errors.ts";
import { peerIdentity } from "#pki/peer-identity.ts";
import type { Role } from "#pki/purpose.ts";
import { type DemoPki, makeDemoPki, validityAround } from "#test/support/pki.ts";

const NOW_MS = Date.UTC(2026, 1, 12, 2);
const VALIDITY = validityAround(NOW_MS);

let dir: string;
let pki: DemoPki;

beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-peer-"));
  pki = await makeDemoPki(dir, { agents: ["web-01"], serverHosts: ["backup.example.org"], validity: VALIDITY });
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

function x509(filePath: string): X509Certificate {
  return new X509Certificate(fs.readFileSync(filePath));
}

function refusal(peer: X509Certificate | Uint8Array | undefined, role: Role, nowMs = NOW_MS): string {
  try {
    peerIdentity(peer, role, nowMs);
  } catch (error) {
    if (error instanceof Failure) return String(error);
    throw error;
  }
  return "accepted";
}

describe("a peer's identity", () => {
  test("of an agent is its CN, fingerprint, serial and end", () => {
    const certificate = x509(pki.agent("web-01").certPath);
    const expected = {
      commonName: "web-01",
      fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
      notBeforeMs: VALIDITY.notBeforeMs,
      notAfterMs: VALIDITY.notAfterMs,
      serial: certificate.serialNumber.toLowerCase(),
    };
    expect(peerIdentity(certificate, "agent", NOW_MS)).toEqual(expected);
    expect(peerIdentity(certificate.raw, "agent", NOW_MS)).toEqual(expected);
  });

  test("of a server has its first name, for the log", () => {
    expect(peerIdentity(x509(pki.server.certPath), "server", NOW_MS).commonName).toBe("backup.example.org");
  });

  test("is refused when there is no certificate", () => {
    expect(refusal(undefined, "agent")).toBe("E_TLS: an agent presented no certificate");
  });

  test("is refused when the bytes are not a certificate", () => {
    expect(refusal(Uint8Array.of(0x30, 0x03, 0x02, 0x01, 0x01), "agent")).toMatch(
      /^E_TLS: the certificate of an agent cannot be read: /,
    );
  });

  test("counts the time of each call: valid at the handshake, refused on a Hello after the certificate's end", () => {
    const certificate = x509(pki.agent("web-01").certPath);
    expect(refusal(certificate, "agent", VALIDITY.notAfterMs)).toBe("accepted");
    expect(refusal(certificate, "agent", VALIDITY.notAfterMs + 1)).toBe(
      'E_TLS: the certificate of agent "web-01": it expired at 2026-05-13T02:00:00Z and now is 2026-05-13T02:00:00Z',
    );
    expect(refusal(certificate, "agent", VALIDITY.notBeforeMs)).toBe("accepted");
    expect(refusal(certificate, "agent", VALIDITY.notBeforeMs - 1)).toMatch(
      /it is not valid before 2026-02-12T01:00:00Z/,
    );
  });

  test("is refused when the certificate is for the other role", () => {
    expect(refusal(x509(pki.server.certPath), "agent")).toBe(
      'E_TLS: the certificate of agent "backup.example.org": its extended key usage is serverAuth, and being an agent needs clientAuth',
    );
    expect(refusal(x509(pki.agent("web-01").certPath), "server")).toMatch(
      /clientAuth, and being a server needs serverAuth/,
    );
  });

  test("of an agent is refused when the CN is not a name that may become a directory", async () => {
    for (const name of ["../web", "web/01", ".web", "", "a b", "web\n", "wéb", "web\0", "x".repeat(64).concat("y")]) {
      const pair = await pki.addAgent(name, VALIDITY, "odd");
      expect(refusal(x509(pair.certPath), "agent")).toMatch(
        /^E_IDENTITY: the agent's certificate: its CN ".*" is not a name: 1 to 64/,
      );
    }
  });
});
