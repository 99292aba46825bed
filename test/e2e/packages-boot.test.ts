/** Both packages under a real systemd, as a small Debian has it: the hardened units do their work, and an upgrade does not disturb it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { stringify } from "yaml";
import { UNCOMPRESSED } from "#scripts/deb/compress.ts";
import { debianPackage } from "#scripts/deb/package.ts";
import { nativeArchitecture, type Program, PROGRAMS } from "#scripts/lib/executables.ts";
import { VERSION } from "#scripts/lib/project.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { DebianRoot, eventually, whyNoDebianRoot } from "#test/support/debian-root.ts";
import { executablesIn } from "#test/support/executables.ts";

const TIMEOUT_MS = 300_000;
const MAKE_MS = 1_200_000;
setDefaultTimeout(TIMEOUT_MS);

const HIGHER = "99.0.0";
const whyNot = whyNoDebianRoot();
if (whyNot !== undefined) console.log(`Units are not started here: ${whyNot}.`);

let work = "";
let root: DebianRoot;

async function addPackage(program: Program, version: string, executable: Uint8Array): Promise<void> {
  const bytes = await debianPackage({
    ...{ program, version, executable, architecture: nativeArchitecture() },
    ...{ epochSeconds: 1_700_000_000, compression: UNCOMPRESSED },
  });
  writeFileSync(root.at(`nbackup-${program}-${version}.deb`), bytes);
}

function put(file: string, text: string): void {
  mkdirSync(path.dirname(root.at(file)), { recursive: true });
  writeFileSync(root.at(file), text);
}

const tls = (name: string, side: "server" | "client") => ({
  ...{ ca_cert: "ca.pem", [`${side}_cert`]: `${name}.pem`, [`${side}_key`]: `${name}-key.pem` },
});

/** One at a time, as an administrator would. */
async function configure(): Promise<void> {
  await root.must("nbackup-server", "pki", "init", "--dir", "/etc/nbackup");
  await root.must("nbackup-server", "pki", "server", "localhost", "--dir", "/etc/nbackup");
  await root.must("nbackup-server", "pki", "agent", "web-01", "--dir", "/etc/nbackup");
  await root.must("chmod", "755", "/etc/nbackup");
  await root.must("chown", "nbackup", "/etc/nbackup/server-key.pem");
  await root.must("install", "-d", "-o", "nbackup", "-m", "700", "/srv/opened", "/srv/closed");
  put(
    "etc/nbackup/server.yaml",
    stringify({
      server: { listen: "127.0.0.1:9847" },
      tls: tls("server", "server"),
      storages: {
        opened: { base_dir: "/srv/opened", max_backups: 3 },
        closed: { base_dir: "/srv/closed", max_backups: 3 },
      },
    }),
  );
  put("etc/systemd/system/nbackup-server.service.d/storages.conf", "[Service]\nReadWritePaths=-/srv/opened\n");
  put(
    "etc/nbackup/agent.yaml",
    stringify({
      agent: { name: "web-01" },
      server: { address: "localhost:9847" },
      tls: tls("web-01", "client"),
      backups: [
        {
          ...{ name: "all", storage: "opened", sources: [{ path: "/home" }, { path: "/tmp/source" }] },
          hooks: { before: "runuser -u nbackup -- id -un > /tmp/source/hook && chown nbackup /tmp/source/hook" },
        },
      ],
    }),
  );
  put("home/secret", "of another user");
  await root.must("chmod", "0", "/home/secret");
  await root.must("chown", "daemon", "/home/secret");
  await mustRun(["setfattr", "-n", "trusted.nbackup", "-v", "seen-by-root", root.at("home/secret")]);
}

const active = async (program: Program): Promise<string> =>
  (await root.run("systemctl", "is-active", `nbackup-${program}`)).stdout.trim();
const mainPid = async (program: Program): Promise<string> =>
  (await root.must("systemctl", "show", "--property=MainPID", "--value", `nbackup-${program}`)).trim();

