/**
 * The first hour with nbackup, on a clean Debian with nothing but the packages: they are installed, set up, back up, restore, are upgraded and
 * purged. Under systemd in a booted container, and as arm64 by qemu-user without systemd. Prints how long each step took (docs/packages.md);
 * with NBACKUP_PACKAGES=dist the packages are those that `bun run build:deb` made.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { MiB } from "#base/units.ts";
import { freePort } from "#scripts/lib/background.ts";
import { type Architecture, nativeArchitecture, type Program, PROGRAMS } from "#scripts/lib/executables.ts";
import { inProject, VERSION } from "#scripts/lib/project.ts";
import { mustRun, run } from "#scripts/lib/run.ts";
import { whyNoArm64 } from "#test/support/arm64-namespace.ts";
import { DebianRoot, eventually, whyNoDebianRoot } from "#test/support/debian-root.ts";
import {
  AGENT,
  amendEntry,
  backUp,
  BASE_DIR,
  ByHand,
  compare,
  DUMP,
  enroll,
  ENTRY,
  listed,
  makeFiles,
  type Ports,
  type Services,
  setUpServer,
  Steps,
  STORAGE,
  sums,
  Systemd,
} from "#test/support/hour-in-root.ts";
import { HIGHER, writePackage } from "#test/support/packages.ts";

const TIMEOUT_MS = 300_000;
const MAKE_MS = 1_200_000;
setDefaultTimeout(TIMEOUT_MS);

const EVERY_MINUTE = "* * * * *";
const NIGHTLY = "0 2 * * *";
const KEPT = ["/etc/nbackup", "/var/lib/nbackup", "/var/lib/nbackup-agent", BASE_DIR];

const whyNot = whyNoDebianRoot();
const whyNoArm = whyNot ?? (await whyNoArm64());
for (const reason of new Set([whyNot, whyNoArm])) if (reason !== undefined) console.log(`Not tried here: ${reason}.`);

function firstHour(architecture: Architecture): void {
  const native = architecture === nativeArchitecture();
  const steps = new Steps();
  let work = "";
  let root: DebianRoot;
  let services: Services;
  let ports: Ports;

  const file = (program: Program, version: string): string => `/nbackup-${program}_${version}.deb`;
  const install = (version: string): Promise<string> =>
    root.must("apt-get", "install", "--yes", ...PROGRAMS.map((program) => file(program, version)));
  const newest = async (): Promise<string> => (await listed(root))[0]?.archive ?? "none";
  const installed = (program: Program): Promise<string> =>
    root.must("dpkg-query", "--showformat=${db:Status-Abbrev}${Version}", "--show", `nbackup-${program}`);
  const pids = async (): Promise<readonly string[]> =>
    await Promise.all(
      PROGRAMS.map((program) => root.must("systemctl", "show", "--property=MainPID", "--value", `nbackup-${program}`)),
    );

  beforeAll(async () => {
    work = mkdtempSync(path.join(tmpdir(), "nbackup-first-hour-"));
    root = await steps.time("a clean Debian", () => DebianRoot.make(path.join(work, "root"), architecture));
    const made = process.env["NBACKUP_PACKAGES"];
    for (const program of PROGRAMS) {
      const target = root.at(file(program, VERSION));
      if (made === undefined) await writePackage(target, program, { architecture });
      else copyFileSync(inProject(made, `nbackup-${program}_${architecture}.deb`), target);
      await writePackage(root.at(file(program, HIGHER)), program, { architecture, version: HIGHER });
      const mebibytes = (statSync(target).size / MiB).toFixed(1);
      console.log(`nbackup-${program} ${architecture}: ${mebibytes} MB${made === undefined ? ", not compressed" : ""}`);
    }
    await makeFiles(root);
    if (native) await steps.time("it is booted", () => root.boot());
    services = native ? new Systemd(root) : new ByHand(root);
    // The container has a network of its own.
    ports = native ? { data: 9847, enroll: 9846 } : { data: freePort(), enroll: freePort() };
  }, MAKE_MS);
  afterAll(async () => {
    await root.remove();
    rmSync(work, { recursive: true, force: true });
    console.log(`The first hour on ${architecture}, ${services.kind}:\n${steps}`);
  }, TIMEOUT_MS);

  test("the packages are installed, and their programs run", async () => {
    for (const program of PROGRAMS) {
      const command = ["apt-get", "install", "--yes", file(program, VERSION)];
      await steps.time(`apt install ./nbackup-${program}_${architecture}.deb`, () => root.must(...command));
      expect(await installed(program)).toBe(`ii ${VERSION}`);
      expect(await root.must(`nbackup-${program}`, "--version")).toBe(`nbackup-${program} ${VERSION}\n`);
    }
    expect(await root.verifyUnits(PROGRAMS.map((program) => `nbackup-${program}.service`))).toBe("");
  });

  test("a server is set up, and starts", async () => {
    await steps.time("the server is set up", () => setUpServer(root, ports));
    await steps.time("the server starts", async () => {
      await services.start("server");
      await eventually("it answers", async () => (await root.run("nbackup-server", "status")).exitCode === 0);
    });
    expect(await root.must("nbackup-server", "status")).toMatch(new RegExp(`^${STORAGE}\\s+ok\\b`, "m"));
    if (!native) return;
    const judged = await root.must("systemd-analyze", "security", "--no-pager", "nbackup-server.service");
    expect(Number(/Overall exposure level for \S+: ([\d.]+)/.exec(judged)?.[1])).toBeLessThan(2);
  });

  test("an agent is enrolled, and backs up when it is time", async () => {
    await steps.time("the agent is enrolled", () => enroll(root));
    await amendEntry(root, EVERY_MINUTE);
    await steps.time("the agent starts, and the first scheduled backup is there", async () => {
      await services.start("agent");
      await eventually("there is an archive", async () => (await listed(root)).length > 0);
    });
    await amendEntry(root, NIGHTLY);
    await services.reload("agent");
    const [first] = await listed(root);
    expect(first).toMatchObject({ agent: AGENT, backup: ENTRY, storage: STORAGE, problems: 0 });
    expect(readFileSync(root.at("srv/app/dump.sql"), "utf8")).toBe(DUMP);
  });

  test("it is restored beside what is there and in its place, and GNU tar finds no difference", async () => {
    // What came after it would be a difference.
    const archive = await steps.time("a backup by hand", () => backUp(root));
    await compare(root, archive);
    const restore = ["nbackup-agent", "restore", "latest", "--backup", ENTRY];
    await steps.time("a restore beside it", () => root.must(...restore, "--to", "/root/back"));
    await compare(root, archive, "/root/back");
    rmSync(root.at("home/maria"), { recursive: true });
    rmSync(root.at("srv/app/data.bin"));
    await steps.time("a restore in its place", () => root.must(...restore, "--in-place"));
    await compare(root, archive);
    if (!native) return;
    const attribute = await mustRun([
      "getfattr",
      "--only-values",
      "-n",
      "trusted.nbackup",
      root.at("home/maria/diary"),
    ]);
    expect(attribute).toBe("seen");
  });

  test("an upgrade keeps configuration and state, and what ran runs", async () => {
    const before = {
      archive: await newest(),
      kept: await sums(root, "/etc/nbackup"),
      pids: native ? await pids() : [],
    };
    await steps.time("both are upgraded", () => install(HIGHER));
    for (const program of PROGRAMS) expect(await installed(program)).toBe(`ii ${HIGHER}`);
    expect(await sums(root, "/etc/nbackup")).toBe(before.kept);
    if (native) {
      await eventually("the server answers", async () => (await root.run("nbackup-server", "status")).exitCode === 0);
      const after = await pids();
      expect(after.filter((pid, i) => pid === "0\n" || pid === before.pids[i])).toEqual([]);
    } else {
      for (const program of PROGRAMS) await services.stop(program);
      for (const program of PROGRAMS.toReversed()) await services.start(program);
    }
    await eventually("the agent answers", async () => (await root.run("nbackup-agent", "status")).exitCode === 0);
    expect(await root.must("nbackup-agent", "status")).toMatch(/committed|ok/);
    expect(await newest()).toBe(before.archive);
    expect(await backUp(root)).not.toBe(before.archive);
  });

  test("a purge leaves configuration, keys, state and backups", async () => {
    const archive = await newest();
    for (const program of PROGRAMS) await services.stop(program);
    const before = await sums(root, ...KEPT);
    await steps.time("both are purged", () =>
      root.must("apt-get", "purge", "--yes", "nbackup-agent", "nbackup-server"),
    );
    expect(await sums(root, ...KEPT)).toBe(before);
    expect(before).toContain("key.pem");
    await compare(root, archive);
    const left = await run(["find", root.directory, "-xdev", "-name", "nbackup-*", "-path", "*/usr/*"]);
    expect(left.stdout).toBe("");
  });
}

describe.skipIf(whyNot !== undefined)("the first hour under systemd", () => {
  firstHour(nativeArchitecture());
});
describe.skipIf(whyNoArm !== undefined)("the first hour on arm64, without systemd", () => {
  firstHour("arm64");
});
