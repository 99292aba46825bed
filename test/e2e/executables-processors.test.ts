/** The executables run where nothing of the checkout is, on old amd64 processors, and on arm64. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { ARCHITECTURES, executablePath, nativeExecutable, PROGRAMS } from "#scripts/lib/executables.ts";
import { VERSION } from "#scripts/lib/project.ts";
import { run } from "#scripts/lib/run.ts";

/** A processor of 2010: without AVX, AVX2 and BMI. */
const OLD_AMD64 = ["qemu-x86_64-static", "-cpu", "Westmere"];
const ARM64 = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"];
const TIMEOUT_MS = 120_000;

let away = "";

beforeAll(() => {
  away = mkdtempSync(path.join(tmpdir(), "nbackup-away-"));
  for (const program of PROGRAMS) {
    for (const architecture of ARCHITECTURES) {
      const file = executablePath(program, architecture);
      copyFileSync(file, path.join(away, path.basename(file)));
    }
  }
});
afterAll(() => {
  rmSync(away, { recursive: true, force: true });
});

/** What an executable copied away prints for --version, in a directory with traps that Bun would load by itself. */
async function versionOf(emulator: readonly string[], file: string): Promise<string> {
  const result = await run([...emulator, path.join(away, path.basename(file)), "--version"], { cwd: away });
  return `${result.exitCode} ${result.stdout.trim()}${result.stderr.trim()}`;
}

describe("the executables, copied away from the checkout,", () => {
  for (const program of PROGRAMS) {
    test(`say the version of package.json: ${program}`, async () => {
      await Bun.write(path.join(away, "bunfig.toml"), 'preload = ["./does-not-exist.ts"]\n');
      await Bun.write(path.join(away, ".env"), "BUN_OPTIONS=--does-not-exist\n");
      expect(await versionOf([], nativeExecutable(program))).toContain(`0 nbackup-${program} ${VERSION}`);
    });
    test.skipIf(process.arch !== "x64")(
      `run on an amd64 processor without AVX: ${program}`,
      async () => {
        expect(await versionOf(OLD_AMD64, executablePath(program, "amd64"))).toContain(VERSION);
      },
      TIMEOUT_MS,
    );
    test.skipIf(process.arch !== "x64")(
      `run on arm64: ${program}`,
      async () => {
        expect(await versionOf(ARM64, executablePath(program, "arm64"))).toContain(VERSION);
      },
      TIMEOUT_MS,
    );
  }
});
