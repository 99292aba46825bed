/** Names in a storage. */
import { expect, test } from "bun:test";
import { archiveFileName, archiveTimeMs, companions, entryDirectory, isSessionId } from "#store/archive-names.ts";
import { fits, missingBytes, reserveBytes } from "#store/space.ts";

test("an archive is named by its UTC time to the millisecond, and its name says the time again", () => {
  const timeMs = Date.UTC(2026, 1, 12, 2, 0, 0, 123);
  expect(archiveFileName(timeMs, "gzip")).toBe("2026-02-12T02-00-00-123Z.tar.gz");
  expect(archiveFileName(timeMs, "zst")).toBe("2026-02-12T02-00-00-123Z.tar.zst");
  expect(archiveTimeMs("2026-02-12T02-00-00-123Z.tar.gz")).toBe(timeMs);
  expect(archiveTimeMs("2026-02-12T02-00-00-123Z.tar.zst")).toBe(timeMs);
});

test("names that only look like an archive's are nobody's business", () => {
  for (const name of [
    "2026-02-30T02-00-00-123Z.tar.gz",
    "2026-02-12T25-00-00-123Z.tar.gz",
    "2026-02-12T02-00-00-123Z.tar.gz.sha256",
    "2026-02-12T02-00-00-123Z.idx",
    "2026-02-12T02-00-00-123Z.tar",
    "x2026-02-12T02-00-00-123Z.tar.gz",
    "2026-02-12T02-00-00-123Z.tar.gz\n",
    "2026-02-12.tar.gz",
    ".nbackup",
  ]) {
    expect([name, archiveTimeMs(name)]).toEqual([name, undefined]);
  }
});

test("an index and a checksum stand beside the archive under its name", () => {
  expect(companions("2026-02-12T02-00-00-123Z.tar.zst")).toEqual({
    archive: "2026-02-12T02-00-00-123Z.tar.zst",
    index: "2026-02-12T02-00-00-123Z.idx",
    checksum: "2026-02-12T02-00-00-123Z.tar.zst.sha256",
  });
});

test("a name that could leave the base directory or hide in it is refused with E_NAME", () => {
  expect(entryDirectory("web-01", "home")).toBe("web-01/home");
  for (const name of ["", ".", "..", ".nbackup", "a/b", "/etc", "-x", "a\0", "a\n", "ä", "a".repeat(65)]) {
    expect(() => entryDirectory(name, "home")).toThrow("agent name");
    expect(() => entryDirectory("web-01", name)).toThrow("backup name");
  }
  expect(isSessionId("../../../../etc/passwd-aaaaaaaaaaaaa")).toBeFalse();
});

test("a clock that no name can hold is said to be wrong", () => {
  expect(() => archiveFileName(-1, "gzip")).toThrow("clock");
  expect(() => archiveFileName(Date.UTC(10_000, 0), "gzip")).toThrow("clock");
});

test("the reserve is a share of the disk or an amount, whichever is smaller", () => {
  expect(reserveBytes({ percent: 5, bytesMax: 1000 }, 10_000)).toBe(500);
  expect(reserveBytes({ percent: 5, bytesMax: 1000 }, 100_000)).toBe(1000);
});

test("a session fits when its estimate leaves the reserve and what running sessions still need", () => {
  const space = { totalBytes: 1000, freeBytes: 500, reserveBytes: 50 };
  expect(fits(space, 100, 350)).toBeTrue();
  expect(fits(space, 100, 351)).toBeFalse();
  expect(missingBytes(space, 100, 360)).toBe(10);
});
