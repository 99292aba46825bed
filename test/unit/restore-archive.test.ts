import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import type { Damage } from "#restore/damage.ts";
import { inflatePiece } from "#restore/inflate.ts";
import type { TableChunk } from "#archive/index-format.ts";
import { FlatHash, parseSum, verification } from "#restore/verify.ts";
import { readFiles } from "#test/support/archive-kit.ts";
import { describeTree } from "#test/support/restore-kit.ts";
import { MemoryAccess, restoreJob, runInline, sealArchive, tablePlan } from "#test/support/restore-run.ts";
import { makeTempDir, memoryDir, makeTortureTree, patternBytes, removeTree, run } from "#test/support/tree.ts";

const SLOW_MS = 60_000;

let dir: string;
let source: string;
let target: string;

beforeEach(() => {
  dir = makeTempDir(memoryDir());
  source = path.join(dir, "source");
  target = path.join(dir, "target");
  fs.mkdirSync(source);
  fs.mkdirSync(target);
});
afterEach(() => removeTree(dir));

const restored = (name = ""): string => path.join(target, source, name);
const inArchive = (name: string): string => path.join(source, name).slice(1);
const names = (paths: readonly (Uint8Array | undefined)[]): (string | undefined)[] =>
  paths.map((one) => (one === undefined ? undefined : Buffer.from(one).toString()));

/** Ten small files, a large one, ten more: chunks of several kinds. */
function makeTree(): void {
  for (let i = 0; i < 10; i += 1) fs.writeFileSync(path.join(source, `a${i}`), patternBytes(20_000, i + 1));
  fs.writeFileSync(path.join(source, "big"), patternBytes(300_000, 99));
  for (let i = 0; i < 10; i += 1) fs.writeFileSync(path.join(source, `c${i}`), patternBytes(20_000, i + 50));
}

const spoil = (archive: Uint8Array, at: number): Uint8Array => {
  const bytes = new Uint8Array(archive);
  bytes[at] = (bytes[at] ?? 0) ^ 0x10;
  return bytes;
};

describe("an archive without an index", () => {
  for (const mode of ["gzip", "zst"] as const) {
    test(
      `of many ${mode} pieces is restored as it was, piece by piece`,
      async () => {
        makeTortureTree(source);
        const { archive, rows } = sealArchive(readFiles([source]).chunks, mode);
        const { report, pieces } = await runInline(new MemoryAccess(archive), restoreJob(target));
        expect(report.problems).toEqual([]);
        expect(report.damages).toEqual([]);
        expect(pieces).toBe(rows.length);
        expect(describeTree(restored())).toBe(describeTree(source));
      },
      SLOW_MS,
    );

    test(
      `of ${mode} inside an archive of ${mode} does not confuse it`,
      async () => {
        makeTree();
        const inner = sealArchive(readFiles([source]).chunks, mode).archive;
        const random = crypto.getRandomValues(new Uint8Array(40 * KiB));
        fs.writeFileSync(
          path.join(source, "inner"),
          Buffer.concat([random, inner, inner.subarray(0, 100_000), random]),
        );
        const { archive } = sealArchive(readFiles([source]).chunks, mode);
        const { report } = await runInline(new MemoryAccess(archive), restoreJob(target));
        expect(report.damages).toEqual([]);
        expect(describeTree(restored())).toBe(describeTree(source));
      },
      SLOW_MS,
    );
  }

  const foreign: readonly [string, (tar: Buffer) => Uint8Array][] = [
    ["a .tar", (tar) => tar],
    ["a .tar.gz of one member", (tar) => gzipSync(tar)],
    [
      "a .tar.gz of two members",
      (tar) => Buffer.concat([gzipSync(tar.subarray(0, 70_000)), gzipSync(tar.subarray(70_000))]),
    ],
    ["a .tar.gz with a name in its header", (tar) => run("gzip", ["-c", "-n"], tar)],
    ["a .tar.zst of one frame", (tar) => run("zstd", ["-q", "-c"], tar)],
    ["a .tar.gz with zeros behind it", (tar) => Buffer.concat([gzipSync(tar), Buffer.alloc(10_240)])],
  ];
  for (const [what, pack] of foreign) {
    test(`of another program is restored: ${what}`, async () => {
      makeTree();
      run("touch", ["-d", "@1400000000", ...fs.readdirSync(source).map((name) => path.join(source, name)), source]);
      const tar = run("tar", ["-cf", "-", "-C", dir, "source"]);
      const { report } = await runInline(new MemoryAccess(pack(tar)), restoreJob(target));
      expect(report.damages).toEqual([]);
      expect(report.problems).toEqual([]);
      expect(describeTree(path.join(target, "source"))).toBe(describeTree(source));
    });
  }

  test("that is none is called so, and an empty one empty", async () => {
    const code = async (bytes: Uint8Array): Promise<string> => {
      try {
        await runInline(new MemoryAccess(bytes), restoreJob(target));
        return "restored";
      } catch (error) {
        return error instanceof Failure ? error.code : String(error);
      }
    };
    expect(await code(Buffer.from("<html>".repeat(1000)))).toBe("E_ARCHIVE_FOREIGN");
    expect(await code(new Uint8Array(0))).toBe("E_ARCHIVE_DAMAGED");
  });
});

