/** The compiled server restores and verifies archives in files: as root and as an ordinary user, ours and those of GNU tar. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { MiB } from "#base/units.ts";
import { run, type RunResult } from "#scripts/lib/run.ts";
import { readFiles } from "#test/support/archive-kit.ts";
import { executablesIn } from "#test/support/executables.ts";
import { describeAttributes, describeTree } from "#test/support/restore-kit.ts";
import { sealArchive } from "#test/support/restore-run.ts";
import { makeWholeTree } from "#test/support/torture-tree.ts";
import { isRoot, makeTempDir, memoryDir, patternBytes, removeTree, run as tool } from "#test/support/tree.ts";

const TIMEOUT_MS = 120_000;
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

let base = "";
let server = "";
let source = "";
let noAttributes: string | undefined;
/** What the source looks like: it takes a while to find out, and does not change. */
let sourceTree = "";
let sourceAttributes = "";

beforeAll(async () => {
  base = makeTempDir(memoryDir());
  fs.chmodSync(base, 0o755);
  ({ server } = await executablesIn(path.join(base, "bin")));
  source = path.join(base, "source");
  ({ noAttributes } = makeWholeTree(source));
  fs.rmSync(path.join(source, "special/socket"));
  tool("touch", ["-d", "@1234567890", path.join(source, "special")]);
  sourceTree = describeTree(source);
  sourceAttributes = attributesOf(source);
}, TIMEOUT_MS);
afterAll(() => void tool("rm", ["-rf", base]), TIMEOUT_MS);

/** Our archive of the source; gives its file. */
function archiveOf(name: string, mode: "gzip" | "zst"): string {
  const file = path.join(base, name);
  const { archive } = sealArchive(readFiles([source], { chunkBytes: MiB / 4 }).chunks, mode);
  fs.writeFileSync(file, archive);
  const sum = new Bun.CryptoHasher("sha256").update(archive).digest("hex");
  fs.writeFileSync(`${file}.sha256`, `${sum}  ${name}\n`);
  return file;
}

function newTarget(name: string, user = false): string {
  const target = path.join(base, name);
  fs.mkdirSync(target);
  if (user) tool("chown", ["65534:65534", target]);
  return target;
}

async function nbackup(args: readonly string[], as: readonly string[] = []): Promise<RunResult> {
  return await run([...as, server, ...args], { cwd: base, env: { LC_ALL: "C", TZ: "UTC" } });
}

const attributesOf = (tree: string): string => (noAttributes === undefined ? describeAttributes(tree) : "");

