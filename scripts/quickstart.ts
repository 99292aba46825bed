/**
 * `npm run quickstart [-- DIR]`: the whole of nbackup once, on this machine, in the ignored folder quickstart/: builds
 * the programs, makes certificates, serves, backs DIR up, lists and restores the archive with GNU tar, and compares what
 * came back with the source. Leaves the files for a look, and no process.
 */
import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { type Background, freePort, startServer } from "./lib/background.ts";
import { type Comparison, compareTrees } from "./lib/compare-trees.ts";
import { type Demo, prepareDemo } from "./lib/demo.ts";
import { build, nativeArchitecture } from "./lib/executables.ts";
import { inProject, ROOT, VERSION } from "./lib/project.ts";
import { run, runMain, runVisibly, Sentence } from "./lib/run.ts";

const LISTED_LINES = 8;
const DIFFERENCES_SHOWN = 20;
/** What lies in the project only because scripts made it; quickstart/ itself changes while it is read. */
const MADE_BY_SCRIPTS = ["quickstart", "dist", "bench-data", "test-results", ".bun"];

const started = performance.now();
const interrupt = new AbortController();

function say(text: string): void {
  console.log(`\n[${((performance.now() - started) / 1000).toFixed(1)} s] ${text}`);
}

function below(file: string, directory: string): boolean {
  return file === directory || file.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/** The absolute path of DIR, as typed where npm was called; without one this project. */
async function sourceFromArguments(): Promise<string> {
  const [argument, ...more] = process.argv.slice(2);
  if (more.length > 0) throw new Sentence("Usage: npm run quickstart [-- DIR]");
  const source = argument === undefined ? ROOT : path.resolve(process.env["INIT_CWD"] ?? process.cwd(), argument);
  const found = await stat(source).catch(() => undefined);
  if (found === undefined) throw new Sentence(`${source} does not exist: name a directory to back up.`);
  if (below(source, inProject("quickstart"))) throw new Sentence(`${source} is where the quickstart itself works.`);
  return source;
}

async function requireGnuTar(): Promise<void> {
  const version = Bun.which("tar") === null ? "" : (await run(["tar", "--version"])).stdout;
  if (!version.includes("GNU tar"))
    throw new Sentence("GNU tar is needed to list and restore the archive: install tar.");
}

async function backUp(agent: string, demo: Demo): Promise<void> {
  const command = [agent, "--config", demo.agentConfig, "--once", "--progress"];
  const exitCode = await runVisibly(command, { signal: interrupt.signal });
  interrupt.signal.throwIfAborted();
  // 3: done, but some files could not be read; they were named above.
  if (exitCode !== 0 && exitCode !== 3) throw new Sentence(`The backup failed with exit code ${exitCode}.`);
}

async function newestArchive(demo: Demo): Promise<string> {
  const names = (await readdir(demo.archives)).filter((name) => /\.tar\.(gz|zst)$/.test(name)).sort();
  const newest = names.at(-1);
  if (newest === undefined) throw new Sentence(`There is no archive in ${demo.archives}.`);
  return path.join(demo.archives, newest);
}

async function checkSum(archive: string): Promise<void> {
  const written = (await Bun.file(`${archive}.sha256`).text()).split(/\s/)[0];
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const piece of Bun.file(archive).stream()) hasher.update(piece);
  if (hasher.digest("hex") !== written)
    throw new Sentence(`${archive} does not have the SHA-256 that stands beside it.`);
}

async function tar(args: readonly string[]): Promise<string> {
  const result = await run(["tar", ...args], { signal: interrupt.signal });
  interrupt.signal.throwIfAborted();
  if (result.exitCode !== 0)
    throw new Sentence(`tar ${args.join(" ")} ended with ${result.exitCode}:\n${result.stderr.trim()}`);
  if (result.stderr !== "") console.log(result.stderr.trim());
  return result.stdout;
}

async function list(archive: string): Promise<void> {
  const lines = (await tar(["tzf", archive])).trimEnd().split("\n");
  for (const line of lines.slice(0, LISTED_LINES)) console.log(`    ${line}`);
  console.log(`    … ${lines.length} entries in all`);
}

