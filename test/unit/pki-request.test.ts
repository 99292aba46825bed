import { describe, expect, test } from "bun:test";
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import * as fc from "fast-check";
import { toFailure } from "#base/errors.ts";
import { derElement } from "#pki/der-writer.ts";
import { makeRequest, newAgentKey, readRequest, REQUEST_BYTES_MAX } from "#pki/request.ts";

const KEY = newAgentKey();

function refusal(der: Uint8Array): string {
  try {
    readRequest(der);
    return "accepted";
  } catch (error) {
    const failure = toFailure(error);
    return failure.code === "E_REQUEST"
      ? failure.message.replace("the certificate request is refused: ", "")
      : String(error);
  }
}

interface Parts {
  readonly version?: number;
  readonly names?: readonly { readonly oid?: string; readonly tag?: number; readonly value: string }[];
  readonly spki?: Uint8Array;
  readonly attributes?: Uint8Array;
  readonly algorithm?: string;
  readonly signedBy?: string;
}

/** A request of any parts, signed with a key that is there. */
function craft(parts: Parts): Uint8Array {
  const names = (parts.names ?? [{ value: "web-01" }]).map(({ oid = "550403", tag = 0x0c, value }) =>
    derElement(0x31, derElement(0x30, derElement(0x06, Buffer.from(oid, "hex")), derElement(tag, Buffer.from(value)))),
  );
  const spki = parts.spki ?? createPublicKey(createPrivateKey(KEY)).export({ type: "spki", format: "der" });
  const info = derElement(
    0x30,
    derElement(0x02, Uint8Array.of(parts.version ?? 0)),
    derElement(0x30, ...names),
    spki,
    derElement(0xa0, parts.attributes ?? new Uint8Array()),
  );
  const signature = sign("sha256", info, { key: parts.signedBy ?? KEY, dsaEncoding: "der" });
  const algorithm = Buffer.from(parts.algorithm ?? "2a8648ce3d040302", "hex");
  return derElement(
    0x30,
    info,
    derElement(0x30, derElement(0x06, algorithm)),
    derElement(0x03, Uint8Array.of(0), signature),
  );
}

const spkiOf = (namedCurve: string): Uint8Array =>
  generateKeyPairSync("ec", { namedCurve }).publicKey.export({ type: "spki", format: "der" });

describe("a certificate request", () => {
  test("is read as it was made, and holds the key's public half", () => {
    const request = readRequest(makeRequest("web-01", KEY));
    expect(request.name).toBe("web-01");
    const spki = createPublicKey(createPrivateKey(KEY)).export({ type: "spki", format: "der" });
    expect(Buffer.from(request.publicKeyDer).equals(spki)).toBe(true);
  });

  test("stays far below its limit with the longest name", () => {
    const der = makeRequest("n".repeat(64), KEY);
    expect(readRequest(der).name).toBe("n".repeat(64));
    expect(der.length * 3).toBeLessThan(REQUEST_BYTES_MAX);
  });

  test("is refused when its signature was made with another key", () => {
    expect(refusal(craft({}))).toBe("accepted");
    expect(refusal(craft({ signedBy: newAgentKey() }))).toBe("its signature was not made with the key that it is for");
  });

  test("is refused with any other name than one CN", () => {
    expect(refusal(craft({ names: [{ value: "../etc" }] }))).toStartWith('its CN "../etc" is not a name');
    expect(refusal(craft({ names: [{ value: "" }] }))).toStartWith('its CN "" is not a name');
    expect(refusal(craft({ names: [{ value: "web\u202e01" }] }))).toContain("is not a name");
    expect(refusal(craft({ names: [{ value: "a" }, { value: "b" }] }))).toBe("its subject is not one CN");
    expect(refusal(craft({ names: [{ oid: "55040a", value: "web-01" }] }))).toBe("its subject is not one CN");
    expect(refusal(craft({ names: [{ tag: 0x1e, value: "web-01" }] }))).toContain("has tag 0x1e");
    expect(refusal(craft({ names: [] }))).toContain("the bytes end");
  });

  test("is refused with a key of another kind, a point beside the curve, attributes, or another version", () => {
    expect(refusal(craft({ spki: spkiOf("P-384") }))).toBe("its key is not an uncompressed P-256 key");
    const off = Buffer.from(createPublicKey(createPrivateKey(KEY)).export({ type: "spki", format: "der" }));
    off[90] = (off[90] ?? 0) ^ 1;
    expect(refusal(craft({ spki: off }))).toMatch(/its key is not one|its signature was not made/);
    expect(refusal(craft({ attributes: derElement(0x30) }))).toBe("it has attributes");
    expect(refusal(craft({ version: 1 }))).toBe("it is of another version than 1");
    expect(refusal(craft({ algorithm: "2a8648ce3d040303" }))).toContain("expected ECDSA with SHA-256");
  });

  test("is refused before anything is read when it is too long", () => {
    expect(refusal(new Uint8Array(REQUEST_BYTES_MAX + 1))).toContain("more than the limit");
  });

  test("is refused with any byte changed, cut off or added", () => {
    const der = makeRequest("web-01", KEY);
    for (let index = 0; index < der.length; index++) {
      const changed = Buffer.from(der);
      changed[index] = (changed[index] ?? 0) ^ 0x01;
      expect([index, refusal(changed)]).not.toEqual([index, "accepted"]);
      expect(refusal(der.subarray(0, index))).not.toBe("accepted");
    }
    expect(refusal(Buffer.concat([der, Buffer.of(0)]))).toContain("follow");
  });

  test("of random bytes raises E_REQUEST and nothing else", () => {
    void fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(refusal(bytes)).not.toMatch(/^accepted$|^[A-Z]/);
      }),
    );
  });
});
