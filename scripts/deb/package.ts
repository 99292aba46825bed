/**
 * A Debian package of one program, in memory: what is in it and where. The same inputs give the same bytes. Nothing of Debian is needed to make
 * it; how it is compressed is compress.ts.
 */
import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { AGENT_PROGRAM } from "#cli/agent-command.ts";
import { completionScript } from "#cli/completion-command.ts";
import type { ProgramSpec } from "#cli/program.ts";
import { SERVER_PROGRAM } from "#cli/server-command.ts";
import { HELP_TOPICS, helpText } from "#pki-tools/help.ts";
import type { Program } from "#scripts/lib/executables.ts";
import { inProject } from "#scripts/lib/project.ts";
import { arArchive } from "./ar.ts";
import { debianChangelog } from "./changelog.ts";
import { compress } from "./compress.ts";
import { controlFiles, debFile, MAINTAINER, type PackageOptions } from "./control.ts";
import { copyrightFile } from "./copyright.ts";
import { BUN_PARTS, bundledPackages } from "./licences.ts";
import { MAN_SECTION, manPage } from "./man-page.ts";
import { AGENT_MANUAL, type Manual, SERVER_MANUAL } from "./manual.ts";
import { type PackageFile, tarOf } from "./tree.ts";

const PROGRAMS: Readonly<
  Record<Program, { readonly spec: ProgramSpec; readonly manual: Manual; readonly passedThrough: readonly string[] }>
> = {
  agent: { spec: AGENT_PROGRAM, manual: AGENT_MANUAL, passedThrough: [] },
  server: { spec: SERVER_PROGRAM, manual: SERVER_MANUAL, passedThrough: HELP_TOPICS.map(helpText) },
};

/** The pages for administrators; those about how nbackup is made stay with its sources. */
const DOCS = [
  ...[
    "README",
    "getting-started",
    "configuration",
    "certificates",
    "packages",
    "migration",
    "restore",
    "troubleshooting",
  ],
  ...["operations", "agent", "monitoring", "web-ui", "web-api", "security-model"],
].map((page) => `${page}.md`);

export async function debianPackage(options: PackageOptions): Promise<Uint8Array> {
  const { epochSeconds, compression } = options;
  const files = await packageFiles(options);
  const control = await controlFiles(options, files);
  const [controlTar, dataTar] = [await tarOf(control, epochSeconds), await tarOf(files, epochSeconds)];
  return arArchive(
    [
      { name: "debian-binary", bytes: Buffer.from("2.0\n") },
      { name: `control.tar${compression.suffix}`, bytes: await compress(controlTar, compression) },
      { name: `data.tar${compression.suffix}`, bytes: await compress(dataTar, compression) },
    ],
    epochSeconds,
  );
}

/** What dpkg installs. */
async function packageFiles(options: PackageOptions): Promise<readonly PackageFile[]> {
  const { program, version, epochSeconds, executable } = options;
  const name = `nbackup-${program}`;
  const { spec, manual, passedThrough } = PROGRAMS[program];
  const date = new Date(epochSeconds * 1000).toISOString().slice(0, 10);
  const page = manPage({ program: spec, manual, version, date, passedThrough });
  const changelog = debianChangelog(await readFile(inProject("CHANGELOG.md"), "utf8"), {
    ...{ packageName: name, version, maintainer: MAINTAINER, epochSeconds },
  });
  const doc = `/usr/share/doc/${name}`;
  return [
    { path: `/usr/bin/${name}`, mode: 0o755, bytes: executable },
    await copied(
      `/etc/nbackup/${program}.yaml.example`,
      inProject("src", "config", "examples", `${program}.yaml.example`),
    ),
    await copied(`/usr/lib/systemd/system/${name}.service`, debFile(`${name}.service`)),
    ...(program === "server" ? [await copied(`/usr/lib/sysusers.d/${name}.conf`, debFile(`${name}.sysusers`))] : []),
    text(`/usr/share/bash-completion/completions/${name}`, completionScript(spec, "bash")),
    text(`/usr/share/zsh/vendor-completions/_${name}`, completionScript(spec, "zsh")),
    text(`/usr/share/fish/vendor_completions.d/${name}.fish`, completionScript(spec, "fish")),
    zipped(`/usr/share/man/man${MAN_SECTION}/${name}.${MAN_SECTION}.gz`, page),
    text(`${doc}/copyright`, copyrightFile([...bundledPackages(), ...BUN_PARTS])),
    zipped(`${doc}/changelog.gz`, changelog),
    ...(await Promise.all(DOCS.map((file) => copied(`${doc}/${file}`, inProject("docs", file))))),
    await copied(`/usr/share/lintian/overrides/${name}`, debFile(`${name}.lintian-overrides`)),
  ];
}

async function copied(target: string, source: string): Promise<PackageFile> {
  return { path: target, mode: 0o644, bytes: await readFile(source) };
}

function text(target: string, content: string): PackageFile {
  return { path: target, mode: 0o644, bytes: Buffer.from(content) };
}

/** Without name and time in it, as gzip -n has it. */
function zipped(target: string, content: string): PackageFile {
  return { path: target, mode: 0o644, bytes: gzipSync(content, { level: 9 }) };
}
