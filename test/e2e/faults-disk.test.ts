/**
 * Disks that fill up, are pulled, break down or cannot write what they took: the session ends with its reason, nothing of it
 * stays, what was committed is untouched, other storages serve, and when the disk is mended it is used again without a
 * restart of the server. Needs root and loop devices.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { ErrorCode } from "#base/catalogue.ts";
import { MiB } from "#base/units.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { randomBytes } from "#test/support/gigabyte.ts";
import { checkSum } from "#test/support/gnu-tar.ts";
import { LoopDisk, whyNoLoopDisk } from "#test/support/loop-disk.ts";
import { expectRefusal } from "#test/support/refusal.ts";
import type { ServerProcess } from "#test/support/server-process.ts";
import { type AgentEnd, agentEnd, AGENT, leftoversIn, Site } from "#test/support/site.ts";
import type { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 120_000;
setDefaultTimeout(TIMEOUT_MS);
const missing = whyNoLoopDisk();
if (missing !== undefined) console.log(`faults-disk: nothing is tried, because ${missing}`);

const SMALL_BYTES = 8 * MiB;
const LARGE_BYTES = 48 * MiB;
const DISK_MEGABYTES = 96;

let site: Site;
let server: ServerProcess;
const disks = new Map<string, LoopDisk>();

const disk = (name: string): LoopDisk => {
  const found = disks.get(name);
  if (found === undefined) throw new Error(`no disk ${name}`);
  return found;
};

beforeAll(async () => {
  site = await Site.make();
  if (missing !== undefined) return;
  mkdirSync(site.at("small"));
  mkdirSync(site.at("large"));
  writeFileSync(site.at("small/file"), randomBytes(SMALL_BYTES));
  writeFileSync(site.at("large/file"), randomBytes(LARGE_BYTES));
  for (const name of ["ext4", "pulled", "broken"]) {
    const [directory, image] = [site.at(name), site.at("images", name)];
    disks.set(name, await LoopDisk.make({ directory, image, megabytes: DISK_MEGABYTES }));
  }
  await site.mountTmpfs("tmpfs", `${DISK_MEGABYTES}m`);
  // It believes to have more room than the disk below has.
  await site.mountTmpfs("below", "40m");
  const features = ["-O", "^has_journal"];
  const thin = { directory: site.at("thin"), image: site.at("below/thin"), megabytes: 160, features };
  disks.set("thin", await LoopDisk.make(thin));
  // What is written to the upper one fails as soon as the lower one has broken down.
  disks.set(
    "lower",
    await LoopDisk.make({ directory: site.at("lower"), image: site.at("images/lower"), megabytes: 200 }),
  );
  const upper = { directory: site.at("upper"), image: site.at("lower/upper"), megabytes: DISK_MEGABYTES };
  disks.set("upper", await LoopDisk.make(upper));
  const names = ["ext4", "tmpfs", "pulled", "broken", "thin", "upper"];
  const storages = Object.fromEntries(names.map((name) => [name, { base_dir: site.at(name) }]));
  server = await site.startServer({ storages: { ...storages, main: {} } });
}, TIMEOUT_MS);
afterAll(async () => {
  // What was mounted last may lie on what was mounted before.
  for (const one of [...disks.values()].toReversed()) await one.remove();
  await site.remove();
});

const entry = (storage: string, source: string): Record<string, unknown> => ({
  ...{ name: source, storage, sources: [{ path: site.at(source) }], parallels: 2 },
});

function once(storage: string, source: string): Promise<AgentEnd> {
  return site.once({ port: server.port, backups: [entry(storage, source)], retry: { max_attempts: 1 } });
}

async function expectCommitted(storage: string, source: string): Promise<string> {
  const end = await once(storage, source);
  expect({ exit: end.exitCode, result: end.reports[0]?.result, stderr: end.stderr }).toMatchObject({
    exit: 0,
    result: "committed",
  });
  const archive = path.join(storage === "main" ? site.storage() : site.at(storage), end.reports[0]?.archive ?? "");
  await checkSum(archive);
  return archive;
}

/** A run that takes some ten seconds, with some of it on the disk already. */
async function startSlowly(storage: string): Promise<WatchedProcess> {
  const backups = [{ ...entry(storage, "small"), name: "slow", bandwidth_limit: "768kb" }];
  const retry = { max_attempts: 2, initial_delay: "100ms", max_delay: "300ms" };
  const admitted = (): number => server.events("session.admitted").filter((line) => line["storage"] === storage).length;
  const before = admitted();
  const agent = site.startAgent(await site.agentConfig({ port: server.port, backups, retry }), ["--once", "--json"]);
  const begun = (): boolean => leftoversIn(site.at(storage)).some((file) => file.endsWith("archive.part"));
  const deadlineMs = performance.now() + 30_000;
  while (!(begun() && admitted() > before)) {
    if (performance.now() > deadlineMs) throw new Error("no session has begun");
    await Bun.sleep(20);
  }
  return agent;
}

const freeBytes = (directory: string): number => {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
};

/** The agent says it once, below what it logged of its connections. */
function expectRefusalAmongLogs(end: AgentEnd, code: ErrorCode, says: RegExp): void {
  const stderr = end.stderr.split("\n").filter((line) => !line.startsWith("{"));
  expectRefusal({ ...end, stderr: stderr.join("\n") }, { exit: 1, code, says });
  expect(end.reports[0]?.result).toBe("failed");
}

async function expectOthersServe(): Promise<void> {
  expect(server.running).toBeTrue();
  await expectCommitted("main", "small");
}

