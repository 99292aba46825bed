/** The Debian packages: what is in them, what lintian and systemd say, and their life on a clean Debian from install to purge. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { MiB } from "#base/units.ts";
import { QUICKEST } from "#scripts/deb/compress.ts";
import { ARCHITECTURES, nativeArchitecture, type Program, PROGRAMS } from "#scripts/lib/executables.ts";
import { VERSION } from "#scripts/lib/project.ts";
import { mustRun, run } from "#scripts/lib/run.ts";
import { DebianRoot, whyNoDebianRoot } from "#test/support/debian-root.ts";
import { upToDate } from "#test/support/executables.ts";
import { LOWER, packageBytes, writePackage } from "#test/support/packages.ts";

const TIMEOUT_MS = 300_000;
const MAKE_MS = 1_200_000;
setDefaultTimeout(TIMEOUT_MS);

const whyNot = whyNoDebianRoot();
if (whyNot !== undefined) console.log(`Packages are not installed here: ${whyNot}.`);

let work = "";
let root: DebianRoot;

const deb = (program: Program, version: string): string => path.join(work, `nbackup-${program}-${version}.deb`);

/** What is edited, or shipped anew, in LOWER's example and not in this version's. */
const OLD_LINE = "# As it once was.\n";

/** A small program of that version, with another example beside the configuration. */
async function writeLower(program: Program): Promise<void> {
  const file = deb(program, LOWER);
  const executable = Buffer.from(`#!/bin/sh\necho nbackup-${program} ${LOWER}\n`);
  await writePackage(file, program, { version: LOWER, executable });
  const unpacked = path.join(work, `lower-${program}`);
  await mustRun(["dpkg-deb", "--raw-extract", file, unpacked]);
  appendFileSync(path.join(unpacked, "etc/nbackup", `${program}.yaml.example`), OLD_LINE);
  await mustRun(["dpkg-deb", "--root-owner-group", "-Znone", "--build", unpacked, file]);
}

beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), "nbackup-deb-"));
  await Promise.all(
    PROGRAMS.map(async (program) => {
      await writePackage(deb(program, VERSION), program, { compression: QUICKEST });
      if (whyNot === undefined) await writeLower(program);
    }),
  );
}, TIMEOUT_MS);
afterAll(() => {
  rmSync(work, { recursive: true, force: true });
});

describe("a package", () => {
  test("is the same bytes when it is made again, whatever the umask", async () => {
    const executable = readFileSync(await upToDate("agent")).subarray(0, 4 * MiB);
    const first = await packageBytes("agent", { executable, compression: QUICKEST });
    const before = process.umask(0);
    const again = await packageBytes("agent", { executable, compression: QUICKEST });
    process.umask(before);
    expect(Buffer.compare(again, first)).toBe(0);
  });
  for (const program of PROGRAMS) {
    const name = `nbackup-${program}`;
    test.skipIf(Bun.which("dpkg-deb") === null)(
      `is read by dpkg, and has each file at its place: ${program}`,
      async () => {
        const fields = await mustRun([
          "dpkg-deb",
          "--field",
          deb(program, VERSION),
          "Package",
          "Version",
          "Architecture",
        ]);
        expect(fields).toBe(`Package: ${name}\nVersion: ${VERSION}\nArchitecture: ${nativeArchitecture()}\n`);
        const contents = await mustRun(["dpkg-deb", "--contents", deb(program, VERSION)]);
        const files = contents.split("\n").filter((line) => line.startsWith("-"));
        const rows = files
          .map((line) => line.split(/\s+/))
          .map(([mode, owner, , , , file]) => `${mode} ${owner} ${file}`);
        const file = (place: string, mode = "-rw-r--r--"): string => `${mode} root/root .${place}`;
        const doc = `/usr/share/doc/${name}`;
        expect(rows).toEqual([
          file(`/etc/nbackup/${program}.yaml.example`),
          file(`/usr/bin/${name}`, "-rwxr-xr-x"),
          file(`/usr/lib/systemd/system/${name}.service`),
          ...(program === "server" ? [file(`/usr/lib/sysusers.d/${name}.conf`)] : []),
          file(`/usr/share/bash-completion/completions/${name}`),
          ...[
            ...["README.md", "agent.md", "certificates.md", "changelog.gz", "configuration.md", "copyright"],
            ...["getting-started.md", "migration.md", "monitoring.md", "operations.md", "packages.md", "restore.md"],
            ...["security-model.md", "troubleshooting.md", "web-api.md", "web-ui.md"],
          ].map((one) => file(`${doc}/${one}`)),
          file(`/usr/share/fish/vendor_completions.d/${name}.fish`),
          file(`/usr/share/lintian/overrides/${name}`),
          file(`/usr/share/man/man8/${name}.8.gz`),
          file(`/usr/share/zsh/vendor-completions/_${name}`),
        ]);
      },
    );
  }
  const lintian = async (...packages: readonly string[]): Promise<void> => {
    const { exitCode, stdout } = await run(["lintian", "--allow-root", "--fail-on", "error,warning", ...packages]);
    expect([exitCode, stdout]).toEqual([0, ""]);
  };
  if (Bun.which("lintian") === null) console.log("not tried: what lintian says, because it is not installed");
  for (const architecture of ARCHITECTURES) {
    test.skipIf(Bun.which("lintian") === null)(
      `gives lintian nothing to say but what an override has a reason for: ${architecture}`,
      async () => {
        await Promise.all(
          PROGRAMS.map(async (program) => {
            if (architecture === nativeArchitecture()) return await lintian(deb(program, VERSION));
            const file = path.join(work, `nbackup-${program}_${architecture}.deb`);
            await writePackage(file, program, { architecture, compression: QUICKEST });
            await lintian(file);
          }),
        );
      },
    );
  }
});

