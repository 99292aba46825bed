/** Both packages under a real systemd, as a small Debian has it: the hardened units do their work. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { stringify } from "yaml";
import { type Program, PROGRAMS } from "#scripts/lib/executables.ts";
import { mustRun } from "#scripts/lib/run.ts";
import { DebianRoot, eventually, whyNoDebianRoot } from "#test/support/debian-root.ts";
import { writePackage } from "#test/support/packages.ts";

const TIMEOUT_MS = 300_000;
const MAKE_MS = 1_200_000;
setDefaultTimeout(TIMEOUT_MS);

const whyNot = whyNoDebianRoot();
if (whyNot !== undefined) console.log(`Units are not started here: ${whyNot}.`);

let work = "";
let root: DebianRoot;

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
  root.put(
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
  root.put("etc/systemd/system/nbackup-server.service.d/storages.conf", "[Service]\nReadWritePaths=-/srv/opened\n");
  root.put(
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
  root.put("home/secret", "of another user");
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
    root = await DebianRoot.make(path.join(work, "root"));
    for (const program of PROGRAMS) {
      await writePackage(root.at(`nbackup-${program}.deb`), program);
      await root.must("dpkg", "--install", `/nbackup-${program}.deb`);
    }
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
    root.put(dropIn, `[Service]\nType=oneshot\nRestart=no\n${once}`);
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
});
