/**
 * `bun run build:deb`: dist/nbackup-{agent,server}_{amd64,arm64}.deb beside the executables, and dist/checksums.txt over both. The same commit gives
 * the same bytes: the time in the packages is SOURCE_DATE_EPOCH, else the commit's. `--only amd64|arm64|native` builds less;
 * `--quick` compresses badly and soon.
 */
import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";
import { QUICKEST, SMALLEST } from "./deb/compress.ts";
import { debianPackage } from "./deb/package.ts";
import {
  type Architecture,
  ARCHITECTURES,
  build,
  nativeArchitecture,
  type Program,
  PROGRAMS,
} from "./lib/executables.ts";
import { inProject, ROOT, VERSION } from "./lib/project.ts";
import { mustRun, runMain, Sentence } from "./lib/run.ts";

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: "string" }, quick: { type: "boolean" } } });
  const epochSeconds = await sourceEpoch();
  const compression = values.quick === true ? QUICKEST : SMALLEST;
  const architectures = chosenArchitectures(values.only);
  const one = async (program: Program, architecture: Architecture): Promise<void> => {
    const executable = await Bun.file(await build(program, architecture)).bytes();
    const bytes = await debianPackage({
      ...{ program, architecture, version: VERSION, epochSeconds, executable, compression },
    });
    const file = inProject("dist", `nbackup-${program}_${architecture}.deb`);
    await Bun.write(file, bytes);
    console.log(`${path.relative(ROOT, file)}  ${VERSION}  ${(bytes.length / 2 ** 20).toFixed(1)} MB`);
  };
  // The two programs at the same time: xz takes one processor for each.
  for (const architecture of architectures) await Promise.all(PROGRAMS.map((program) => one(program, architecture)));
  await Bun.write(inProject("dist", "checksums.txt"), await checksums(inProject("dist")));
  return 0;
}

function chosenArchitectures(only: string | undefined): readonly Architecture[] {
  if (only === undefined) return ARCHITECTURES;
  const found = only === "native" ? nativeArchitecture() : ARCHITECTURES.find((name) => name === only);
  if (found === undefined) throw new Sentence(`--only takes amd64, arm64 or native, not ${only}.`);
  return [found];
}

async function sourceEpoch(): Promise<number> {
  const told = process.env["SOURCE_DATE_EPOCH"];
  const text = told ?? (await mustRun(["git", "log", "-1", "--format=%ct"])).trim();
  if (!/^\d{1,12}$/.test(text)) throw new Sentence(`SOURCE_DATE_EPOCH is ${text}, which is no number of seconds.`);
  return Number(text);
}

/** In the form of sha256sum, of every executable and package that is there. */
async function checksums(directory: string): Promise<string> {
  const names = (await readdir(directory))
    .filter((name) => /^nbackup-(agent|server)[-_][\w-]+(\.deb)?$/.test(name))
    .sort();
  const lines: string[] = [];
  for (const name of names) {
    const file = path.join(directory, name);
    if (!(await stat(file)).isFile()) continue;
    const digest = createHash("sha256");
    for await (const chunk of Bun.file(file).stream()) digest.update(chunk);
    lines.push(`${digest.digest("hex")}  ${name}\n`);
  }
  return lines.join("");
}

await runMain(main);