/** Restores what is left, and gives the only damage. */
async function damageOf(
  bytes: Uint8Array | MemoryAccess,
  rows?: readonly TableChunk[],
): Promise<{
  readonly damage: Damage;
  readonly problems: readonly string[];
  readonly restoredNames: readonly string[];
}> {
  const access = bytes instanceof MemoryAccess ? bytes : new MemoryAccess(bytes);
  const plans = rows === undefined ? undefined : tablePlan(access, "gzip", rows);
  const { report } = await runInline(access, restoreJob(target), plans);
  expect(plans?.trust.fault).toBeUndefined();
  const [damage] = report.damages;
  if (damage === undefined || report.damageCount !== 1) throw new Error(`${report.damageCount} damages`);
  const problems = report.problems.map(({ path: name, reason }) => `${Buffer.from(name).toString()} ${reason}`);
  return { damage, problems, restoredNames: fs.readdirSync(restored()).sort() };
}

describe("damage", () => {
  let archive: Uint8Array;
  let rows: readonly TableChunk[];
  /** The chunk with the second half of `big`. */
  let dataChunk: TableChunk;
  beforeEach(() => {
    makeTree();
    const { chunks } = readFiles([source]);
    ({ archive, rows } = sealArchive(chunks, "gzip"));
    dataChunk = rows[chunks.findIndex(({ kind }) => kind === "data") + 1] as TableChunk;
  });
  const all = [...Array(10).keys()];
  const small = [...all.map((i) => `a${i}`), ...all.map((i) => `c${i}`)];

  for (const known of [true, false]) {
    test(`in the data of a large file hits that file only${known ? "" : ", without an index too"}`, async () => {
      const bytes = spoil(archive, dataChunk.storedOffset + 200);
      const { damage, problems, restoredNames } = await damageOf(bytes, known ? rows : undefined);
      expect(damage.chunk).toBe(dataChunk.number);
      expect([damage.storedFrom, damage.storedTo]).toEqual([
        dataChunk.storedOffset,
        dataChunk.storedOffset + dataChunk.storedLength,
      ]);
      expect([damage.rawFrom, damage.rawTo]).toEqual([dataChunk.rawOffset, dataChunk.rawOffset + dataChunk.rawLength]);
      expect(names(damage.files)).toEqual([inArchive("big")]);
      expect(damage.entriesLost).toBe(false);
      expect(problems).toEqual([`${inArchive("big")} damaged`]);
      expect(restoredNames).toEqual([...small, "big.damaged"].sort());
      const left = fs.readFileSync(restored("big.damaged"));
      const whole = fs.readFileSync(path.join(source, "big"));
      expect(left.length).toBe(whole.length);
      // What lies behind the damage is where it belongs.
      expect(left.subarray(200_000).equals(whole.subarray(200_000))).toBe(true);
    });

    test(`in a chunk of small files names what lies around it, and the others are restored${known ? "" : ", without an index too"}`, async () => {
      const chunk = rows[1] as TableChunk;
      const { damage, restoredNames } = await damageOf(
        spoil(archive, chunk.storedOffset + 300),
        known ? rows : undefined,
      );
      expect(damage.chunk).toBe(1);
      expect(damage.entriesLost).toBe(true);
      const gone = small.filter((name) => !restoredNames.includes(name));
      expect(gone.length).toBeGreaterThan(0);
      expect(gone.length).toBeLessThan(5);
      const before = `a${Number(gone[0]?.slice(1)) - 1}`;
      const after = `a${Number(gone.at(-1)?.slice(1)) + 1}`;
      expect(names([damage.after, damage.before])).toEqual([inArchive(before), inArchive(after)]);
    });

    test(`by a disk that cannot read is passed over like any other${known ? "" : ", without an index too"}`, async () => {
      if (!known) return;
      const access = new MemoryAccess(archive);
      access.badOffsets.add(dataChunk.storedOffset + 5);
      const { damage } = await damageOf(access, rows);
      expect(damage.fault).toBe("unreadable");
      expect(names(damage.files)).toEqual([inArchive("big")]);
    });
  }

  test("of a bit that decompresses all the same is found by the checksum", async () => {
    const { chunks } = readFiles([source]);
    const sealed = sealArchive(chunks, "zst");
    const chunk = must(sealed.rows[dataChunk.number], "the same chunk");
    const access = new MemoryAccess(spoil(sealed.archive, chunk.storedOffset + chunk.storedLength - 3));
    const plans = tablePlan(access, "zst", sealed.rows);
    const { report } = await runInline(access, restoreJob(target), plans);
    expect(plans.trust.fault).toBeUndefined();
    expect(report.damages.map(({ fault, chunk: number }) => [fault, number])).toEqual([["crc", chunk.number]]);
  });

  test("of a bit of a gzip header loses no content: gzip's own checksum tells", async () => {
    const access = new MemoryAccess(spoil(archive, dataChunk.storedOffset + 4));
    const plans = tablePlan(access, "gzip", rows);
    const { report } = await runInline(access, restoreJob(target), plans);
    expect(plans.trust.fault?.message).toContain("has other checksums than the archive, which is whole there");
    expect(report.damages).toEqual([]);
    expect(describeTree(restored())).toBe(describeTree(source));
  });

  test("by truncation is one, however many chunks the table has behind the end", async () => {
    const { damage, restoredNames } = await damageOf(archive.subarray(0, dataChunk.storedOffset + 100), rows);
    expect(damage.fault).toBe("missing");
    expect([damage.chunk, damage.chunkCount]).toEqual([dataChunk.number, rows.length - dataChunk.number]);
    expect([damage.storedFrom, damage.storedTo]).toEqual([dataChunk.storedOffset, archive.length]);
    expect(names([damage.after, damage.before])).toEqual([inArchive("big"), undefined]);
    expect(restoredNames).toEqual([...all.map((i) => `a${i}`), "big.damaged"].sort());
  });

  test("by truncation leaves what came before, and says from where on there is nothing", async () => {
    const { damage, restoredNames } = await damageOf(archive.subarray(0, dataChunk.storedOffset + 100));
    expect(damage.storedFrom).toBe(dataChunk.storedOffset);
    expect(restoredNames).toEqual([...all.map((i) => `a${i}`), "big.damaged"].sort());
  });

  test("of a foreign archive leaves what came before", async () => {
    const tar = run("tar", ["-cf", "-", "-C", "/", source.slice(1)]);
    const packed = gzipSync(tar);
    const { damage, restoredNames } = await damageOf(packed.subarray(0, packed.length - 20_000));
    expect(damage.fault).toBe("missing");
    expect(restoredNames.length).toBeGreaterThan(5);
  });

  test("of the first bytes does not hide the rest", async () => {
    const bytes = new Uint8Array(archive);
    bytes.fill(0, 0, 100);
    const { report } = await runInline(new MemoryAccess(bytes), restoreJob(target));
    expect(report.damageCount).toBeGreaterThan(0);
    expect(fs.existsSync(restored("c9"))).toBe(true);
  });

  test("of every single chunk is found by a verification, which goes on behind it", async () => {
    for (const row of rows) {
      const hash = new FlatHash();
      const access = new MemoryAccess(spoil(archive, row.storedOffset + Math.floor(row.storedLength / 2)));
      const { report, pieces } = await runInline(
        access,
        { kind: "verify", compare: false },
        tablePlan(access, "gzip", rows, { strict: true }),
      );
      expect(pieces).toBe(rows.length);
      expect(report.damages.map(({ chunk }) => chunk)).toEqual([row.number]);
      const sha256 = await hash.finish(access, new AbortController().signal);
      expect(verification(report, pieces, access.size, { sha256, expected: undefined }, { state: "none" }).ok).toBe(
        false,
      );
    }
  });
});

