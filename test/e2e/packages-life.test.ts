/** The packages' life under a running systemd: upgraded in the middle of a backup, stopped, masked, broken, half installed, removed and back. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { AgentStatus } from "#observe/views.ts";
import { type Program, PROGRAMS } from "#scripts/lib/executables.ts";
import { VERSION } from "#scripts/lib/project.ts";
import { lookedLongAgo } from "#test/support/agent-state.ts";
import { DebianRoot, eventually, whyNoDebianRoot } from "#test/support/debian-root.ts";
import { compare, enroll, listed, rewrite, setUpServer, STORAGE, writeBackups } from "#test/support/hour-in-root.ts";
import { HIGHER, writePackage } from "#test/support/packages.ts";
import { agentEnd } from "#test/support/site.ts";
import { WatchedProcess } from "#test/support/watched-process.ts";

const TIMEOUT_MS = 300_000;
const MAKE_MS = 1_200_000;
setDefaultTimeout(TIMEOUT_MS);

const NIGHTLY = "0 2 * * *";
const GO = "/run/go";
const BACKUPS = [
  { name: "slow", storage: STORAGE, bandwidth_limit: "2mb", sources: [{ path: "/srv/large" }] },
  {
    ...{ name: "waits", storage: STORAGE, schedule: NIGHTLY, run_missed: true, sources: [{ path: "/etc/nbackup" }] },
    hooks: { before: `while [ ! -e ${GO} ]; do sleep 0.1; done` },
  },
];

const whyNot = whyNoDebianRoot();
if (whyNot !== undefined) console.log(`Packages do not live here: ${whyNot}.`);

let work = "";
let root: DebianRoot;

const deb = (program: Program, version: string): string => `/nbackup-${program}-${version}.deb`;
const install = (program: Program, version: string): Promise<string> =>
  root.must("dpkg", "--install", deb(program, version));
const shown = async (program: Program, property: string): Promise<string> =>
  (await root.must("systemctl", "show", `--property=${property}`, "--value", `nbackup-${program}`)).trim();
const active = (program: Program): Promise<string> => shown(program, "ActiveState");
const mainPid = (program: Program): Promise<string> => shown(program, "MainPID");
const packageState = (program: Program): Promise<string> =>
  root.must("dpkg-query", "--showformat=${db:Status-Abbrev}${Version}", "--show", `nbackup-${program}`);
const answers = (program: Program): Promise<void> =>
  eventually(`the ${program} answers`, async () => (await root.run(`nbackup-${program}`, "status")).exitCode === 0);

describe.skipIf(whyNot !== undefined)("under systemd", () => {
  beforeAll(async () => {
    work = mkdtempSync(path.join(tmpdir(), "nbackup-life-"));
    root = await DebianRoot.make(path.join(work, "root"));
    for (const program of PROGRAMS) {
      for (const version of [VERSION, HIGHER]) await writePackage(root.at(deb(program, version)), program, { version });
    }
    await root.must("sh", "-c", "mkdir /srv/large && head -c 24000000 /dev/urandom > /srv/large/file");
    await root.boot();
    for (const program of PROGRAMS) await install(program, VERSION);
    await setUpServer(root, { data: 9847, enroll: 9846 });
    // So that a restart does not wait until a backup of a minute is done.
    await rewrite<{ server: object }>(root, "/etc/nbackup/server.yaml", ({ server, ...rest }) => ({
      ...{ ...rest, server: { ...server, shutdown_timeout: "1s" } },
    }));
    await root.must("systemctl", "start", "nbackup-server");
    await enroll(root);
    await writeBackups(root, () => BACKUPS);
  }, MAKE_MS);
  beforeEach(async () => {
    for (const program of ["server", "agent"] as const) {
      if ((await packageState(program)) !== `ii ${VERSION}`) await install(program, VERSION);
      await root.must("systemctl", "start", `nbackup-${program}`);
      await answers(program);
    }
  });
  afterAll(async () => {
    await root.remove();
    rmSync(work, { recursive: true, force: true });
  }, TIMEOUT_MS);

  test("an upgrade of the server in the middle of a backup restarts it, and the backup is whole", async () => {
    // The restart comes with its configuration; to unpack it may take longer than the backup.
    await root.must("dpkg", "--unpack", deb("server", HIGHER));
    const before = await mainPid("server");
    const once = ["nbackup-agent", "--once", "--backup", "slow", "--json"];
    const agent = new WatchedProcess(root.command(...once), { cwd: "/" });
    await eventually("the backup runs", async () => (await root.must("nbackup-server", "sessions")).includes("slow"));
    await root.must("dpkg", "--configure", "nbackup-server");
    await answers("server");
    expect(await mainPid("server")).not.toBe(before);
    const { exitCode, reports } = agentEnd(await agent.end(TIMEOUT_MS));
    expect([exitCode, reports[0]?.result]).toEqual([0, "committed"]);
    const log = await root.must("journalctl", "--unit=nbackup-server", "--no-pager");
    expect(log).toContain("a session of an earlier start of the server goes on");
    await compare(root, reports[0]?.archive ?? "none");
  });

  test("an upgrade of the agent leaves a backup that runs to the old program", async () => {
    await root.must("systemctl", "stop", "nbackup-agent");
    lookedLongAgo(root.at("var/lib/nbackup-agent"), "waits", NIGHTLY);
    await root.must("systemctl", "start", "nbackup-agent");
    const running = async (): Promise<boolean> => {
      const status = JSON.parse(await root.must("nbackup-agent", "status", "--json")) as AgentStatus;
      return status.entries.some(({ activity }) => activity === "running");
    };
    await eventually("it runs", running);
    const before = await mainPid("agent");
    expect(await install("agent", HIGHER)).toContain("A backup runs: the old nbackup-agent finishes it.");
    expect([await active("agent"), await mainPid("agent")]).toEqual(["active", before]);
    await root.must("touch", GO);
    await eventually("it has run", async () => !(await running()));
    expect((await listed(root)).map(({ archive }) => archive.split("/")[1])).toContain("waits");
    await install("agent", VERSION);
    expect(await mainPid("agent")).not.toBe(before);
  });

  test("what the administrator has stopped, disabled or masked stays so", async () => {
    await root.must("systemctl", "stop", "nbackup-agent");
    await install("agent", HIGHER);
    expect([await active("agent"), await shown("agent", "UnitFileState")]).toEqual(["inactive", "enabled"]);
    await root.must("systemctl", "mask", "nbackup-agent");
    await install("agent", VERSION);
    expect(await shown("agent", "UnitFileState")).toBe("masked");
    await root.must("systemctl", "unmask", "nbackup-agent");
    // Disabled, and started by hand: the old program must not go on.
    await root.must("systemctl", "disable", "--now", "nbackup-server");
    await root.must("systemctl", "start", "nbackup-server");
    const before = await mainPid("server");
    await install("server", HIGHER);
    expect([await active("server"), await shown("server", "UnitFileState")]).toEqual(["active", "disabled"]);
    expect(await mainPid("server")).not.toBe(before);
    await root.must("systemctl", "enable", "nbackup-server");
  });

  test("a mistake in the configuration stops the server and not dpkg", async () => {
    const right = readFileSync(root.at("etc/nbackup/server.yaml"), "utf8");
    root.put("/etc/nbackup/server.yaml", `${right}unknown_key: 1\n`);
    const { exitCode, stderr } = await root.run("dpkg", "--install", deb("server", HIGHER));
    const status = [await active("server"), await shown("server", "ExecMainStatus")];
    root.put("/etc/nbackup/server.yaml", right);
    await root.must("systemctl", "start", "nbackup-server");
    expect([exitCode, await packageState("server")]).toEqual([0, `ii ${HIGHER}`]);
    expect(stderr).toContain("nbackup-server.service did not start");
    expect(status).toEqual(["failed", "2"]);
  });

  test("an upgrade that was unpacked and not configured is finished by dpkg --configure", async () => {
    const before = [await mainPid("server"), await mainPid("agent")];
    for (const program of PROGRAMS) await root.must("dpkg", "--unpack", deb(program, HIGHER));
    expect([await mainPid("server"), await mainPid("agent")]).toEqual(before);
    await root.must("nbackup-server", "status");
    await root.must("dpkg", "--configure", "--pending");
    for (const program of PROGRAMS) {
      expect([await packageState(program), await active(program)]).toEqual([`ii ${HIGHER}`, "active"]);
      expect(before).not.toContain(await mainPid(program));
    }
  });

  test("what was removed or purged runs again when it is installed, with all that it knew", async () => {
    const before = await listed(root);
    expect(before.length).toBeGreaterThan(0);
    for (const program of PROGRAMS) {
      for (const way of ["--remove", "--purge"]) {
        await root.must("dpkg", way, `nbackup-${program}`);
        expect(await active(program)).toBe("inactive");
        await install(program, VERSION);
        expect([await active(program), await shown(program, "UnitFileState")]).toEqual(["active", "enabled"]);
      }
      await answers(program);
    }
    expect(await listed(root)).toEqual(before);
  });
});
