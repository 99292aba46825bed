/** A file that does not fit a tar header's octal size. Slow: it is read, compressed, sent and compared as a whole. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from "node:fs";
import path from "node:path";
import { GiB, KiB, MiB } from "#base/units.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { checkSum, compareWithSource } from "#test/support/gnu-tar.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { leftoversIn, Site, STORAGE } from "#test/support/site.ts";
import { patternBytes } from "#test/support/tree.ts";

const TIMEOUT_MS = 180_000;
setDefaultTimeout(TIMEOUT_MS);
const SIZE_BYTES = Math.floor(8.1 * GiB);

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make();
  mkdirSync(site.at("source"));
  // Mostly holes, so that making it costs little, but none long enough to be kept as one; there is data at both ends and on the
  // border of 8 GiB.
  const fd = openSync(site.at("source/large"), "w");
  ftruncateSync(fd, SIZE_BYTES);
  for (let at = 0; at < SIZE_BYTES; at += MiB - 64 * KiB) writeSync(fd, patternBytes(1, at), 0, 1, at);
  for (const at of [0, 8 * GiB - MiB / 2, SIZE_BYTES - MiB]) writeSync(fd, patternBytes(MiB, at), 0, MiB, at);
  closeSync(fd);
  server = await site.startServer({ storages: { [STORAGE]: { compression_mode: "zst" } } });
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

test("a file over 8 GiB is found equal to its source by tar --compare, within bounded memory", async () => {
  const backups = [{ name: "large", storage: STORAGE, sources: [{ path: site.at("source") }], parallels: 2 }];
  const end = await site.once({ port: server.port, backups, resume: { buffer_size: "64mb" } }, [], TIMEOUT_MS);
  const [report] = end.reports;
  expect({ exit: end.exitCode, entries: report?.entries }).toEqual({ exit: 0, entries: 2 });
  expect(report?.rawBytes ?? 0).toBeGreaterThan(SIZE_BYTES);
  const archive = path.join(site.storage(), report?.archive ?? "");
  await checkSum(archive);
  expect(await mustRun(["tar", "tvf", archive])).toContain(` ${SIZE_BYTES} `);
  await compareWithSource(archive);
  expect(leftoversIn(site.storage())).toEqual([]);
  expect(server.memoryBytes("VmHWM")).toBeLessThan(150 * MiB);
});
