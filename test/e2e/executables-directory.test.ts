/** The executables in a directory that is none to work in: what docs/troubleshooting.md says of it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync } from "node:fs";
import path from "node:path";
import { VERSION } from "#scripts/lib/project.ts";
import { run } from "#scripts/lib/run.ts";
import { type Executables, executablesIn } from "#test/support/executables.ts";
import { NOBODY } from "#test/support/first-hour.ts";
import { lacksRoot, makeTempDir, removeTree } from "#test/support/tree.ts";

setDefaultTimeout(120_000);

let base = "";
let executables: Executables;
beforeAll(async () => {
  base = makeTempDir();
  chmodSync(base, 0o755);
  executables = await executablesIn(path.join(base, "bin"));
});
afterAll(() => removeTree(base));

/** Lets a shell go into a directory and change it before the program begins. */
async function startedIn(directory: string, before: string, ...command: readonly string[]): Promise<string> {
  mkdirSync(directory, { recursive: true });
  const { exitCode, stdout, stderr } = await run(["sh", "-c", `${before} && exec "$@"`, "sh", ...command], {
    cwd: directory,
  });
  return `${exitCode} ${stdout}${stderr}`;
}

describe("an executable", () => {
  test.skipIf(lacksRoot())(
    "works in a directory that its user may neither read nor enter, threads and all",
    async () => {
      const archive = path.join(base, "archive.tar.gz");
      const closed = path.join(base, "closed/in");
      const made = `tar -czf ${archive} -C / etc/passwd && chmod 644 ${archive} && chmod 700 . ..`;
      const said = await startedIn(closed, made, ...NOBODY, executables.server, "verify", archive);
      expect(said).toMatch(/^0 .*archive\.tar\.gz: whole \(1 entries/);
      expect(await startedIn(closed, ":", ...NOBODY, executables.agent, "--version")).toContain(
        `0 nbackup-agent ${VERSION}`,
      );
    },
  );
  test("says in one that was removed that it was, before it begins", async () => {
    const gone = path.join(base, "gone");
    const said = await startedIn(gone, `rmdir ${gone}`, executables.agent, "--version");
    expect(said).toMatch(/^1 error: The current working directory was deleted/);
  });
});