describe("nbackup-server restore", () => {
  for (const mode of ["gzip", "zst"] as const) {
    test(
      `gives the whole tree back: ${mode}`,
      async () => {
        const archive = archiveOf(`whole.tar.${mode}`, mode);
        const target = newTarget(`whole-${mode}`);
        const result = await nbackup(["restore", archive, "--to", target, "--json"]);
        expect(result.stderr).toBe("");
        expect(JSON.parse(result.stdout)).toMatchObject({ result: "done", problemCount: 0, damagedCount: 0 });
        expect(result.exitCode).toBe(0);
        expect(describeTree(target + source)).toBe(sourceTree);
        expect(attributesOf(target + source)).toBe(sourceAttributes);
        const verified = await nbackup(["verify", archive, "--json"]);
        expect(verified.exitCode).toBe(0);
        expect(JSON.parse(verified.stdout)).toMatchObject({ ok: true, damagedCount: 0 });
        removeTree(target);
      },
      TIMEOUT_MS,
    );
  }

  test(
    "gives back what GNU tar wrote with everything it keeps",
    async () => {
      const archive = path.join(base, "gnu.tar.gz");
      const keep = ["--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--sparse"];
      tool("tar", ["-czf", archive, ...keep, "-C", "/", source.slice(1)]);
      const target = newTarget("gnu");
      const result = await nbackup(["restore", archive, "--to", target]);
      expect(result.stderr).toBe("");
      expect(result.exitCode).toBe(0);
      // GNU tar stores every name of a device or fifo by itself.
      const unlinked = (tree: string): string => tree.replace(/^(.*\0[bcp] .*) {2}\d+$/gm, "$1");
      expect(unlinked(describeTree(target + source))).toBe(unlinked(sourceTree));
      expect(attributesOf(target + source)).toBe(sourceAttributes);
      removeTree(target);
    },
    TIMEOUT_MS,
  );

  test(
    "run by an ordinary user gives him everything that is his, and names the devices",
    async () => {
      if (!isRoot) {
        console.log("not tried: only root can become another user");
        return;
      }
      const archive = archiveOf("user.tar.gz", "gzip");
      const target = newTarget("user", true);
      const result = await nbackup(["restore", archive, "--to", target], NOBODY);
      expect(result.exitCode).toBe(3);
      const named = result.stderr.trim().split("\n");
      for (const name of ["special/block", "special/char", "attributes/device"]) {
        const inArchive = path.join(source, name).slice(1);
        expect(named).toContain(`warning: ${inArchive}: is a device, which only root may make; not restored`);
      }
      // Second names of devices, and nothing else.
      expect(named.filter((line) => !/special\/|attributes\/device|more links\/(char|block)/.test(line))).toEqual([]);
      // Without owners, which are nobody's to give, and the bits that go with them.
      const plain = (tree: string): string =>
        tree
          .split("\n")
          .filter((line) => !/special|attributes|more links/.test(line))
          .map((line) =>
            line.replace(/(\d{1,4}) \d+ \d+ (-?\d+\.)/, (_, mode: string, time: string) => {
              return `${mode.slice(-3)} owner ${time}`;
            }),
          )
          .join("\n");
      expect(plain(describeTree(target + source))).toBe(plain(sourceTree));
      // A second run finds all of it in place.
      const again = await nbackup(["restore", archive, "--to", target, "--overwrite", "if-changed", "--json"], NOBODY);
      expect(JSON.parse(again.stdout)).toMatchObject({ bytes: 0 });
    },
    TIMEOUT_MS,
  );

  test(
    "leaves what it has not written when it is interrupted, and no temporary file",
    async () => {
      const big = path.join(base, "big");
      fs.mkdirSync(big);
      for (let i = 0; i < 40; i += 1) fs.writeFileSync(path.join(big, String(i)), patternBytes(8 * MiB, i + 1));
      const archive = path.join(base, "big.tar");
      tool("tar", ["-cf", archive, "--format=posix", "-C", "/", big.slice(1)]);
      const target = newTarget("interrupted");
      const child = Bun.spawn([server, "restore", archive, "--to", target], { stdout: "pipe", stderr: "pipe" });
      const restored = target + big;
      // Signalled as soon as it is at work.
      while (fs.readdirSync(target, { recursive: true }).length < 6 && child.exitCode === null) await Bun.sleep(2);
      child.kill("SIGINT");
      const code = await child.exited;
      expect([0, 130]).toContain(code);
      expect(tool("find", [target, "-name", ".nbackup-*"]).toString()).toBe("");
      for (const name of fs.readdirSync(restored)) expect(fs.statSync(path.join(restored, name)).size).toBe(8 * MiB);
      const again = await nbackup(["restore", archive, "--to", target, "--overwrite", "if-changed"]);
      expect(again.exitCode).toBe(0);
      expect(describeTree(restored)).toBe(describeTree(big));
    },
    TIMEOUT_MS,
  );
});

describe("nbackup-server cat, --stdout-tar and verify", () => {
  test(
    "give files out as they are, and say in sentences what is damaged",
    async () => {
      const archive = archiveOf("out.tar.gz", "gzip");
      const name = path.join(source, "sizes/700000");
      const cat = Bun.spawn([server, "cat", archive, name], { stdout: "pipe" });
      expect(Buffer.from(await new Response(cat.stdout).arrayBuffer()).equals(fs.readFileSync(name))).toBe(true);
      const link = Bun.spawn([server, "cat", archive, path.join(source, "links/large")], { stdout: "pipe" });
      expect((await new Response(link.stdout).arrayBuffer()).byteLength).toBe(700_000);
      expect((await nbackup(["cat", archive, "no/such/file"])).exitCode).toBe(1);

      const copied = Bun.spawn([server, "restore", archive, "--stdout-tar", path.join(source, "names")], {
        stdout: "pipe",
      });
      const target = newTarget("copied");
      tool("tar", ["-xpf", "-", "-C", target], new Uint8Array(await new Response(copied.stdout).arrayBuffer()));
      expect(describeTree(path.join(target + source, "names"))).toBe(describeTree(path.join(source, "names")));

      const bytes = fs.readFileSync(archive);
      const at = Math.floor(bytes.length / 2);
      bytes[at] = (bytes[at] ?? 0) ^ 0xff;
      fs.writeFileSync(archive, bytes);
      const verified = await nbackup(["verify", archive]);
      expect(verified.exitCode).toBe(1);
      expect(verified.stderr).toMatch(/^warning: chunk \d+ \(bytes \d+ to \d+ of the archive\) is damaged: /);
      expect(verified.stdout).toMatch(/: damaged, 1 damaged place, its SHA-256 is not the one beside it/);
      expect((await nbackup(["verify", path.join(base, "missing.tar.gz")])).stderr).toMatch(
        /^E_ARCHIVE_READ: .*no such file/,
      );
    },
    TIMEOUT_MS,
  );
});
