import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { peerIdentity } from "#pki/peer-identity.ts";
import { opensslBench, side } from "#test/support/openssl.ts";
import { handshake, type TlsSide } from "#test/support/tls-handshake.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "nbackup-pki-openssl-"));
const { at, text, openssl, makeCa, makeLeaf, load, refusal, raw } = opensslBench(dir);

beforeAll(() => {
  makeCa("ca");
  makeLeaf("srv", {
    subject: "/CN=localhost",
    extensions: ["subjectAltName=DNS:localhost", "extendedKeyUsage=serverAuth"],
  });
  makeLeaf("agt", { extensions: ["extendedKeyUsage=clientAuth"] });
});
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

describe("an agent's certificate made by openssl", () => {
  test.each(["RSA 2048", "RSA 4096", "P-256", "P-384", "P-521", "Ed25519"])(
    "with a %s key is accepted, and so it is in TLS",
    async (key) => {
      makeLeaf("one", { key, extensions: ["extendedKeyUsage=clientAuth"] });
      const identity = load("one", "agent");
      expect(identity.warnings).toEqual([]);
      const { server, echoed } = await handshake(side(load("srv", "server")), side(identity));
      expect(echoed).toBe(true);
      expect(peerIdentity(server.peer, "agent", Date.now()).commonName).toBe("web-01");
    },
    60_000,
  );

  test.each([
    ["RSA 1024", /one\.pem: the certificate of "web-01": its RSA key has 1024 bits/],
    ["RSA-PSS", /one-key\.pem: the private key is damaged or of a kind that TLS here does not support/],
    ["secp256k1", /one-key\.pem: the private key is damaged or of a kind that TLS here does not support/],
    ["Ed448", /one-key\.pem: the private key is damaged or of a kind that TLS here does not support/],
  ] as const)("with a %s key is refused in words", (key, message) => {
    makeLeaf("one", { key, extensions: ["extendedKeyUsage=clientAuth"] });
    expect(refusal("one", "agent")).toMatch(message);
  });

  test("of a kind of key that TLS does not support is told apart from a key that does not fit", () => {
    makeLeaf("one", { key: "Ed448" });
    fs.copyFileSync(at("agt-key.pem"), at("one-key.pem"));
    expect(refusal("one", "agent")).toBe(
      'E_CERTIFICATE: one.pem: the key of "web-01" is of a kind that TLS here does not support',
    );
  });

  test.each([
    ["clientAuth", true],
    ["serverAuth,clientAuth", true],
    ["serverAuth", false],
    ["anyExtendedKeyUsage", false],
    ["codeSigning,emailProtection", false],
  ])("with the extended key usage %s is accepted: %p, as TLS has it", async (usage, good) => {
    makeLeaf("one", { extensions: [`extendedKeyUsage=${usage}`] });
    const found = usage.replaceAll(",", ", ");
    expect(refusal("one", "agent")).toBe(
      good
        ? "accepted"
        : `E_CERTIFICATE: one.pem: the certificate of "web-01": its extended key usage is ${found}, and being an agent needs clientAuth`,
    );
    expect((await handshake(side(load("srv", "server")), raw("one"))).echoed).toBe(good);
  });

  test("without an extended key usage is accepted with a warning, as version 1 too", async () => {
    for (const extensions of [["basicConstraints=CA:FALSE"], []]) {
      makeLeaf("one", { extensions });
      const identity = load("one", "agent");
      expect(identity.warnings).toEqual([
        `${at("one.pem")}: has no extended key usage, so whoever has its key can also pass for a server`,
      ]);
      expect((await handshake(side(load("srv", "server")), side(identity))).echoed).toBe(true);
    }
  });

  test("with a key usage that TLS 1.3 cannot use is refused in words", () => {
    makeLeaf("one", { extensions: ["keyUsage=critical,keyEncipherment"] });
    expect(refusal("one", "agent")).toContain("its key usage is keyEncipherment, and TLS 1.3 needs digitalSignature");
  });

  test("with two CNs is refused, whatever tells the two apart", async () => {
    makeLeaf("one", { subject: "/CN=web-01/CN=web-02", extensions: ["extendedKeyUsage=clientAuth"] });
    expect(refusal("one", "agent")).toContain("it has 2 CNs, and an agent's has exactly one");
    const { server } = await handshake(side(load("srv", "server")), raw("one"));
    expect(() => peerIdentity(server.peer, "agent", Date.now())).toThrow(
      "it has 2 CNs, and an agent's has exactly one",
    );
  });

  test("with other attributes beside the CN is accepted", () => {
    makeLeaf("one", { subject: "/C=BR/O=Example Ltda/CN=web-01", extensions: ["extendedKeyUsage=clientAuth"] });
    expect(load("one", "agent").commonName).toBe("web-01");
  });

  test("that is its own CA is accepted with a warning", () => {
    makeCa("self", "/CN=web-01");
    expect(load("self", "agent", "self").warnings).toEqual([
      expect.stringContaining("has no extended key usage"),
      `${at("self.pem")}: is a CA itself, so whoever has its key can make certificates`,
    ]);
  });
});

