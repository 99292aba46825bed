import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { archiveWallMs, pathSteps } from "#ui/path-keys.ts";

const keyOf = (path: string | Uint8Array): string => Buffer.from(path).toString("base64url");

describe("the way to a directory", () => {
  test("has a key for every directory above, as the server would give it", () => {
    expect(pathSteps(keyOf("etc/nginx/conf.d"), "etc/nginx/conf.d")).toEqual([
      { name: "etc", key: keyOf("etc") },
      { name: "nginx", key: keyOf("etc/nginx") },
      { name: "conf.d", key: keyOf("etc/nginx/conf.d") },
    ]);
    expect(pathSteps(null, null)).toEqual([]);
  });
  test("is whole for any bytes", () => {
    const name = fc.uint8Array({ minLength: 1, maxLength: 12 }).filter((bytes) => !bytes.includes(0x2f));
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), (names) => {
        const bytes = Buffer.concat(names.flatMap((one, i) => (i === 0 ? [one] : [Buffer.from("/"), one])));
        const steps = pathSteps(keyOf(bytes), names.map((_, i) => `d${i}`).join("/"));
        expect(steps.map((step) => step.name)).toEqual(names.map((_, i) => `d${i}`));
        expect(steps.at(-1)?.key).toBe(keyOf(bytes));
        expect(steps[0]?.key).toBe(keyOf(names[0] ?? ""));
      }),
    );
  });
  test("is one step where it cannot be taken apart, and none where the key is none", () => {
    expect(pathSteps(keyOf("a/b"), "a?b?c/d/e")).toEqual([{ name: "a?b?c/d/e", key: keyOf("a/b") }]);
    expect(pathSteps("%%", "x")).toEqual([]);
  });
});

describe("an archive's name", () => {
  test("says when it was begun", () => {
    expect(archiveWallMs("2026-02-12T02-00-00-123Z.tar.gz")).toBe(Date.UTC(2026, 1, 12, 2, 0, 0, 123));
    expect(archiveWallMs("2026-02-12T02-00-00-123Z-1.tar.zst")).toBe(Date.UTC(2026, 1, 12, 2, 0, 0, 123));
    expect(["backup.tar.gz", "2026-13-45T99-00-00-000Z.tar.gz"].map(archiveWallMs)).toEqual([null, null]);
  });
});
