/** Disks that are too small, read-only or not what they should be. Needs root: it mounts its own. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, statfsSync, writeFileSync } from "node:fs";
import { MiB } from "#base/units.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { expectRefusal } from "#test/support/refusal.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentEnd, archivesIn, leftoversIn, Site } from "#test/support/site.ts";
import { isRoot, lacksRoot } from "#test/support/tree.ts";

const TIMEOUT_MS = 60_000;
setDefaultTimeout(TIMEOUT_MS);

let site: Site;
let server: ServerProcess;

beforeAll(async () => {
  site = await Site.make();
  for (const [name, megabytes] of [
    ["small", 12],
    ["large", 60],
  ] as const) {
    mkdirSync(site.at(name));
    const bytes = new Uint8Array(MiB);
    for (let i = 0; i < megabytes; i += 1) {
      for (let at = 0; at < MiB; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
      writeFileSync(site.at(name, "file"), bytes, { flag: "a" });
    }
  }
  if (!isRoot) return;
  for (const name of ["full", "filling", "readonly"]) await site.mountTmpfs(name, "32m");
  await mustRun(["mount", "-o", "remount,ro", site.at("readonly")]);
  writeFileSync(site.at("no-directory"), "a file");
  const names = ["full", "filling", "readonly", "no-directory"];
  const storages = Object.fromEntries(names.map((name) => [name, { base_dir: site.at(name) }]));
  server = await site.startServer({ storages });
}, TIMEOUT_MS);
afterAll(async () => {
  await site.remove();
});

function once(storage: string, source: string, more: Record<string, unknown> = {}): Promise<AgentEnd> {
  const backups = [{ name: "all", storage, sources: [{ path: site.at(source) }], ...more }];
  return site.once({ port: server.port, backups, retry: { max_attempts: 2, initial_delay: "50ms", max_delay: "1s" } });
}

const freeBytes = (directory: string): number => {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
};

describe.skipIf(lacksRoot())("a storage", () => {
  test("that has no room for another archive like the last one refuses the session before a byte is sent", async () => {
    const first = await once("full", "small");
    expect(first.exitCode).toBe(0);
    const second = await once("full", "small");
    expect(second.exitCode).toBe(0);
    const before = { files: archivesIn(site.at("full")), free: freeBytes(site.at("full")) };
    const end = await once("full", "small");
    expectRefusal(end, {
      exit: 1,
      code: "E_FULL",
      says: /storage full has .* free/,
      hint: /Free \d+ more bytes .*prune/,
    });
    expect(end.reports[0]).toMatchObject({ result: "failed", session: null, archiveBytes: 0, rawBytes: 0 });
    expect(leftoversIn(site.at("full"))).toEqual([]);
    expect(archivesIn(site.at("full"))).toEqual(before.files);
    expect(freeBytes(site.at("full"))).toBe(before.free);
  });

  test.each([0, 4])(
    "whose disk fills up in the middle ends the session cleanly with parallels %i, and has its room back",
    async (parallels) => {
      const before = freeBytes(site.at("filling"));
      const end = await once("filling", "large", { parallels });
      expectRefusal(end, { exit: 1, code: "E_DISK_FULL", hint: /[Ff]ree/ });
      expect(end.reports[0]?.result).toBe("failed");
      expect(leftoversIn(site.at("filling"))).toEqual([]);
      expect(archivesIn(site.at("filling"))).toEqual([]);
      // A directory or two may stay.
      expect(freeBytes(site.at("filling"))).toBeGreaterThan(before - MiB);
    },
  );

  test("takes a backup that fits right after one that did not", async () => {
    const end = await once("filling", "small");
    expect({ exit: end.exitCode, result: end.reports[0]?.result }).toEqual({ exit: 0, result: "committed" });
  });

  test("that is read-only refuses sessions with its name, and takes them without a restart when it is mended", async () => {
    const end = await once("readonly", "small");
    expectRefusal(end, { exit: 1, code: "E_STORAGE_FAILED", says: /readonly.*EROFS/ });
    expect(archivesIn(site.at("readonly"))).toEqual([]);
    await mustRun(["mount", "-o", "remount,rw", site.at("readonly")]);
    expect((await once("readonly", "small")).exitCode).toBe(0);
    expect(leftoversIn(site.at("readonly"))).toEqual([]);
  });

  test("whose base_dir is a file refuses sessions, and the server serves the others", async () => {
    const end = await once("no-directory", "small");
    expectRefusal(end, { exit: 1, code: "E_STORAGE_FAILED", says: /no-directory/ });
    expect(server.running).toBe(true);
  });
});
