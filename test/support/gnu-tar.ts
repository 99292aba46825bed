/** GNU tar as the judge of archives: it lists, restores and compares them, and its complaints count. */
import { mkdirSync } from "node:fs";
import { mustRun, run } from "#scripts/lib/run.ts";

/** UTC and C, so that nothing of this machine's settings is in the output. */
const ENV = { LC_ALL: "C", TZ: "UTC" };

/** How many members `tar tf` lists; odd names are quoted, so that each has one line. */
export async function memberCount(archive: string): Promise<number> {
  return (await mustRun(["tar", "tf", archive], { env: ENV })).trimEnd().split("\n").length;
}

/** All that an archive of ours holds: without these options GNU tar leaves the attributes out. */
const WHOLE = ["--xattrs", "--xattrs-include=*", "--acls"];

/** Restores as root would, with owners, modes and attributes. What tar prints is an error. */
export async function restore(archive: string, into: string): Promise<void> {
  mkdirSync(into, { recursive: true });
  // Files of the future and of 1938 are in the tree on purpose.
  await quietly(["tar", "--warning=no-timestamp", ...WHOLE, "-xpf", archive, "-C", into]);
}

/** `tar --compare` with the files it came from. */
export async function compareWithSource(archive: string): Promise<void> {
  await quietly(["tar", "--compare", "-f", archive, "-C", "/"]);
}

/** `sha256sum -c` with the file that lies beside the archive, as a user would call it. */
export async function checkSum(archive: string): Promise<void> {
  const directory = archive.slice(0, archive.lastIndexOf("/"));
  await mustRun(["sha256sum", "--check", "--strict", "--quiet", `${archive}.sha256`], { cwd: directory });
}

async function quietly(command: readonly string[]): Promise<void> {
  const { exitCode, stdout, stderr } = await run(command, { env: ENV });
  if (exitCode !== 0 || stdout !== "" || stderr !== "") {
    throw new Error(`${command.join(" ")} ended with ${exitCode}: ${stdout.slice(0, 4000)}${stderr.slice(0, 4000)}`);
  }
}
