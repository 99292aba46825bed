/** Debian packages for tests: the programs as they are, under any version, compressed little or not at all. */
import { readFileSync, writeFileSync } from "node:fs";
import { type Compression, UNCOMPRESSED } from "#scripts/deb/compress.ts";
import { debianPackage } from "#scripts/deb/package.ts";
import { type Architecture, nativeArchitecture, type Program } from "#scripts/lib/executables.ts";
import { VERSION } from "#scripts/lib/project.ts";
import { upToDate } from "#test/support/executables.ts";

/** Lower and higher than any that will be. */
export const LOWER = "0.0.1";
export const HIGHER = "99.0.0";

const EPOCH_SECONDS = 1_700_000_000;

export interface TestPackage {
  readonly version?: string;
  readonly architecture?: Architecture;
  readonly compression?: Compression;
  /** Instead of the program. */
  readonly executable?: Uint8Array;
}

export async function packageBytes(program: Program, wanted: TestPackage = {}): Promise<Uint8Array> {
  const architecture = wanted.architecture ?? nativeArchitecture();
  return await debianPackage({
    ...{ program, architecture, version: wanted.version ?? VERSION, epochSeconds: EPOCH_SECONDS },
    executable: wanted.executable ?? readFileSync(await upToDate(program, architecture)),
    compression: wanted.compression ?? UNCOMPRESSED,
  });
}

export async function writePackage(file: string, program: Program, wanted: TestPackage = {}): Promise<void> {
  writeFileSync(file, await packageBytes(program, wanted));
}
