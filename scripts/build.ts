/**
 * `bun run build`: dist/nbackup-{agent,server}-linux-{amd64,arm64}. `--only amd64|arm64|native` and
 * `--program agent|server` build less, for tests.
 */
import { stat } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import {
  ARCHITECTURES,
  type Architecture,
  build,
  nativeArchitecture,
  PROGRAMS,
  type Program,
} from "./lib/executables.ts";
import { ROOT, VERSION } from "./lib/project.ts";
import { runMain, Sentence } from "./lib/run.ts";

function chosenArchitectures(only: string | undefined): readonly Architecture[] {
  if (only === undefined) return ARCHITECTURES;
  if (only === "native") return [nativeArchitecture()];
  const found = ARCHITECTURES.find((name) => name === only);
  if (found === undefined) throw new Sentence(`--only takes amd64, arm64 or native, not ${only}.`);
  return [found];
}

function chosenPrograms(program: string | undefined): readonly Program[] {
  if (program === undefined) return PROGRAMS;
  const found = PROGRAMS.find((name) => name === program);
  if (found === undefined) throw new Sentence(`--program takes agent or server, not ${program}.`);
  return [found];
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: "string" }, program: { type: "string" } } });
  for (const program of chosenPrograms(values.program)) {
    for (const architecture of chosenArchitectures(values.only)) {
      const started = performance.now();
      const file = await build(program, architecture);
      const { size } = await stat(file);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      console.log(`${path.relative(ROOT, file)}  ${VERSION}  ${(size / 2 ** 20).toFixed(0)} MB  ${seconds} s`);
    }
  }
  return 0;
}

await runMain(main);
