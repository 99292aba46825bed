/** What dpkg reads of a package: the control file, sums, conffiles, maintainer scripts. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { Architecture, Program } from "#scripts/lib/executables.ts";
import { inProject } from "#scripts/lib/project.ts";
import type { Compression } from "./compress.ts";
import { installedKib, type PackageFile } from "./tree.ts";

export interface PackageOptions {
  readonly program: Program;
  readonly architecture: Architecture;
  readonly version: string;
  /** The time of everything in it. */
  readonly epochSeconds: number;
  readonly executable: Uint8Array;
  readonly compression: Compression;
}

/** A name and an address; nobody has one yet. */
export const MAINTAINER = "nbackup maintainers <maintainers@nbackup.invalid>";

/** glibc 2.28 has statx and renameat2. */
const LIBC = "libc6 (>= 2.28)";

const FIELDS = {
  agent: {
    depends: LIBC,
    summary: "streams backups of this machine to a backup server",
    description: [
      "Walks directories and streams them, as tar compressed on all processors, to",
      "an nbackup-server over TLS with certificates on both sides. Nothing is",
      "written to the disk of this machine; a connection that breaks does not end a",
      "backup. Lists, searches and restores its archives over the network.",
    ],
  },
  server: {
    depends: `${LIBC}, passwd`,
    summary: "receives backups from agents and keeps the newest of them",
    description: [
      "Receives backups from nbackup-agents over TLS with certificates on both",
      "sides, proves them by SHA-256 before they appear, and keeps the newest of",
      "each as ordinary .tar.gz or .tar.zst files. Lists, searches, restores and",
      "verifies them.",
    ],
  },
} as const;

export async function controlFiles(
  options: PackageOptions,
  files: readonly PackageFile[],
): Promise<readonly PackageFile[]> {
  const conffiles = files.filter(({ path }) => path.startsWith("/etc/")).map(({ path }) => path);
  return [
    plain("control", controlFile(options, files)),
    plain("md5sums", sums(files.filter(({ path }) => !conffiles.includes(path)))),
    plain("conffiles", lines(conffiles)),
    ...(await maintainerScripts(options.program)),
  ];
}

function controlFile({ program, architecture, version }: PackageOptions, files: readonly PackageFile[]): string {
  const { depends, summary, description } = FIELDS[program];
  return lines([
    `Package: nbackup-${program}`,
    `Version: ${version}`,
    `Architecture: ${architecture}`,
    `Maintainer: ${MAINTAINER}`,
    `Installed-Size: ${installedKib(files)}`,
    `Depends: ${depends}`,
    "Section: admin",
    "Priority: optional",
    `Description: ${summary}`,
    ...description.map((line) => ` ${line}`),
  ]);
}

/** dpkg --verify compares with them. */
function sums(files: readonly PackageFile[]): string {
  const sorted = files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return lines(sorted.map(({ path, bytes }) => `${createHash("md5").update(bytes).digest("hex")}  ${path.slice(1)}`));
}

function plain(name: string, text: string): PackageFile {
  return { path: `/${name}`, mode: 0o644, bytes: Buffer.from(text) };
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join("");
}

/** A file of the packages that is not made. */
export function debFile(name: string): string {
  return inProject("scripts", "deb", "files", name);
}

async function maintainerScripts(program: Program): Promise<readonly PackageFile[]> {
  const names = await readdir(debFile(""));
  const scripts = names.filter((name) => name.startsWith(`nbackup-${program}.`) && SCRIPT.test(name));
  return await Promise.all(
    scripts.map(async (name) => ({
      ...{ path: `/${path.extname(name).slice(1)}`, mode: 0o755 },
      bytes: await readFile(debFile(name)),
    })),
  );
}

const SCRIPT = /\.(preinst|postinst|prerm|postrm)$/;
