import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { toFailure } from "#base/errors.ts";
import { systemRandom } from "#bin/system.ts";
import { newToken, parseToken, secretHash, tokenText } from "#pki/enroll-token.ts";

const CA = "5dc27af287fa554aa10fec9de8d724a7964572f1ffd24c2b00e1a3a860ce7679";
const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

function refusal(text: string): string {
  try {
    parseToken(text);
    return "accepted";
  } catch (error) {
    const { code, message } = toFailure(error);
    if (text.length > 40) expect(message).not.toContain(text.slice(4, 40));
    return `${code}: ${message}`;
  }
}

describe("an enrolment token", () => {
  test("is one word of 88 letters and digits, and reads back as what it holds", () => {
    const token = newToken(CA, systemRandom);
    const text = tokenText(token);
    expect(text).toMatch(/^nbe1[a-z2-7]{84}$/);
    expect(parseToken(text)).toEqual(token);
  });

  test("reads back whatever it holds", () => {
    const anyBytes = (length: number): fc.Arbitrary<Uint8Array> =>
      fc.uint8Array({ minLength: length, maxLength: length });
    void fc.assert(
      fc.property(anyBytes(16), anyBytes(32), (secret, ca) => {
        const token = { secret: Uint8Array.from(secret), caFingerprint: Buffer.from(ca).toString("hex") };
        expect(parseToken(tokenText(token))).toEqual(token);
      }),
    );
  });

  test("may be wrapped, indented and in capitals", () => {
    const token = newToken(CA, systemRandom);
    const text = tokenText(token);
    expect(parseToken(`  ${text.slice(0, 40)}\r\n   ${text.slice(40).toUpperCase()}\n`)).toEqual(token);
  });

  test("is refused with any one character mistyped", () => {
    const text = tokenText(newToken(CA, systemRandom));
    for (let index = 0; index < text.length; index++) {
      for (const other of ALPHABET) {
        if (other === text[index]) continue;
        const wrong = text.slice(0, index) + other + text.slice(index + 1);
        expect([wrong, refusal(wrong).split(":")[0]]).toEqual([wrong, "E_USAGE"]);
      }
    }
  });

  test("is refused with two neighbours exchanged, cut off, or longer", () => {
    const text = tokenText(newToken(CA, systemRandom));
    for (let index = 0; index + 1 < text.length; index++) {
      const swapped = text.slice(0, index) + text[index + 1] + text[index] + text.slice(index + 2);
      if (swapped !== text) expect(refusal(swapped)).toStartWith("E_USAGE");
    }
    expect(refusal(text.slice(0, -1))).toContain("cut off");
    expect(refusal(`${text}a`)).toContain("longer");
    expect(refusal("nbe1")).toContain("cut off");
    expect(refusal("hello")).toContain("does not begin with nbe1");
    expect(refusal(`${text.slice(0, 50)}0${text.slice(51)}`)).toContain("has a character that no token has");
  });

  test("is kept as a hash that does not hold the secret", () => {
    const { secret } = newToken(CA, systemRandom);
    expect(secretHash(secret)).toMatch(/^[0-9a-f]{64}$/);
    expect(secretHash(secret)).toBe(secretHash(Uint8Array.from(secret)));
    expect(secretHash(secret)).not.toBe(secretHash(new Uint8Array(16)));
    expect(secretHash(secret)).not.toContain(Buffer.from(secret).toString("hex"));
  });
});
