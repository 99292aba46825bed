import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { type Certificate, commonNames, displayName, nameText, parseCertificate } from "#pki/certificate.ts";
import { DerReader, MalformedDer, oidText, TAG, timeMs } from "#pki/der.ts";
import { isIpv4, isIpv6, shortIpv6 } from "#pki/ip.ts";
import { printable } from "#pki/printable.ts";
import { type DemoPki, makeDemoPki } from "#test/support/pki.ts";

let dir: string;
let pki: DemoPki;

beforeAll(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-certificate-"));
  pki = await makeDemoPki(dir, { agents: ["web-01"], serverHosts: ["backup.example.org", "192.0.2.7", "2001:db8::1"] });
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

function raw(filePath: string): Uint8Array {
  return new X509Certificate(fs.readFileSync(filePath)).raw;
}

describe("a certificate's values", () => {
  test("are those that the crypto library reads", () => {
    const x509 = new X509Certificate(fs.readFileSync(pki.server.certPath));
    const certificate = parseCertificate(x509.raw);
    expect(certificate.fingerprint).toBe(x509.fingerprint256.replaceAll(":", "").toLowerCase());
    expect(certificate.serial).toBe(x509.serialNumber.toLowerCase());
    expect(certificate.notBeforeMs).toBe(Date.parse(x509.validFrom));
    expect(certificate.notAfterMs).toBe(Date.parse(x509.validTo));
    expect(nameText(certificate.subject)).toBe(x509.subject);
    expect(nameText(certificate.issuer)).toBe(x509.issuer);
    expect(certificate.extendedKeyUsages).toEqual(x509.keyUsage);
  });

  test("of a server's certificate have its names and usages", () => {
    expect(parseCertificate(raw(pki.server.certPath))).toMatchObject({
      dnsNames: ["backup.example.org"],
      ipAddresses: ["192.0.2.7", "2001:db8::1"],
      ca: false,
      keyUsages: ["digitalSignature"],
      extendedKeyUsages: ["1.3.6.1.5.5.7.3.1"],
    });
  });

  test("of a CA's certificate say that it is one", () => {
    expect(parseCertificate(raw(pki.caPath))).toMatchObject({
      ca: true,
      keyUsages: ["keyCertSign", "cRLSign"],
      extendedKeyUsages: undefined,
    });
  });

  test("of an agent's certificate have its one CN", () => {
    const certificate = parseCertificate(raw(pki.agent("web-01").certPath));
    expect(commonNames(certificate)).toEqual(["web-01"]);
    expect(displayName(certificate)).toBe("web-01");
  });

  test("hold times beyond 2049, which are written in another form", async () => {
    const validity = { notBeforeMs: Date.UTC(2049, 0, 1), notAfterMs: Date.UTC(2051, 5, 7, 8, 9, 10) };
    const late = await pki.addAgent("late", validity);
    expect(parseCertificate(raw(late.certPath))).toMatchObject(validity);
  });
});

describe("damaged certificates", () => {
  const parse = (der: Uint8Array): Certificate | undefined => {
    try {
      return parseCertificate(der);
    } catch (error) {
      if (error instanceof MalformedDer) return undefined;
      throw error;
    }
  };

  test("with any bytes changed raise nothing but MalformedDer", () => {
    const good = raw(pki.server.certPath);
    const change = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = Uint8Array.from(good);
        for (const [offset, value] of changes) bytes[offset] = value;
        const certificate = parse(bytes);
        return certificate === undefined || certificate.der === bytes;
      }),
      { numRuns: 3000 },
    );
  });

  test("cut off anywhere are malformed", () => {
    const good = raw(pki.server.certPath);
    for (let length = 0; length < good.length; length++) expect(parse(good.subarray(0, length))).toBeUndefined();
  });

  test("of random bytes raise nothing but MalformedDer", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => parse(bytes) === undefined),
      { numRuns: 2000 },
    );
  });

  test("larger than the limit are refused before they are read", () => {
    expect(() => parseCertificate(new Uint8Array(65 * 1024))).toThrow(/exceed the limit/);
  });
});