describe.skipIf(missing !== undefined)("a disk that fills up in the middle of a session", () => {
  test.each(["ext4", "tmpfs"])(
    "gets its room back, keeps its archives and is used again when there is more: %s",
    async (name) => {
      const directory = site.at(name);
      const archive = await expectCommitted(name, "small");
      const filler = path.join(directory, "filler");
      writeFileSync(filler, randomBytes(DISK_MEGABYTES * MiB - SMALL_BYTES - 40 * MiB));
      const before = { free: freeBytes(directory), bytes: readFileSync(archive) };
      const end = await once(name, "large");
      expectRefusal(end, { exit: 1, code: "E_DISK_FULL", hint: /[Ff]ree/ });
      expect(leftoversIn(directory)).toEqual([]);
      expect(freeBytes(directory)).toBeGreaterThan(before.free - MiB);
      expect(readFileSync(archive).equals(before.bytes)).toBeTrue();
      await checkSum(archive);
      await expectOthersServe();
      rmSync(filler);
      await expectCommitted(name, "large");
    },
  );
});

describe.skipIf(missing !== undefined)("a disk that is pulled", () => {
  test("between two backups makes its storage refuse, is not mistaken for an empty one, and serves again when it is back", async () => {
    const archive = await expectCommitted("pulled", "small");
    await disk("pulled").pull();
    const refused = await once("pulled", "small");
    expectRefusal(refused, { exit: 1, code: "E_STORAGE_FAILED", says: /pulled/ });
    expect(readdirSync(site.at("pulled"))).toEqual([]);
    // Nothing holds it any more: it could be checked, or go into another machine.
    expect(await disk("pulled").inUse()).toBeFalse();
    await expectOthersServe();
    await disk("pulled").mount();
    await checkSum(archive);
    await expectCommitted("pulled", "small");
  });

  test("under a running session ends it at its commit at the latest, and what it left is removed when the disk is back", async () => {
    const agent = await startSlowly("pulled");
    await disk("pulled").pull();
    const end = agentEnd(await agent.end(TIMEOUT_MS));
    expect(end.exitCode).toBe(1);
    const [ended] = server.events("session.ended").filter((line) => line["storage"] === "pulled");
    expect(ended).toMatchObject({ code: "E_STORAGE_FAILED" });
    expect(readdirSync(site.at("pulled"))).toEqual([]);
    await expectOthersServe();
    await disk("pulled").mount();
    await expectCommitted("pulled", "small");
    expect(leftoversIn(site.at("pulled"))).toEqual([]);
  });
});

describe.skipIf(missing !== undefined)("a disk that breaks down to read-only", () => {
  test("under a running session ends it with its reason, and serves again when it is repaired", async () => {
    const archive = await expectCommitted("broken", "small");
    const agent = await startSlowly("broken");
    await disk("broken").breakDown();
    const end = agentEnd(await agent.end(TIMEOUT_MS));
    expect(end.exitCode).toBe(1);
    const [ended] = server.events("session.ended").filter((line) => line["storage"] === "broken");
    expect(["E_DISK", "E_STORAGE_FAILED"]).toContain(String(ended?.["code"]));
    expect(String(ended?.["msg"])).toMatch(/EROFS|EIO/);
    await checkSum(archive);
    expectRefusal(await once("broken", "small"), { exit: 1, code: "E_STORAGE_FAILED", says: /broken/ });
    await expectOthersServe();
    await disk("broken").pull();
    expectRefusal(await once("broken", "small"), { exit: 1, code: "E_STORAGE_FAILED", says: /broken/ });
    await disk("broken").repair();
    await disk("broken").mount();
    await expectCommitted("broken", "small");
    expect(leftoversIn(site.at("broken"))).toEqual([]);
    await checkSum(archive);
  });
});

describe.skipIf(missing !== undefined)("a disk that took bytes and cannot write them", () => {
  test("because there is no room below it ends the session at its first sync, and serves again when there is", async () => {
    const archive = await expectCommitted("thin", "small");
    const end = await once("thin", "large");
    expectRefusalAmongLogs(end, "E_DISK_FULL", /syncing .*ENOSPC/);
    expect(leftoversIn(site.at("thin"))).toEqual([]);
    await checkSum(archive);
    await expectOthersServe();
    await mustRun(["mount", "-o", "remount,size=300m", site.at("below")]);
    await expectCommitted("thin", "large");
  });

  test("because of an error below it ends the session at that sync, which is not tried again, and serves again when it is repaired", async () => {
    const archive = await expectCommitted("upper", "small");
    const agent = await startSlowly("upper");
    await disk("lower").breakDown();
    const end = agentEnd(await agent.end(TIMEOUT_MS));
    expect(end.exitCode).toBe(1);
    // What the agent says last may be what its second attempt was told.
    const [ended] = server.events("session.ended").filter((line) => line["storage"] === "upper");
    expect(ended).toMatchObject({ code: "E_DISK", msg: expect.stringMatching(/EIO/) });
    await expectOthersServe();
    await disk("upper").pull();
    expectRefusal(await once("upper", "small"), { exit: 1, code: "E_STORAGE_FAILED", says: /upper/ });
    expect(await disk("upper").inUse()).toBeFalse();
    await disk("lower").pull();
    for (const name of ["lower", "upper"]) {
      await disk(name).repair();
      await disk(name).mount();
    }
    await expectCommitted("upper", "small");
    expect(leftoversIn(site.at("upper"))).toEqual([]);
    await checkSum(archive);
  });
});

test.skipIf(missing !== undefined)("the server ends in order after all of it", async () => {
  expect((await server.stop()).exitCode).toBe(0);
  expect(readdirSync(path.join(site.storage(), AGENT))).toEqual(["small"]);
});
