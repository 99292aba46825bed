/** Programs of Debian that tests and benchmark need and the product does not: said by name, installed where allowed. */
import { run, runVisibly, Sentence } from "./run.ts";

export interface DebianPackage {
  readonly name: string;
  /** A file that is there when the package is: a program on PATH, or an absolute path. */
  readonly proof: string;
}

/** What the tests call: other readers of our archives and certificates, judges of the packages, the page and the metrics, and the processors we do not have. */
export const TEST_PACKAGES: readonly DebianPackage[] = [
  { name: "tar", proof: "tar" },
  { name: "zstd", proof: "zstd" },
  { name: "openssl", proof: "openssl" },
  { name: "libarchive-tools", proof: "bsdtar" },
  { name: "busybox", proof: "busybox" },
  { name: "attr", proof: "getfattr" },
  { name: "acl", proof: "getfacl" },
  { name: "xz-utils", proof: "xz" },
  { name: "lintian", proof: "lintian" },
  { name: "iproute2", proof: "ip" },
  { name: "mandoc", proof: "mandoc" },
  { name: "zsh", proof: "zsh" },
  { name: "fish", proof: "fish" },
  { name: "debootstrap", proof: "debootstrap" },
  { name: "systemd-container", proof: "systemd-nspawn" },
  // Drives the page; a font comes with it, by fontconfig.
  { name: "chromium", proof: "chromium" },
  // What the manual's examples of the page's API are typed with.
  { name: "curl", proof: "curl" },
  { name: "jq", proof: "jq" },
  // Only promtool is called, which is in no package of its own. The daemon beside it listens on 9090, outside the ports that tests get.
  { name: "prometheus", proof: "promtool" },
  ...(process.arch === "x64"
    ? [
        { name: "qemu-user-static", proof: "qemu-aarch64-static" },
        { name: "libc6-arm64-cross", proof: "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1" },
      ]
    : []),
];

/** What the benchmark compares nbackup with. */
export const BENCH_PACKAGES: readonly DebianPackage[] = [
  { name: "tar", proof: "tar" },
  { name: "pigz", proof: "pigz" },
  { name: "zstd", proof: "zstd" },
  { name: "socat", proof: "socat" },
  { name: "openssl", proof: "openssl" },
  { name: "restic", proof: "restic" },
  { name: "borgbackup", proof: "borg" },
  { name: "time", proof: "time" },
  { name: "eatmydata", proof: "eatmydata" },
  { name: "strace", proof: "strace" },
];

async function isThere(item: DebianPackage): Promise<boolean> {
  if (item.proof.startsWith("/")) return await Bun.file(item.proof).exists();
  return Bun.which(item.proof) !== null;
}

/** The packages of the list whose proof is absent. */
async function missingPackages(wanted: readonly DebianPackage[]): Promise<readonly string[]> {
  const there = await Promise.all(wanted.map(isThere));
  return wanted.filter((_, index) => there[index] === false).map((item) => item.name);
}

/** Installs what is missing when this is root on a Debian; otherwise says in one sentence what to install. */
export async function ensurePackages(wanted: readonly DebianPackage[]): Promise<void> {
  const missing = await missingPackages(wanted);
  if (missing.length === 0) return;
  const list = missing.join(" ");
  if (process.getuid?.() !== 0 || Bun.which("apt-get") === null) {
    throw new Sentence(
      `These Debian packages are needed: ${list}. Install them, for instance by: sudo apt-get install ${list}`,
    );
  }
  console.log(`Installing Debian packages: ${list} …`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", ...missing];
  if ((await run(install, { env })).exitCode === 0) return;
  // Most often the package lists are old or absent.
  await runVisibly(["apt-get", "update", "-q"], { env });
  const result = await run(install, { env });
  if (result.exitCode === 0) return;
  const reason = result.stderr.trim().split("\n").slice(-3).join(" ");
  throw new Sentence(`apt-get could not install ${list}: ${reason}`);
}