/** Prints what differs. What changed in the source after the backup began is no fault of the backup. */
function judge(found: Comparison, backupStartedMs: number): number {
  const touched = found.differences.filter((item) => (item.sourceChangedMs ?? Date.now()) >= backupStartedMs);
  const wrong = found.differences.filter((item) => !touched.includes(item));
  for (const item of wrong.slice(0, DIFFERENCES_SHOWN)) console.log(`    ${item.path}: ${item.what}`);
  if (wrong.length > DIFFERENCES_SHOWN) console.log(`    … and ${wrong.length - DIFFERENCES_SHOWN} more`);
  if (touched.length > 0)
    console.log(`    ${touched.length} entries changed in the source meanwhile and were not judged`);
  if (found.sockets > 0) console.log(`    ${found.sockets} sockets are not backed up, as with tar`);
  const size = (found.bytes / 2 ** 20).toFixed(0);
  console.log(`    ${found.entries} entries and ${size} MB of contents compared: ${wrong.length} differences`);
  return wrong.length;
}

async function backUpAndRestore(
  source: string,
  exclude: readonly string[],
  demo: Demo,
  agent: string,
): Promise<number> {
  const backupStartedMs = Date.now();
  say(`Backing up ${source}:`);
  await backUp(agent, demo);

  const archive = await newestArchive(demo);
  await checkSum(archive);
  say(`The archive, its SHA-256 checked, listed by GNU tar (tar tzf):`);
  await list(archive);

  say(`Restoring with GNU tar (tar xzpf) and comparing names, types, modes, times to the nanosecond, links and bytes:`);
  await tar(["xzpf", archive, "-C", demo.restored]);
  const owners = process.getuid?.() === 0;
  const options = { skip: exclude, owners, signal: interrupt.signal };
  const found = await compareTrees(source, path.join(demo.restored, source), options);
  const wrong = judge(found, backupStartedMs);
  if (wrong === 0) tellWhere(source, archive, demo);
  return wrong === 0 ? 0 : 1;
}

function tellWhere(source: string, archive: string, demo: Demo): void {
  say(
    `Done: ${source} was backed up and restored without a difference. Everything lies in ${path.relative(ROOT, demo.directory)}/:`,
  );
  const show = (what: string, file: string): void => console.log(`    ${what.padEnd(14)}${path.relative(ROOT, file)}`);
  show("archive", archive);
  show("restored tree", demo.restored);
  show("certificates", path.join(demo.directory, "pki"));
  show("configuration", demo.agentConfig);
  show("", demo.serverConfig);
  show("server's log", demo.serverLog);
  console.log(
    "    The server was stopped. Run this again as often as you like, or with your own directory: npm run quickstart -- DIR",
  );
}

async function quickstart(): Promise<number> {
  const source = await sourceFromArguments();
  await requireGnuTar();
  say(`Building nbackup ${VERSION} …`);
  const agent = await build("agent", nativeArchitecture());
  const serverExecutable = await build("server", nativeArchitecture());
  interrupt.signal.throwIfAborted();

  say("Making a demo CA, certificates and configuration in quickstart/ …");
  const exclude = MADE_BY_SCRIPTS.map((name) => inProject(name)).filter(
    (file) => below(file, source) && file !== source,
  );
  const port = freePort();
  const demo = await prepareDemo({ directory: inProject("quickstart"), serverExecutable, port, source, exclude });

  say(`Starting the server on 127.0.0.1:${port} …`);
  let server: Background | undefined;
  try {
    server = await startServer([serverExecutable, "--config", demo.serverConfig], port, demo.serverLog);
    interrupt.signal.throwIfAborted();
    return await backUpAndRestore(source, exclude, demo, agent);
  } finally {
    await server?.stop();
  }
}

/** The first signal ends whatever runs and then this, by way of the `finally` above; more of them change nothing. */
function main(): Promise<number> {
  let exitCode = 1;
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.on(signal, () => {
      exitCode = code;
      interrupt.abort(new Sentence("Interrupted; everything that was started is stopped."));
    });
  }
  return quickstart().catch((error: unknown) => {
    if (!interrupt.signal.aborted) throw error;
    console.error("Interrupted; everything that was started is stopped.");
    return exitCode;
  });
}

await runMain(main);
