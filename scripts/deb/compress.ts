/**
 * Compression of a package's members by the `xz` program: measured the smallest (docs/packages.md), and every dpkg reads it. One thread, so
 * that the bytes do not depend on the machine.
 */
import { Sentence } from "#scripts/lib/run.ts";

export interface Compression {
  /** Of the members' names. */
  readonly suffix: ".xz" | "";
  /** As xz has it: 0 to 9, with `e` behind for the slowest; undefined for none. */
  readonly preset: string | undefined;
}

/** 64 MiB of memory where it is unpacked. */
export const SMALLEST: Compression = { suffix: ".xz", preset: "9e" };

/** For tests: seconds instead of minutes. */
export const QUICKEST: Compression = { suffix: ".xz", preset: "0" };

/** Also for tests: dpkg takes such a package, lintian does not. */
export const UNCOMPRESSED: Compression = { suffix: "", preset: undefined };

export async function compress(bytes: Uint8Array, { preset }: Compression): Promise<Uint8Array> {
  if (preset === undefined) return bytes;
  if (Bun.which("xz") === null) throw new Sentence("Packages are compressed with xz: install xz-utils.");
  const child = Bun.spawn(["xz", "--format=xz", "--check=crc64", "--threads=1", `-${preset}`, "--stdout"], {
    env: { PATH: process.env["PATH"] },
    stdin: bytes,
    stdout: "pipe",
    stderr: "inherit",
  });
  const compressed = await child.stdout.bytes();
  if ((await child.exited) !== 0) throw new Sentence("xz failed.");
  return compressed;
}
