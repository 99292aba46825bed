/**
 * Brings a fresh checkout to where Bun can take over. Run by plain Node 20 and npm, so it uses nothing but Node's own
 * modules: it finds or fetches the Bun that package.json pins, installs the locked dependencies, and hands over to
 * scripts/quickstart.ts or scripts/test.ts. It neither builds nor tests anything itself.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const TASKS = { quickstart: "scripts/quickstart.ts", test: "scripts/test.ts" };
const NODE_MAJOR_MIN = 20;
const PARENT_WATCH_MS = 500;
const OFFLINE = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH)\b/;

/** An error whose message is all a person needs to see. */
class Sentence extends Error {}

/** The task's script, after the checks that need no network. */
function taskScript() {
  const script = TASKS[process.argv[2]];
  if (script === undefined) throw new Sentence(`Usage: node scripts/bootstrap.mjs ${Object.keys(TASKS).join("|")}`);
  const nodeMajor = Number(process.versions.node.split(".")[0]);
  if (nodeMajor < NODE_MAJOR_MIN) {
    throw new Sentence(`Node ${NODE_MAJOR_MIN} or newer is needed; this is Node ${process.versions.node}.`);
  }
  return script;
}

/** The exact version in package.json's `packageManager`, the only place that names it. */
function pinnedVersion() {
  const { packageManager } = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8"));
  const match = /^bun@(\d+\.\d+\.\d+)$/.exec(packageManager ?? "");
  if (match === null) throw new Sentence('package.json must pin Bun exactly, as in "packageManager": "bun@1.2.3".');
  return match[1];
}

/** The npm packages that hold Bun's executable for this machine, the best first. */
function platformPackages() {
  const glibc = process.report.getReport().header.glibcVersionRuntime;
  if (process.platform !== "linux" || glibc === undefined) {
    throw new Sentence(`nbackup is built and run on Linux with glibc; this is ${process.platform} without it.`);
  }
  if (process.arch === "arm64") return ["@oven/bun-linux-aarch64"];
  if (process.arch !== "x64") throw new Sentence(`nbackup is built on x64 and arm64; this is ${process.arch}.`);
  const avx2 = /\bavx2\b/.test(readFileSync("/proc/cpuinfo", "utf8"));
  return avx2 ? ["@oven/bun-linux-x64", "@oven/bun-linux-x64-baseline"] : ["@oven/bun-linux-x64-baseline"];
}

/** What `executable --version` prints, or undefined when it does not run. */
function versionOf(executable) {
  const { status, stdout } = spawnSync(executable, ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

/** npm as it was called, or the one on PATH. */
function npmCommand() {
  const script = process.env.npm_execpath ?? "";
  return script.endsWith("npm-cli.js") ? [process.execPath, script] : ["npm"];
}

/** Installs one npm package into `directory`, without running any script of it. */
function npmInstall(directory, spec) {
  writeFileSync(path.join(directory, "package.json"), '{"private":true}\n');
  const [command, ...first] = npmCommand();
  const flags = ["--no-save", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"];
  const { status, stderr, error } = spawnSync(command, [...first, "install", "--prefix", directory, ...flags, spec], {
    cwd: directory,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
  });
  if (error !== undefined) throw new Sentence(`npm could not be started: ${error.message}.`);
  if (status === 0) return;
  if (OFFLINE.test(stderr)) {
    throw new Sentence(`The npm registry cannot be reached to fetch ${spec}: check the network or the proxy settings.`);
  }
  const reason = stderr.split("\n").find((line) => /^npm (error|ERR!) (?!code\b)/.test(line)) ?? `status ${status}`;
  throw new Sentence(`npm could not install ${spec}: ${reason.replace(/^npm (error|ERR!) (notarget )?/, "")}`);
}

/**
 * Fetches Bun into .bun/<version>/bun. The package of the platform is asked for directly: the package "bun" only puts
 * it in place by an install script, which npm 11 may skip.
 */
function fetchBun(version) {
  const packages = platformPackages();
  console.log(`Fetching Bun ${version} into .bun/ …`);
  mkdirSync(path.join(ROOT, ".bun"), { recursive: true });
  const work = mkdtempSync(path.join(ROOT, ".bun", "fetch-"));
  try {
    for (const name of packages) {
      npmInstall(work, `${name}@${version}`);
      const fetched = path.join(work, "node_modules", name, "bin", "bun");
      if (!existsSync(fetched)) continue;
      chmodSync(fetched, 0o755);
      if (versionOf(fetched) !== version) continue;
      // The rename is last, so an interrupted or a second bootstrap never leaves half a Bun behind.
      mkdirSync(path.dirname(localBun(version)), { recursive: true });
      renameSync(fetched, localBun(version));
      return localBun(version);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  throw new Sentence(`Bun ${version} does not run on this machine (${packages.join(", ")} were tried).`);
}

function localBun(version) {
  return path.join(ROOT, ".bun", version, "bun");
}

/** A Bun of exactly this version: one fetched earlier, the one on PATH, or a fresh one. */
function ensureBun(version) {
  if (versionOf(localBun(version)) === version) return localBun(version);
  if (versionOf("bun") === version) return "bun";
  return fetchBun(version);
}

/**
 * Runs a program on this terminal and resolves with its exit code (128 + number for a signal). Signals sent to this
 * process go on to it, so that whoever stops npm stops everything.
 */
function runToEnd(command, args) {
  const env = { ...process.env };
  if (path.isAbsolute(command)) env.PATH = `${path.dirname(command)}${path.delimiter}${env.PATH ?? ""}`;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, env, stdio: "inherit" });
    const forward = (signal) => child.kill(signal);
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, forward);
    // npm passes on SIGINT and SIGTERM only, and nothing when it is killed: then its disappearance is the signal.
    const parent = process.ppid;
    const watch = setInterval(() => process.ppid !== parent && child.kill("SIGTERM"), PARENT_WATCH_MS);
    if (process.env.npm_lifecycle_event === undefined) clearInterval(watch);
    const done = () => {
      clearInterval(watch);
      for (const signal of signals) process.off(signal, forward);
    };
    child.on("error", (error) => {
      done();
      reject(new Sentence(`${command} could not be started: ${error.message}.`));
    });
    child.on("close", (code, signal) => {
      done();
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

async function main() {
  const script = taskScript();
  const bun = ensureBun(pinnedVersion());
  const installed = await runToEnd(bun, ["install", "--frozen-lockfile"]);
  if (installed !== 0) {
    throw new Sentence(
      `The locked dependencies could not be installed (bun install ended with ${installed}): check the network and the lines above.`,
    );
  }
  return await runToEnd(bun, [script, ...process.argv.slice(3)]);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Sentence)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