describe.skipIf(whyNot !== undefined)("on a clean Debian", () => {
  beforeAll(async () => {
    root = await DebianRoot.make(path.join(work, "root"));
    mkdirSync(root.at("packages"));
    for (const program of PROGRAMS) {
      for (const version of [LOWER, VERSION]) {
        await mustRun(["cp", deb(program, version), root.at("packages", path.basename(deb(program, version)))]);
      }
    }
  }, MAKE_MS);
  afterAll(async () => {
    await root.remove();
  }, TIMEOUT_MS);

  const install = (program: Program, version: string): Promise<string> =>
    root.must("dpkg", "--install", `/packages/${path.basename(deb(program, version))}`);
  const enabled = async (program: Program): Promise<string> =>
    (await root.run("systemctl", "is-enabled", `nbackup-${program}`)).stdout.trim();
  const state = (program: Program): Promise<string> =>
    root.must("dpkg-query", "--showformat=${db:Status-Abbrev}", "--show", `nbackup-${program}`);
  const version = async (program: Program): Promise<string> =>
    (await root.must(`nbackup-${program}`, "--version")).trim();

  for (const program of PROGRAMS) {
    const name = `nbackup-${program}`;
    const memory = program === "server" ? "/var/lib/nbackup" : "/var/lib/nbackup-agent";
    const log = program === "server" ? "/var/log/nbackup" : "/var/log/nbackup-agent";
    /** What an administrator and the program made: no version of the package may touch it. */
    const kept = [`/etc/nbackup/${program}.yaml`, `/etc/nbackup/${program}-key.pem`, `${memory}/memory.json`];
    if (program === "server") kept.push("/srv/nbackup/web-01/system/2026-02-12T02-00-00-123Z.tar.gz");

    const example = `/etc/nbackup/${program}.yaml.example`;
    const exampleNow = (): string => readFileSync(root.at(example), "utf8");

    test(`${name} is installed, enabled and can be run`, async () => {
      expect(await install(program, LOWER)).toContain(`${name} starts when there is a /etc/nbackup/${program}.yaml`);
      expect(await version(program)).toBe(`${name} ${LOWER}`);
      expect(await enabled(program)).toBe("enabled");
      if (program === "server") {
        expect(await root.must("getent", "passwd", "nbackup")).toMatch(
          /^nbackup:x:\d+:\d+:nbackup server:\/var\/lib\/nbackup:\/usr\/sbin\/nologin\n$/,
        );
      }
      for (const file of kept) {
        mkdirSync(root.at(path.dirname(file)), { recursive: true });
        writeFileSync(root.at(file), `precious ${file}`, { mode: 0o600 });
      }
      mkdirSync(root.at(log));
      writeFileSync(root.at(log, "today.log"), "lines");
    });
    test(`${name} survives upgrade, downgrade and removal with everything as it was left`, async () => {
      const holds = (): void => {
        for (const file of kept) {
          expect(readFileSync(root.at(file), "utf8")).toBe(`precious ${file}`);
          expect(lstatSync(root.at(file)).mode & 0o777).toBe(0o600);
        }
      };
      await root.must("systemctl", "disable", name);
      expect(exampleNow()).toEndWith(OLD_LINE);
      await install(program, VERSION);
      expect(await version(program)).toBe(`${name} ${VERSION}`);
      expect(exampleNow()).not.toContain(OLD_LINE);
      // What the administrator has switched off stays off.
      expect(await enabled(program)).toBe("disabled");
      holds();
      await root.must("systemctl", "enable", name);
      await install(program, LOWER);
      expect([await version(program), await enabled(program)]).toEqual([`${name} ${LOWER}`, "enabled"]);
      holds();
      await root.must("dpkg", "--remove", name);
      expect(existsSync(root.at("usr/bin", name))).toBe(false);
      holds();
      await install(program, VERSION);
      expect([await version(program), await enabled(program)]).toEqual([`${name} ${VERSION}`, "enabled"]);
      expect(await root.must("dpkg", "--verify", name)).toBe("");
      holds();
    });
    test(`${name} asks about an example that was edited, and an upgrade without a person keeps it`, async () => {
      appendFileSync(root.at(example), "# Mine.\n");
      const asked = await root.run("dpkg", "--install", `/packages/${path.basename(deb(program, LOWER))}`);
      // Nobody is there to answer.
      expect([asked.exitCode, await state(program)]).toEqual([1, "iU "]);
      await root.must("dpkg", "--force-confdef", "--force-confold", "--configure", "--pending");
      expect([await state(program), exampleNow().endsWith("# Mine.\n")]).toEqual(["ii ", true]);
      expect(existsSync(root.at(`${example}.dpkg-dist`))).toBe(true);
      await root.must("dpkg", "--force-confold", "--install", `/packages/${path.basename(deb(program, VERSION))}`);
      expect([await version(program), exampleNow().endsWith("# Mine.\n")]).toEqual([`${name} ${VERSION}`, true]);
    });
    test(`${name} is purged, and leaves configuration, keys, memory and backups`, async () => {
      const said = await root.must("dpkg", "--purge", name);
      expect(said).toContain(`Kept: ${memory}. Backups lie where they were.`);
      for (const file of kept) expect(readFileSync(root.at(file), "utf8")).toBe(`precious ${file}`);
      const gone = [
        ...[example, `${example}.dpkg-dist`],
        log,
        `/etc/systemd/system/multi-user.target.wants/${name}.service`,
      ];
      expect(gone.filter((file) => lstatSync(root.at(file), { throwIfNoEntry: false }) !== undefined)).toEqual([]);
      for (const file of kept) rmSync(root.at(file));
    });
  }

  test("a package that was never configured leaves nothing when it is purged, and says nothing", async () => {
    for (const directory of ["etc/nbackup", "var/lib/nbackup", "var/lib/nbackup-agent"]) {
      rmSync(root.at(directory), { recursive: true, force: true });
    }
    for (const program of PROGRAMS) {
      await install(program, LOWER);
      expect(await root.must("dpkg", "--purge", `nbackup-${program}`)).not.toContain("Kept");
      expect([existsSync(root.at("etc/nbackup")), existsSync(root.at("var/lib/nbackup"))]).toEqual([false, false]);
    }
  });

  test("a server whose user cannot be made stays half installed until it can", async () => {
    const [sysusers, away] = ["/usr/bin/systemd-sysusers", "/usr/bin/systemd-sysusers.away"];
    await root.must("userdel", "nbackup");
    await root.must("mv", sysusers, away);
    root.put(sysusers, "#!/bin/sh\nexit 1\n");
    await root.must("chmod", "755", sysusers);
    const { exitCode } = await root.run("dpkg", "--install", `/packages/${path.basename(deb("server", LOWER))}`);
    expect([exitCode, await state("server")]).toEqual([1, "iF "]);
    await root.must("mv", away, sysusers);
    await root.must("dpkg", "--configure", "--pending");
    expect([await state("server"), await enabled("server")]).toEqual(["ii ", "enabled"]);
    const { uid, mode } = lstatSync(root.at("var/lib/nbackup"));
    expect([`${uid}\n`, mode & 0o777]).toEqual([await root.must("id", "--user", "nbackup"), 0o700]);
    await root.must("dpkg", "--purge", "nbackup-server");
  });

  test("nbackup-server makes its user without systemd too", async () => {
    await root.must("userdel", "nbackup");
    await root.must("mv", "/usr/bin/systemd-sysusers", "/usr/bin/systemd-sysusers.away");
    await install("server", VERSION);
    await root.must("mv", "/usr/bin/systemd-sysusers.away", "/usr/bin/systemd-sysusers");
    expect(await root.must("getent", "passwd", "nbackup")).toMatch(
      /:nbackup server:\/var\/lib\/nbackup:\/usr\/sbin\/nologin\n$/,
    );
  });

  test("the units are without a mistake, and the server's leaves little open", async () => {
    await install("agent", VERSION);
    const units = PROGRAMS.map((program) => `/usr/lib/systemd/system/nbackup-${program}.service`);
    const { exitCode, stdout, stderr } = await root.run("systemd-analyze", "verify", "--man=no", ...units);
    expect([exitCode, stdout, stderr]).toEqual([0, "", ""]);
    const score = async (unit: string): Promise<number> => {
      const table = await root.must("systemd-analyze", "security", "--offline=true", "--no-pager", unit);
      return Number(/Overall exposure level for \S+: ([\d.]+)/.exec(table)?.[1]);
    };
    const [agent = Number.NaN, server = Number.NaN] = await Promise.all(units.map(score));
    expect(server).toBeLessThan(2);
    expect(agent).toBeLessThan(6);
  });
});
