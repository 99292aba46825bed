/** The compiled programs and GNU tar: what was backed up comes back as it was, however it travelled. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { lstatSync, readFileSync } from "node:fs";
import path from "node:path";
import type { IndexReader } from "#archive/index-reader.ts";
import { openArchiveFile } from "#restore/file-access.ts";
import { rebuildIndex } from "#restore/rebuild.ts";
import { compareTrees } from "#scripts/lib/compare-trees.ts";
import { checkSum, compareWithSource, memberCount, restore } from "#test/support/gnu-tar.ts";
import { collect, openIndex } from "#test/support/index-kit.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { archivesIn, leftoversIn, type OnceJson, Site } from "#test/support/site.ts";
import { SMALL_HOLES } from "#test/support/torture-sparse.ts";
import { makeWholeTree } from "#test/support/torture-tree.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);
const MODES = ["gzip", "zst"] as const;
const isRoot = process.getuid?.() === 0;

let site: Site;
let server: ServerProcess;
let source = "";
let attributes = false;

beforeAll(async () => {
  site = await Site.make();
  source = site.at("source");
  const { noAttributes } = makeWholeTree(source);
  if (noAttributes !== undefined) console.log(`without extended attributes: ${noAttributes}`);
  attributes = noAttributes === undefined;
  const storages = Object.fromEntries(MODES.map((mode) => [mode, { compression_mode: mode }]));
  server = await site.startServer({ storages });
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

interface Shape {
  readonly parallels: number;
  readonly workers: number;
  readonly chunkSize?: string;
}

/** Backs the tree up and returns the report; the socket in it is said, and no reason for another exit code. */
async function backUp(mode: string, { parallels, workers, chunkSize = "256kb" }: Shape): Promise<OnceJson> {
  const end = await site.once({
    port: server.port,
    backups: [{ name: "tree", storage: mode, sources: [{ path: source }], parallels }],
    resume: { chunk_size: chunkSize },
    resources: { workers },
  });
  const report = end.reports[0];
  if (report === undefined) throw new Error(`no report: ${end.stderr}`);
  expect({ exit: end.exitCode, result: report.result, resent: report.resentBytes }).toEqual({
    exit: 0,
    result: "committed",
    resent: 0,
  });
  expect({ skipped: report.skipped, sockets: report.sockets }).toEqual({
    skipped: [],
    sockets: [`${source}/special/socket`],
  });
  return report;
}

const archiveOf = (report: OnceJson): string => path.join(site.storage(report.storage), report.archive ?? "");

describe.each(MODES)("a %s archive of a tree with everything a file can be", (mode) => {
  let first: OnceJson;

  test("is restored by GNU tar with every name, type, mode, owner, time, byte, hole, link, attribute and access control list as it was", async () => {
    first = await backUp(mode, { parallels: 0, workers: 1 });
    const restored = site.at(`restored-${mode}`);
    await restore(archiveOf(first), restored);
    const options = { skip: [], owners: isRoot, attributes, holes: true };
    const found = await compareTrees(source, path.join(restored, source), options);
    // Holes that small are stored as zeros on purpose.
    const wrong = found.differences.filter((one) => !one.path.endsWith(SMALL_HOLES) || !one.what.startsWith("takes "));
    expect(wrong).toEqual([]);
    expect(found.sockets).toBe(1);
    expect(found.entries).toBe(first.entries);
  });

  test("has as many members as entries were read", async () => {
    expect(await memberCount(archiveOf(first))).toBe(first.entries);
  });

  test("is found equal to its source by tar --compare", async () => {
    await compareWithSource(archiveOf(first));
    expect(first.entries).toBeGreaterThan(100);
  });

  test("has a checksum beside it that sha256sum accepts and the agent reported", async () => {
    await checkSum(archiveOf(first));
    const beside = await Bun.file(`${archiveOf(first)}.sha256`).text();
    expect(beside).toBe(`${first.sha256}  ${path.basename(archiveOf(first))}\n`);
  });

  test("has an index beside it that says what one made from the archive says, and what only the disk knew", async () => {
    const archive = archiveOf(first);
    const index = await openIndex(readFileSync(archive.replace(/\.tar\.(gz|zst)$/, ".idx")));
    const again = await rebuiltIndex(archive);
    expect(index.header).toMatchObject({ rebuilt: false, session: first.session, agent: "web-1", backup: "tree" });
    expect(index.header).toMatchObject({ sources: [source], archive: first.archive });
    expect(index.totals).toEqual(again.totals);
    expect(index.totals).toMatchObject({
      entries: first.entries,
      rawBytes: first.rawBytes,
      storedBytes: first.archiveBytes,
    });
    expect(await collect(index.chunks())).toEqual(await collect(again.chunks()));
    const entries = await collect(index.entries());
    expect<unknown>(entries.map((entry) => ({ ...entry, live: undefined, racy: false }))).toEqual(
      await collect(again.entries()),
    );
    for (const { path: name, live } of entries) {
      const stat = lstatSync(Buffer.concat([Buffer.from("/"), name]), { bigint: true });
      expect([live?.ino, live?.dev]).toEqual([stat.ino, stat.dev]);
    }
  });

  test.each([
    { parallels: 0, workers: 2 },
    { parallels: 1, workers: 1 },
    { parallels: 4, workers: 2 },
    { parallels: 32, workers: 2 },
    { parallels: 32, workers: 1 },
  ])("is the same byte for byte over $parallels streams with $workers workers", async (shape) => {
    const again = await backUp(mode, shape);
    const { sha256, archiveBytes, entries, rawBytes } = again;
    expect({ sha256, archiveBytes, entries, rawBytes }).toEqual({
      sha256: first.sha256,
      archiveBytes: first.archiveBytes,
      entries: first.entries,
      rawBytes: first.rawBytes,
    });
    await checkSum(archiveOf(again));
  });

  test("with the default chunk size is found equal to its source too", async () => {
    const whole = await backUp(mode, { parallels: 4, workers: 2, chunkSize: mode === "gzip" ? "1mb" : "4mb" });
    await compareWithSource(archiveOf(whole));
    expect(await memberCount(archiveOf(whole))).toBe(first.entries);
  });

  test("lies in a storage that holds archives and their companions and nothing else", () => {
    const files = archivesIn(site.storage(mode));
    const archives = files.filter((file) => /\.tar\.(gz|zst)$/.test(file));
    expect(archives).toHaveLength(7);
    const strange = files.filter((file) => !archives.some((archive) => file.startsWith(archive)) && !isIndex(file));
    expect(strange).toEqual([]);
    expect(leftoversIn(site.storage(mode))).toEqual([]);
  });
});

const isIndex = (file: string): boolean => /^web-1\/tree\/[-0-9TZ]+\.idx$/.test(file);

async function rebuiltIndex(archive: string): Promise<IndexReader> {
  const access = openArchiveFile(archive);
  const blocks: Uint8Array[] = [];
  await rebuildIndex({
    access,
    archive: undefined,
    write: (block) => {
      blocks.push(new Uint8Array(block));
      return Promise.resolve();
    },
    onDamage: (failure) => {
      throw failure;
    },
    signal: new AbortController().signal,
  });
  await access.close();
  return openIndex(Buffer.concat(blocks));
}

describe("the server after all these sessions", () => {
  test("has met as many streams as were asked for", () => {
    const parallels = server.events("session.admitted").map((event) => event["parallels"]);
    expect(parallels).toContain(32);
    expect(server.stderr).not.toMatch(/"level":"error"/);
  });

  test("ends with exit code 0 when it is told to", async () => {
    const { exitCode } = await server.stop();
    expect(exitCode).toBe(0);
  });
});
