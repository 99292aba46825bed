/** The list of revocations beside the CA, and the times that follow from it. */
import { afterAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { toFailure } from "#base/errors.ts";
import {
  appendRevocation,
  certificateKey,
  isRevoked,
  readRevocations,
  revocationsPath,
  revocationTime,
} from "#pki/revocations.ts";
import { leafValidity } from "#pki/validity.ts";

const NOW_MS = Date.UTC(2026, 1, 12, 2, 0, 0, 450);
const SECOND_MS = 1000;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "revocations-"));
let files = 0;

afterAll(() => fs.rmSync(dir, { recursive: true }));

function fileOf(content: string): string {
  files += 1;
  const file = path.join(dir, `${files}.jsonl`);
  fs.writeFileSync(file, content);
  return file;
}

function failureOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return String(toFailure(error));
  }
  return "none";
}

describe("the list of revocations", () => {
  test("lies beside the CA's certificate, and is empty when there is none", () => {
    expect(revocationsPath("/etc/nbackup/pki/ca.pem")).toBe("/etc/nbackup/pki/revoked.jsonl");
    expect(readRevocations(path.join(dir, "none.jsonl")).size).toBe(0);
  });

  test("gives back what was added, of each agent the newest, readable for the server's user", () => {
    const file = path.join(dir, "added.jsonl");
    const at = (seconds: number): number => Date.UTC(2026, 1, 12) + seconds * SECOND_MS;
    const umask = process.umask(0o077);
    appendRevocation(file, { agent: "web-01", atMs: at(5) });
    process.umask(umask);
    appendRevocation(file, { agent: "db", atMs: at(1) });
    appendRevocation(file, { agent: "web-01", atMs: at(3) });
    expect([...readRevocations(file)]).toEqual([
      ["web-01", at(5)],
      ["db", at(1)],
    ]);
    expect(fs.readFileSync(file, "utf8").split("\n")[1]).toBe('{"agent":"db","revoked":"2026-02-12T00:00:01Z"}');
    expect(fs.statSync(file).mode & 0o777).toBe(0o644);
  });

  test("does without a line that a crash tore, and the next one is whole", () => {
    const file = fileOf('{"agent":"a","revoked":"2026-02-12T00:00:00Z"}\n{"agent":"b","rev');
    expect([...readRevocations(file).keys()]).toEqual(["a"]);
    appendRevocation(file, { agent: "c", atMs: 0 });
    expect([...readRevocations(file).keys()]).toEqual(["a", "c"]);
  });

  test("loses nothing to an editor's line ends and blanks, nor to zeros that a power cut left", () => {
    const line = '{"agent":"a","revoked":"2026-02-12T00:00:00Z"}';
    for (const content of [`${line}\r\n`, `  ${line} \n`, `${line}\0\0\0\n`, line.slice(0, -1), `\0\0\n${line}\n\n`]) {
      expect([...readRevocations(fileOf(content)).keys()]).toEqual(["a"]);
    }
  });

  test("does without the beginning of a line, wherever a crash tore it", () => {
    const line = '{"agent":"web-01","revoked":"2026-02-12T00:00:00Z"}';
    for (let length = 0; length < line.length - 1; length += 1) {
      expect(readRevocations(fileOf(line.slice(0, length))).size).toBe(0);
    }
  });

  test("names certificates beside an agent's time, and does without such a line wherever a crash tore it", () => {
    const file = path.join(dir, "named.jsonl");
    const [one, other] = ["ab".repeat(32), "cd".repeat(32)];
    appendRevocation(file, { agent: "web-01", atMs: 5 * SECOND_MS, certificates: [one, other] });
    const named = [
      ["web-01", 5 * SECOND_MS],
      ...[one, other].map((fingerprint) => [certificateKey(fingerprint), 5 * SECOND_MS]),
    ];
    expect([...readRevocations(file)] as unknown[]).toEqual(named);
    const line = fs.readFileSync(file, "utf8").trim();
    for (let length = 0; length < line.length - 1; length += 1) {
      // A line that ends with the time is whole.
      const whole = line.slice(0, length).endsWith('Z"');
      expect([...readRevocations(fileOf(line.slice(0, length))).keys()]).toEqual(whole ? ["web-01"] : []);
    }
    expect(failureOf(() => readRevocations(fileOf(line.replace(one, "xy"))))).toContain("line 1 is not a revocation");
  });

  test("is refused as a whole when a line means nothing, because nobody would know who is revoked", () => {
    const whole = '{"agent":"a","revoked":"2026-02-12T00:00:00Z"}';
    for (const line of [
      '{"agent":"a"}',
      `${whole},`,
      `# ${whole}`,
      "web-01",
      '{"agent":"../a","revoked":"2026-02-12T00:00:00Z"}',
      "{a}",
    ]) {
      expect(failureOf(() => readRevocations(fileOf(`${line}\n`)))).toMatch(
        /^E_CERTIFICATE: .*line 1 is not a revocation/,
      );
    }
    expect(failureOf(() => readRevocations(dir))).toMatch(/^E_CERTIFICATE: .*cannot be read: EISDIR/);
  });

  test("takes no line more than it can be read with", () => {
    const file = fileOf(`{"agent":"a","revoked":"2026-02-12T00:00:00Z"}\n${" ".repeat(16 * 1024 * 1024 - 110)}\n`);
    const before = fs.statSync(file).size;
    expect(failureOf(() => appendRevocation(file, { agent: "web-01", atMs: 0 }))).toBe("none");
    expect(failureOf(() => appendRevocation(file, { agent: "web-02", atMs: 0 }))).toMatch(/^E_WRITE: .*would have/);
    expect(fs.statSync(file).size).toBeLessThan(before + 60);
    expect(readRevocations(file).has("web-01")).toBe(true);
  });

  test("says what is wrong when it cannot be written", () => {
    const file = path.join(dir, "missing", "revoked.jsonl");
    expect(failureOf(() => appendRevocation(file, { agent: "a", atMs: 0 }))).toMatch(/^E_WRITE: .*ENOENT/);
  });
});

describe("a revocation", () => {
  test("ends what carries no later notBefore, and nothing else", () => {
    expect(isRevoked({ notBeforeMs: 1000 }, undefined)).toBe(false);
    expect(isRevoked({ notBeforeMs: 1000 }, 1000)).toBe(true);
    expect(isRevoked({ notBeforeMs: 2000 }, 1000)).toBe(false);
  });

  test("is later than the last one of the same agent, also within one second", () => {
    const first = revocationTime(NOW_MS, undefined);
    expect(first).toBe(NOW_MS - 450);
    expect(revocationTime(NOW_MS, first)).toBe(first + SECOND_MS);
    expect(revocationTime(NOW_MS + 3_600_000, first)).toBe(first + 3_600_000);
  });

  test("revokes each certificate made before it and none made after it, however close they follow", () => {
    let revoked: number | undefined;
    for (let round = 0; round < 5; round += 1) {
      const before = leafValidity(NOW_MS, 825, { caNotAfterMs: 4e12, revokedMs: revoked }).notBeforeMs;
      expect(isRevoked({ notBeforeMs: before }, revoked)).toBe(false);
      revoked = revocationTime(NOW_MS, revoked);
      expect(isRevoked({ notBeforeMs: before }, revoked)).toBe(true);
    }
  });
});
