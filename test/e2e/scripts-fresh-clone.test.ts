/** `npm run quickstart` on a machine that has Node, npm and GNU tar, and no Bun: in a copy of the checkout's files. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { must } from "#base/assert.ts";
import { inProject } from "#scripts/lib/project.ts";

const COPIED = ["package.json", "bun.lock", "bunfig.toml", "tsconfig.json", "src", "scripts", "pki-tools"];
const PROGRAMS = ["node", "npm", "sh", "env", "tar", "gzip"];
const TIMEOUT_MS = 300_000;

let base = "";
let clone = "";
let source = "";

beforeAll(() => {
  base = mkdtempSync(path.join(tmpdir(), "nbackup-clone-"));
  clone = path.join(base, "clone");
  source = path.join(base, "tree");
  mkdirSync(clone);
  for (const item of COPIED) cpSync(inProject(item), path.join(clone, item), { recursive: true });
  mkdirSync(path.join(base, "bin"));
  for (const name of PROGRAMS) symlinkSync(must(Bun.which(name), name), path.join(base, "bin", name));
  mkdirSync(path.join(source, "deep/er"), { recursive: true });
  writeFileSync(path.join(source, "deep/er/file.txt"), "some contents\n".repeat(1000));
  symlinkSync("deep/er/file.txt", path.join(source, "link"));
});
afterAll(() => {
  rmSync(base, { recursive: true, force: true });
});

function npm(args: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  const env: Record<string, string | undefined> = { ...process.env, PATH: path.join(base, "bin") };
  // What an enclosing `npm test` left in the environment is not there on a fresh machine.
  for (const name of Object.keys(env))
    if (/^npm_(execpath|lifecycle|package)|^INIT_CWD$/.test(name)) env[name] = undefined;
  return Bun.spawn(["npm", ...args], { cwd: clone, env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

async function quickstart(args: readonly string[]): Promise<{ exitCode: number; output: string }> {
  const child = npm(["run", "quickstart", "--", ...args]);
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, output: out + err };
}

/** Command lines of running processes that name the copy. */
function processesOfClone(): readonly string[] {
  return readdirSync("/proc").flatMap((pid) => {
    const file = `/proc/${pid}/cmdline`;
    if (!/^\d+$/.test(pid) || !existsSync(file)) return [];
    try {
      const line = readFileSync(file, "utf8").replaceAll("\0", " ");
      return line.includes(clone) ? [line] : [];
    } catch (error) {
      // It ended between the listing and the reading.
      if (error instanceof Error) return [];
      throw error;
    }
  });
}

describe("npm run quickstart in a fresh clone without Bun", () => {
  test(
    "fetches the pinned Bun, backs a directory up, restores it with GNU tar and finds no difference",
    async () => {
      const { exitCode, output } = await quickstart([source]);
      expect(output).toContain("was backed up and restored without a difference");
      expect(exitCode).toBe(0);
      expect(existsSync(path.join(clone, ".bun"))).toBe(true);
      expect(existsSync(path.join(clone, "quickstart/restored", source, "deep/er/file.txt"))).toBe(true);
      expect(processesOfClone()).toEqual([]);
    },
    TIMEOUT_MS,
  );
  test(
    "passes again, with a directory named as typed where npm was called",
    async () => {
      const { exitCode, output } = await quickstart(["../tree/deep"]);
      expect(output).toContain(`${path.join(source, "deep")} was backed up and restored without a difference`);
      expect(exitCode).toBe(0);
    },
    TIMEOUT_MS,
  );
  test(
    "says in one sentence that a directory does not exist",
    async () => {
      const { exitCode, output } = await quickstart(["/nowhere/at/all"]);
      expect(output).toContain("/nowhere/at/all does not exist");
      expect(output).not.toContain("    at ");
      expect(exitCode).toBe(1);
    },
    TIMEOUT_MS,
  );
  test(
    "leaves no process behind when interrupted in the middle",
    async () => {
      const child = npm(["run", "quickstart"]);
      const decoder = new TextDecoder();
      let output = "";
      for await (const piece of child.stdout) {
        output += decoder.decode(piece, { stream: true });
        if (output.includes("Backing up")) child.kill("SIGINT");
      }
      expect(output).toContain("Backing up");
      expect(await child.exited).toBe(130);
      // Standard output is closed only when the last process that held it is gone.
      expect(processesOfClone()).toEqual([]);
    },
    TIMEOUT_MS,
  );
});