describe("a server's certificate made by openssl", () => {
  test("without alternative names is accepted with a warning, and TLS takes its CN", async () => {
    makeLeaf("one", { subject: "/CN=localhost", extensions: ["extendedKeyUsage=serverAuth"] });
    const identity = load("one", "server");
    expect(identity.warnings).toEqual([
      `${at("one.pem")}: has no alternative names; agents find only localhost, its CN, in it`,
    ]);
    expect((await handshake(side(identity), side(load("agt", "agent")))).echoed).toBe(true);
  });

  test("without any CN is accepted, and called by its first alternative name", () => {
    makeLeaf("one", { subject: "/", extensions: ["subjectAltName=DNS:localhost", "extendedKeyUsage=serverAuth"] });
    expect(load("one", "server").commonName).toBe("localhost");
  });
});

describe("a certificate below an intermediate CA", () => {
  beforeAll(() => {
    makeLeaf("inter", { subject: "/CN=inter", extensions: ["basicConstraints=critical,CA:TRUE"] });
    makeLeaf("low", { ca: "inter", extensions: ["extendedKeyUsage=clientAuth"] });
    fs.copyFileSync(at("low-key.pem"), at("chain-key.pem"));
    fs.copyFileSync(at("low-key.pem"), at("mixed-key.pem"));
    fs.writeFileSync(at("chain.pem"), text("low.pem") + text("inter.pem"));
    fs.writeFileSync(at("mixed.pem"), text("inter.pem") + text("low.pem"));
    fs.writeFileSync(at("both.pem"), text("inter.pem") + text("ca.pem"));
  });
  const echoed = async (client: TlsSide, ca = "ca"): Promise<boolean> =>
    (await handshake({ ...side(load("srv", "server")), ca: text(`${ca}.pem`) }, client)).echoed;

  test("is accepted when the intermediate follows it in its file", async () => {
    expect(refusal("chain", "agent")).toBe("accepted");
    expect(await echoed(raw("chain"))).toBe(true);
  });

  test("is accepted when the intermediate stands in the CA file beside the root", async () => {
    expect(refusal("low", "agent", "both")).toBe("accepted");
    expect(await echoed(raw("low", "both"), "both")).toBe(true);
  });

  test("is refused when the intermediate is nowhere", async () => {
    expect(refusal("low", "agent")).toBe(
      "E_CERTIFICATE: low.pem: no certificate in the CA file has issued it; it says that its issuer is CN=inter",
    );
    expect(await echoed(raw("low"))).toBe(false);
  });

  test("is refused when the intermediate comes first", () => {
    expect(refusal("mixed", "agent")).toBe(
      "E_CERTIFICATE: mixed.pem: the certificate of the key mixed-key.pem is number 2 in the file, and TLS presents the first",
    );
  });

  test("is refused when the CA file holds only the intermediate", async () => {
    expect(refusal("low", "agent", "inter")).toBe(
      "E_CERTIFICATE: low.pem: the CA file ends at CN=inter, which is not self-signed; its issuer CN=ca is missing",
    );
    expect(await echoed(raw("low", "inter"), "inter")).toBe(false);
  });
});

describe("files made by openssl", () => {
  const agent = (keyFile: string, certFile = "agt.pem"): string => {
    fs.copyFileSync(at(certFile), at("f.pem"));
    fs.copyFileSync(at(keyFile), at("f-key.pem"));
    fs.chmodSync(at("f-key.pem"), 0o600);
    return refusal("f", "agent");
  };

  test("are accepted in the forms of its different commands", () => {
    openssl("ec -in agt-key.pem -out sec1.pem");
    expect(agent("sec1.pem")).toBe("accepted");
    fs.writeFileSync(at("params.pem"), openssl("ecparam -name prime256v1") + text("sec1.pem"));
    expect(text("params.pem")).toContain("BEGIN EC PARAMETERS");
    expect(agent("params.pem")).toBe("accepted");
    fs.writeFileSync(at("text.pem"), openssl("x509 -in agt.pem -text"));
    expect(agent("agt-key.pem", "text.pem")).toBe("accepted");
    makeLeaf("rsa", { key: "RSA 2048", extensions: ["extendedKeyUsage=clientAuth"] });
    openssl("rsa -in rsa-key.pem -traditional -out pkcs1.pem");
    expect(text("pkcs1.pem")).toContain("BEGIN RSA PRIVATE KEY");
    expect(agent("pkcs1.pem", "rsa.pem")).toBe("accepted");
  });

  test("are refused in words when encrypted, in DER or in PKCS#12", () => {
    openssl("pkcs8 -topk8 -in agt-key.pem -out locked.pem -passout pass:secret");
    expect(agent("locked.pem")).toContain("f-key.pem: the private key is encrypted");
    openssl("ec -in agt-key.pem -aes256 -passout pass:secret -out locked-old.pem");
    expect(text("locked-old.pem")).toContain("Proc-Type: 4,ENCRYPTED");
    expect(agent("locked-old.pem")).toContain("f-key.pem: the private key is encrypted");
    openssl("x509 -in agt.pem -outform der -out agt.der");
    expect(agent("agt-key.pem", "agt.der")).toContain("f.pem: is binary (DER or PKCS#12), not PEM");
    openssl("pkcs12 -export -in agt.pem -inkey agt-key.pem -out agt.p12 -passout pass:");
    expect(agent("agt-key.pem", "agt.p12")).toContain("f.pem: is binary (DER or PKCS#12), not PEM");
  });
});
