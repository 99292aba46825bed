/** An index of a million entries: made and read in memory that does not grow with it, a few blocks for any question. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import type { ByteSource } from "#archive/index-blocks.ts";
import { IndexBuilder } from "#archive/index-builder.ts";
import { findPath, listDirectory } from "#archive/index-queries.ts";
import { IndexReader } from "#archive/index-reader.ts";
import { MiB } from "#base/units.ts";
import { compress, release } from "#compress/codec.ts";
import { proofOf } from "#compress/seal.ts";
import { collect, latin1, paths, plainEntries } from "#test/support/index-kit.ts";
import { testHeader } from "#test/support/pipeline-kit.ts";
import { makeTempDir, removeTree } from "#test/support/tree.ts";

const ENTRIES = 1_000_000;
const DIRECTORIES = 1000;
/** A machine of two cores that does other things as well. */
const TIMEOUT_MS = 120_000;

let dir = "";
let file = "";
beforeAll(() => {
  dir = makeTempDir();
  file = path.join(dir, "million.idx");
});
afterAll(() => removeTree(dir));

const directoryName = (i: number): string => `srv/project-${String(i).padStart(4, "0")}`;

/** 999 files in each directory, so that it makes a million with the directories. */
function* names(): Generator<string> {
  for (let i = 0; i < DIRECTORIES; i += 1) {
    yield `${directoryName(i)}/`;
    for (let j = 0; j < ENTRIES / DIRECTORIES - 1; j += 1)
      yield `${directoryName(i)}/source-${String(j).padStart(4, "0")}.c`;
  }
}

/** Resident bytes when nothing is left to collect. */
function resident(): number {
  Bun.gc(true);
  return process.memoryUsage().rss;
}

class CountedFile implements ByteSource {
  readonly #fd: number;
  readonly size: number;
  reads = 0;
  readBytes = 0;

  constructor(name: string) {
    this.#fd = fs.openSync(name, "r");
    this.size = fs.fstatSync(this.#fd).size;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    this.reads += 1;
    this.readBytes += length;
    const bytes = new Uint8Array(length);
    fs.readSync(this.#fd, bytes, 0, length, offset);
    return Promise.resolve(bytes);
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

describe("an index of a million entries", () => {
  test(
    "is made in memory that does not grow with it, at less than 64 bytes an entry",
    () => {
      const fd = fs.openSync(file, "w");
      const builder = new IndexBuilder({
        header: testHeader(),
        compress: (raw) => compress(raw, { mode: "gzip", level: 1 }),
        write: (stored) => {
          fs.writeSync(fd, stored);
          release(stored);
        },
      });
      let count = 0;
      let atTenth = 0;
      for (const { entry, live, place } of plainEntries(names())) {
        builder.entry(entry, live, place);
        count += 1;
        if (count % 50 === 0) {
          const proof = proofOf(Buffer.from(String(count)));
          builder.chunk("entries", 50 * 1536, { storedLength: 40_000, ...proof });
        }
        if (count === ENTRIES / 10) atTenth = resident();
      }
      builder.finish();
      const grown = resident() - atTenth;
      fs.closeSync(fd);
      expect(count).toBe(ENTRIES);
      expect(grown).toBeLessThan(20 * MiB);
      expect(fs.statSync(file).size / ENTRIES).toBeLessThan(64);
    },
    TIMEOUT_MS,
  );
  test(
    "begins to be listed after a few reads, and answers for a path with a few more",
    async () => {
      const source = new CountedFile(file);
      const index = await IndexReader.open(source);
      expect(index.totals).toMatchObject({ entries: ENTRIES, chunks: ENTRIES / 50, sorted: true });
      const first = await index.entries().next();
      expect(first.done === true ? "" : latin1(first.value[0]?.path ?? new Uint8Array(0))).toBe(directoryName(0));
      expect(source.reads).toBe(5);
      expect(source.readBytes).toBeLessThan(source.size / 100);
      for (const number of [0, 123_456, 999_999]) {
        source.reads = 0;
        expect((await findPath(index, Buffer.from(nameOf(number))))?.number).toBe(number);
        expect(source.reads).toBeLessThanOrEqual(3);
      }
      source.readBytes = 0;
      const listed = await paths(listDirectory(index, Buffer.from(directoryName(500))));
      expect(listed).toHaveLength(ENTRIES / DIRECTORIES - 1);
      expect(source.readBytes).toBeLessThan(source.size / 50);
      const last = await collect(index.chunks({ number: ENTRIES / 50 - 1 }));
      expect(last.map((chunk) => chunk.number)).toEqual([ENTRIES / 50 - 1]);
      source.close();
    },
    TIMEOUT_MS,
  );
  test(
    "is read to its end in memory that does not grow with it",
    async () => {
      let before = 0;
      // What the first reading takes is code that is compiled meanwhile, and not the same each time.
      for (const _reading of [1, 2]) {
        before = resident();
        const source = new CountedFile(file);
        let count = 0;
        for await (const batch of (await IndexReader.open(source)).entries()) count += batch.length;
        source.close();
        expect(count).toBe(ENTRIES);
      }
      // Kept entries would be more than a hundred.
      expect(resident() - before).toBeLessThan(32 * MiB);
    },
    TIMEOUT_MS,
  );
});

/** The name with this number, without its slash. */
function nameOf(number: number): string {
  let at = 0;
  for (const name of names()) {
    if (at === number) return name.replace(/\/$/, "");
    at += 1;
  }
  return "";
}
