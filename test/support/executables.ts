/**
 * The compiled programs for end-to-end tests, copied away from the checkout. `npm test` has built them before; a test
 * that is run by itself builds them when they are missing or older than the sources.
 */
import { copyFileSync, mkdirSync, statSync } from "node:fs";
import path from "node:path";
import { build, executablePath, nativeArchitecture, type Program } from "#scripts/lib/executables.ts";
import { inProject, ROOT } from "#scripts/lib/project.ts";

export interface Executables {
  readonly agent: string;
  readonly server: string;
}

/** Copies both programs into `directory`, which is made. */
export async function executablesIn(directory: string): Promise<Executables> {
  mkdirSync(directory, { recursive: true });
  const copy = async (program: Program): Promise<string> => {
    const built = await upToDate(program);
    const copied = path.join(directory, `nbackup-${program}`);
    copyFileSync(built, copied);
    return copied;
  };
  return { agent: await copy("agent"), server: await copy("server") };
}

/** One in dist/, made anew when it must be. */
export async function upToDate(program: Program, architecture = nativeArchitecture()): Promise<string> {
  const built = executablePath(program, architecture);
  const builtAtMs = statSync(built, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return builtAtMs >= (await newestSourceMs()) ? built : await build(program, architecture);
}

async function newestSourceMs(): Promise<number> {
  let newest = statSync(inProject("package.json")).mtimeMs;
  for await (const file of new Bun.Glob("{src,pki-tools}/**/*.{ts,tsx,css,html,svg}").scan({
    cwd: ROOT,
    absolute: true,
  })) {
    newest = Math.max(newest, statSync(file).mtimeMs);
  }
  return newest;
}
