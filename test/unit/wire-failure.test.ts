/** Failures across the wire, the choice of a version, and the root of a file. */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { Failure } from "#base/errors.ts";
import { RootHasher } from "#base/root-hash.ts";
import { disownFields, failureFields, failureFromFields, wireText } from "#wire/failure.ts";
import { encodeMessage } from "#wire/encode.ts";
import { MESSAGES } from "#wire/messages.ts";
import { checkVersion, chooseVersion } from "#wire/version.ts";

describe("a failure crosses the wire", () => {
  test("with its code, message, hint and when to come again", () => {
    const sent = new Failure("E_FULL", "12 GB are missing", { hint: "Run prune.", retryAfterMs: 60_000 });
    const got = failureFromFields(failureFields(sent));
    expect([got.code, got.message, got.hint, got.retryable, got.retryAfterMs]).toEqual([
      ...["E_FULL", "12 GB are missing", "Run prune."],
      ...[false, 60_000],
    ]);
  });

  test("with the sender's say about trying again, whatever this version's catalogue says", () => {
    const fields = failureFields(new Failure("E_BUSY", "x", { retry: false }));
    expect(fields.retry).toBe(false);
    expect(failureFromFields({ ...fields, retry: true }).retryable).toBe(true);
    expect(failureFromFields(fields).retryable).toBe(false);
  });

  test("with its text when only a later version knows its code", () => {
    const got = failureFromFields({ code: "E_QUOTA", message: "over quota", hint: "Ask.", retry: true });
    expect([got.code, got.message, got.retryable, got.exitCode]).toEqual(["E_PEER", "E_QUOTA: over quota", true, 1]);
  });

  test("cut to what a message may hold, without half a character", () => {
    const fields = failureFields(new Failure("E_INTERNAL", "🦀".repeat(3000), { hint: "\ud800 lone" }));
    expect(MESSAGES.refused.safeParse(fields).success).toBe(true);
    expect(fields.message.isWellFormed()).toBe(true);
    expect(fields.message.endsWith("🦀…")).toBe(true);
    expect(fields.hint.isWellFormed()).toBe(true);
    expect(wireText("short")).toBe("short");
    const disown = disownFields(new Failure("E_SOURCE_MISSING", "€".repeat(5000)));
    expect(encodeMessage("disown", disown).length).toBeLessThanOrEqual(32 + 4096);
  });
});

describe("the version is", () => {
  test("the highest that both sides speak", () => {
    expect(chooseVersion({ versionMin: 1, versionMax: 5 }, { versionMin: 2, versionMax: 3 })).toBe(3);
    expect(chooseVersion({ versionMin: 1, versionMax: 1 })).toBe(1);
  });

  test("refused with both ranges named when there is none in common", () => {
    expect(() => chooseVersion({ versionMin: 2, versionMax: 4 }, { versionMin: 1, versionMax: 1 })).toThrow(
      "agent speaks protocol versions 2-4 and server 1: none in common",
    );
    expect(() => chooseVersion({ versionMin: 1, versionMax: 2 }, { versionMin: 3, versionMax: 4 })).toThrow(Failure);
    expect(() => chooseVersion({ versionMin: 2, versionMax: 1 })).toThrow(Failure);
  });

  test("checked by the agent too", () => {
    expect(checkVersion(1)).toBeUndefined();
    expect(() => checkVersion(2)).toThrow("server chose protocol version 2, this agent speaks 1");
  });
});

describe("the root of a file", () => {
  test("is SHA-256 over offset, length and digest of each chunk in sequence order", () => {
    const digests = ["a", "b"].map((text) => createHash("sha256").update(text).digest());
    const hasher = new RootHasher();
    hasher.add(0, 2 ** 32 - 1, new Uint8Array(digests[0] ?? []));
    hasher.add(2 ** 32 - 1, 5, new Uint8Array(digests[1] ?? []));
    const record = (offset: bigint, length: number, digest: Buffer | undefined): Buffer => {
      const numbers = Buffer.alloc(12);
      numbers.writeBigUInt64BE(offset, 0);
      numbers.writeUInt32BE(length, 8);
      return Buffer.concat([numbers, digest ?? Buffer.alloc(0)]);
    };
    const list = Buffer.concat([record(0n, 2 ** 32 - 1, digests[0]), record(2n ** 32n - 1n, 5, digests[1])]);
    expect(hasher.root().toHex()).toBe(createHash("sha256").update(list).digest("hex"));
    expect([hasher.chunkCount, hasher.nextOffset]).toEqual([2, 2 ** 32 + 4]);
  });

  test("takes no chunk out of order", () => {
    const hasher = new RootHasher();
    expect(() => hasher.add(1, 1, new Uint8Array(32))).toThrow("chunk 0 at offset 1, expected 0");
  });
});