describe("a chunk table that lies", () => {
  const raw = patternBytes(100_000);
  const lies: readonly Partial<TableChunk>[] = [
    { rawLength: 2 ** 40 },
    { storedLength: 2 ** 33 },
    { storedOffset: -1 },
    { storedOffset: 5 },
    { rawOffset: 1 },
    { storedLength: 0 },
  ];
  for (const change of lies) {
    test(`is left for the archive itself: ${JSON.stringify(change)}`, async () => {
      makeTree();
      const { archive, rows } = sealArchive(readFiles([source]).chunks, "gzip");
      const access = new MemoryAccess(archive);
      const lying = rows.map((row) => (row.number === 2 ? { ...row, ...change } : row));
      const plans = tablePlan(access, "gzip", lying);
      const { report } = await runInline(access, restoreJob(target), plans);
      expect(plans.trust.fault?.message).toContain("its chunk 2 is none that can be");
      expect([report.damages, report.problems]).toEqual([[], []]);
      expect(describeTree(restored())).toBe(describeTree(source));
    });
  }

  test("about a raw length gets no more memory than it announced", () => {
    const into = new Uint8Array(MiB);
    const bomb = gzipSync(new Uint8Array(512 * KiB));
    const spec = { mode: "gzip" as const, crc: undefined, digest: undefined };
    expect(inflatePiece(bomb, { ...spec, rawLength: 1000 }, into)).toBe("too-long");
    expect(inflatePiece(gzipSync(raw), { ...spec, rawLength: raw.length + 1 }, into)).toBe("length");
    expect(inflatePiece(gzipSync(raw), { ...spec, rawLength: raw.length }, into)).toBe(raw.length);
    expect(inflatePiece(gzipSync(raw).subarray(0, 50), { ...spec, rawLength: raw.length }, into)).toBe("unfinished");
  });
});