describe("DER", () => {
  const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(" ", ""), "hex");

  test("elements follow one another, and an optional one is passed over when it is another", () => {
    const reader = new DerReader(hex("0201 05 0101 ff"));
    expect(reader.takeOptional(TAG.boolean)).toBeUndefined();
    expect(reader.take(TAG.integer, "a number")).toEqual(hex("05"));
    expect(reader.takeOptional(TAG.boolean)).toEqual(hex("ff"));
    expect(reader.atEnd).toBe(true);
    expect(() => reader.end("all")).not.toThrow();
  });

  const malformed: [what: string, bytes: string][] = [
    ["a length beyond the end", "0205 01"],
    ["an indefinite length", "3080 0000"],
    ["a length of five bytes", "0285 0000000001 00"],
    ["a tag of several bytes", "1f8101 00"],
    ["nothing", ""],
    ["a tag alone", "30"],
  ];
  test.each(malformed)("%s is malformed", (_what, bytes) => {
    expect(() => new DerReader(hex(bytes)).next()).toThrow(MalformedDer);
  });

  test("an element of another type names both types", () => {
    expect(() => new DerReader(hex("0500")).take(TAG.integer, "the number")).toThrow(
      "the number has tag 0x5, expected 0x2",
    );
  });

  test("object identifiers are written with dots", () => {
    expect(oidText(hex("55 1d 25"))).toBe("2.5.29.37");
    expect(oidText(hex("2b 06 01 05 05 07 03 01"))).toBe("1.3.6.1.5.5.7.3.1");
    expect(oidText(hex("88 37"))).toBe("2.999");
    for (const bad of ["", "80", "ff ff ff ff ff ff ff ff ff 7f"])
      expect(() => oidText(hex(bad))).toThrow(MalformedDer);
  });

  test("times are read in both forms, and in no other", () => {
    const time = (tag: number, text: string): number => timeMs({ tag, content: Buffer.from(text) });
    expect(time(TAG.utcTime, "260212020000Z")).toBe(Date.UTC(2026, 1, 12, 2));
    expect(time(TAG.utcTime, "500101000000Z")).toBe(Date.UTC(1950, 0, 1));
    expect(time(TAG.generalizedTime, "20510607080910Z")).toBe(Date.UTC(2051, 5, 7, 8, 9, 10));
    for (const bad of ["2602120200Z", "260212020000+0100", "20260212020000Z"]) {
      expect(() => time(TAG.utcTime, bad)).toThrow(MalformedDer);
    }
    expect(() => time(TAG.integer, "260212020000Z")).toThrow(MalformedDer);
  });
});

describe("text", () => {
  test("from a certificate cannot steer a terminal or fake a line", () => {
    expect(printable("a\u001b[2Jb\nCN=c\u202ed\ud800")).toBe("a\\u{1b}[2Jb\\u{a}CN=c\\u{202e}d\\u{d800}");
    expect(printable("Zürich 東京")).toBe("Zürich 東京");
    expect(printable("x".repeat(1000))).toBe(`${"x".repeat(200)}…`);
  });

  test("of addresses is told from names and shortened as usual", () => {
    for (const good of ["0.0.0.0", "192.0.2.7", "255.255.255.255"]) expect(isIpv4(good)).toBe(true);
    for (const bad of ["1.2.3", "1.2.3.256", "1.2.3.4.5", "01.2.3.4", "1.2.3.4 "]) expect(isIpv4(bad)).toBe(false);
    for (const good of ["::", "::1", "2001:DB8:0::1", "::ffff:192.0.2.7"]) expect(isIpv6(good)).toBe(true);
    for (const bad of ["1", ":", "1::2::3", "fe80::1%eth0", "12345::", "::1]"]) expect(isIpv6(bad)).toBe(false);
    expect(shortIpv6("2001:0DB8:0:0:0:0:0:1")).toBe("2001:db8::1");
  });
});
