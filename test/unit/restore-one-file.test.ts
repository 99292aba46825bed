/** One file out of an archive of many: how little of both files is read. scripts/bench-index.ts measures it with 10 GB. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { KiB } from "#base/units.ts";
import { openIndexed } from "#restore/index-open.ts";
import { planFor, planForFile } from "#restore/index-plan.ts";
import { runArchiveJob } from "#restore/job-runner.ts";
import type { JobProgress } from "#restore/job-pass.ts";
import { makeArchive, madePath } from "#scripts/bench/made-archive.ts";
import { inlineThread, MemoryAccess } from "#test/support/restore-run.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

const FILES = 3000;
const FILE_BYTES = 20_000;
const SLOW_MS = 60_000;

let dir: string;
let archive: Uint8Array;
let index: Uint8Array;
beforeAll(() => {
  dir = makeTempDir(memoryDir());
  const file = path.join(dir, "made.tar.gz");
  makeArchive(file, { files: FILES, fileBytes: FILE_BYTES, chunkBytes: 64 * KiB });
  archive = fs.readFileSync(file);
  index = fs.readFileSync(`${file}.idx`);
}, SLOW_MS);
afterAll(() => removeTree(dir));

describe("one file out of an archive of 60 MB", () => {
  for (const number of [0, 1500, FILES - 1]) {
    test(`takes less than a hundredth of it (file ${number})`, async () => {
      const access = new MemoryAccess(archive);
      const beside = new MemoryAccess(index);
      const output = path.join(dir, "output");
      const fd = fs.openSync(output, "w");
      const name = Buffer.from(madePath(number));
      const plan = await planForFile(await openIndexed(access, beside), name);
      let progress: (() => JobProgress) | undefined;
      const deps = {
        ...{ spawn: inlineThread, cores: 2, signal: new AbortController().signal },
        onStart: (ask: () => JobProgress) => (progress = ask),
      };
      const { report, indexFault } = await runArchiveJob(access, { kind: "cat", path: name, fd }, deps, plan);
      fs.closeSync(fd);
      expect([report.problems, report.damages, indexFault]).toEqual([[], [], undefined]);
      expect(fs.statSync(output).size).toBe(FILE_BYTES);
      expect(access.readBytes + beside.readBytes).toBeLessThan(archive.length / 100);
      // The bar counts what is needed, not the archive.
      expect(progress?.()).toMatchObject({
        archiveBytes: plan.plan.source.bytesTotal,
        archiveBytesTotal: plan.plan.source.bytesTotal,
      });
      expect(plan.plan.source.bytesTotal).toBeLessThan(70 * KiB);
    });
  }
  test("and one that is not in it less still", async () => {
    const access = new MemoryAccess(archive);
    const beside = new MemoryAccess(index);
    const plan = await planFor(await openIndexed(access, beside), [Buffer.from("made/directory-00001/nothing")]);
    expect([plan.plan.partial, plan.plan.source.bytesTotal, plan.trust.fault]).toEqual([true, 0, undefined]);
    expect(access.readBytes + beside.readBytes).toBeLessThan(archive.length / 100);
  });
});