describe.skipIf(whyNot !== undefined)("under systemd", () => {
  beforeAll(async () => {
    work = mkdtempSync(path.join(tmpdir(), "nbackup-boot-"));
    const executables = await executablesIn(path.join(work, "bin"));
    root = await DebianRoot.make(path.join(work, "root"));
    for (const program of PROGRAMS) {
      await addPackage(program, VERSION, readFileSync(executables[program]));
      await root.must("dpkg", "--install", `/nbackup-${program}-${VERSION}.deb`);
    }
    await addPackage("agent", HIGHER, readFileSync(executables.agent));
    await configure();
    await root.boot();
  }, MAKE_MS);
  afterAll(async () => {
    await root.remove();
    rmSync(work, { recursive: true, force: true });
  }, TIMEOUT_MS);

  test("the server starts, and may write where a drop-in opens a storage and nowhere else", async () => {
    await eventually("the server answers", async () => (await root.run("nbackup-server", "status")).exitCode === 0);
    const status = await root.must("nbackup-server", "status");
    expect(status).toMatch(/^opened\s+ok\b/m);
    expect(status).not.toMatch(/^closed\s+ok\b/m);
    const state = statSync(root.at("var/lib/nbackup"));
    expect([state.mode & 0o777, state.uid]).toEqual([0o700, statSync(root.at("srv/opened")).uid]);
  });

  test("the agent sees the tree that root sees, and a hook becomes another user", async () => {
    // In the container, which has a /tmp that is not on the disk.
    await root.must("sh", "-c", "mkdir /tmp/source && echo the /tmp of everybody > /tmp/source/file");
    const dropIn = "etc/systemd/system/nbackup-agent.service.d/once.conf";
    const once = "ExecStart=\nExecStart=/usr/bin/nbackup-agent --config /etc/nbackup/agent.yaml --once\n";
    put(dropIn, `[Service]\nType=oneshot\nRestart=no\n${once}`);
    await root.must("systemctl", "daemon-reload");
    await root.must("systemctl", "restart", "nbackup-agent");
    rmSync(root.at(dropIn));
    await root.must("systemctl", "daemon-reload");
    const directory = root.at("srv/opened/web-01/all");
    const archive = readdirSync(directory).find((name) => name.endsWith(".tar.gz")) ?? "none";
    expect(statSync(path.join(directory, archive)).uid).toBe(statSync(root.at("srv/opened")).uid);
    const tar = await mustRun(["sh", "-c", 'gzip -dc "$1"', "sh", path.join(directory, archive)]);
    for (const seen of ["of another user", "trusted.nbackup", "seen-by-root", "the /tmp of everybody"]) {
      expect(tar).toContain(seen);
    }
    expect(await root.must("cat", "/tmp/source/hook")).toBe("nbackup\n");
  });

  test("the agent's daemon is reloaded by systemctl, also where there is no /bin/kill", async () => {
    await root.must("systemctl", "restart", "nbackup-agent");
    const pid = await mainPid("agent");
    await root.must("systemctl", "reload", "nbackup-agent");
    await eventually("it has read its configuration again", async () =>
      (await root.must("journalctl", "--unit=nbackup-agent", "--no-pager")).includes("were read again"),
    );
    expect([await active("agent"), await mainPid("agent")]).toEqual(["active", pid]);
  });

  test("an upgrade starts the agent again, a removal stops it", async () => {
    const before = await mainPid("agent");
    await root.must("dpkg", "--install", `/nbackup-agent-${HIGHER}.deb`);
    const after = await mainPid("agent");
    expect([await active("agent"), after === before]).toEqual(["active", false]);
    await root.must("dpkg", "--remove", "nbackup-agent");
    expect(await active("agent")).not.toBe("active");
    expect(readFileSync(root.at("etc/nbackup/web-01-key.pem"), "utf8")).toContain("PRIVATE KEY");
  });
});
