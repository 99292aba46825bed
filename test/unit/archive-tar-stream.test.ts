/**
 * A second opinion on our tar writer by the npm package tar-stream: names, types, modes, sizes, link targets and bytes. It
 * ignores pax mtime, xattrs and sparse members, so those are not asked of it.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { extract, type Header } from "tar-stream";
import { readFiles } from "#test/support/archive-kit.ts";
import { makeTempDir, patternBytes, removeTree } from "#test/support/tree.ts";

let dir = "";

beforeAll(() => {
  dir = makeTempDir();
  mkdirSync(path.join(dir, "empty"));
  mkdirSync(path.join(dir, "deep", "x".repeat(120), "y".repeat(120)), { recursive: true });
  for (const size of [0, 1, 511, 512, 513, 65_536, 200_001])
    writeFileSync(path.join(dir, `file-${size}`), patternBytes(size), { mode: 0o640 });
  writeFileSync(path.join(dir, "deep", "x".repeat(120), "y".repeat(120), "Grüße 日本.txt"), "hello");
  symlinkSync("file-512", path.join(dir, "short-link"));
  symlinkSync("z".repeat(300), path.join(dir, "long-link"));
});

afterAll(() => removeTree(dir));

interface Seen {
  readonly header: Header;
  readonly bytes: Buffer;
}

async function readByTarStream(tar: Uint8Array): Promise<Seen[]> {
  const unpack = extract();
  unpack.end(Buffer.from(tar));
  const seen: Seen[] = [];
  for await (const entry of unpack) {
    const parts: Buffer[] = [];
    for await (const part of entry) parts.push(part as Buffer);
    seen.push({ header: entry.header, bytes: Buffer.concat(parts) });
  }
  return seen;
}

test("tar-stream reads every entry with its name, type, mode, size, link target and bytes", async () => {
  const seen = await readByTarStream(readFiles([dir]).tar);
  expect(seen.length).toBe(15);
  for (const { header, bytes } of seen) {
    const file = `/${header.name}`;
    const stat = lstatSync(file);
    expect(header.mode).toBe(stat.mode & 0o7777);
    expect(header.uid).toBe(stat.uid);
    if (stat.isSymbolicLink()) expect([header.type, header.linkname]).toEqual(["symlink", readlinkSync(file)]);
    else if (stat.isDirectory()) expect(header.type).toBe("directory");
    else expect([header.type, header.size, bytes.equals(readFileSync(file))]).toEqual(["file", stat.size, true]);
  }
});