describe("ending early", () => {
  test("leaves no temporary file, and running again goes on from there", async () => {
    makeTree();
    const { archive } = sealArchive(readFiles([source]).chunks, "gzip");
    const stop = new AbortController();
    const access = new MemoryAccess(archive);
    const read = access.read.bind(access);
    access.read = (into, offset) => {
      if (offset > archive.length / 3) stop.abort();
      return read(into, offset);
    };
    const first = await runInline(access, restoreJob(target), undefined, stop.signal);
    expect(first.aborted).toBe(true);
    expect(run("find", [target, "-name", "*.tmp"]).toString()).toBe("");
    const again = await runInline(new MemoryAccess(archive), restoreJob(target, { overwrite: "if-changed" }));
    expect(again.report.problems).toEqual([]);
    expect(describeTree(restored())).toBe(describeTree(source));
  });
});

describe("a sum beside the archive", () => {
  test("is read as sha256sum writes it", () => {
    const sum = "ab".repeat(32);
    expect(parseSum(`${sum}  2026.tar.gz\n`)).toBe(sum);
    expect(parseSum(`\\${sum} *a\\nb\n`)).toBe(sum);
    expect(parseSum("no sum")).toBeUndefined();
  });
  test("is compared with all bytes, also those that came out of order", async () => {
    const bytes = patternBytes(3 * MiB);
    const hash = new FlatHash();
    hash.add(bytes.subarray(0, 1000), 0);
    hash.add(bytes.subarray(5000, 6000), 5000);
    hash.add(bytes.subarray(1000, 2000), 1000);
    const expected = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
    expect(await hash.finish(new MemoryAccess(bytes), new AbortController().signal)).toBe(expected);
  });
});
