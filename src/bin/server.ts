/** nbackup-server: arguments, configuration, certificates, signals, the exit status. What runs is server-daemon.ts. */
import path from "node:path";
import { sleep } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import { namesText } from "#cli/completion-command.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { failureText, warningsText } from "#cli/failure-text.ts";
import type { ArchivePlace } from "#cli/archive-arguments.ts";
import type { SetupRequest } from "#cli/setup-command.ts";
import { parseServerCommand } from "#cli/server-command.ts";
import { DEFAULT_SERVER_CONFIG_FILE } from "#config/defaults.ts";
import { linuxConfigDisk } from "#config/disk.ts";
import { type Loaded, loadServerConfig } from "#config/load.ts";
import type { ServerConfig } from "#config/types.ts";
import { LinuxDisk } from "#store/linux-disk.ts";
import { setFileThreads } from "#store/linux-libc.ts";
import pkg from "#package.json" with { type: "json" };
import { checkAuthorityFiles } from "#pki/authority.ts";
import { type Identity, keyWarnings, loadIdentity } from "#pki/identity.ts";
import { readRevocations, revocationsPath, type RevokedAgents } from "#pki/revocations.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import type { EnrollTokenCommand } from "#pki-tools/command-line.ts";
import { type EnrollTokenAnswer, runPki } from "#pki-tools/pki.ts";
import type { EnrollRequest } from "#server/enroll-admin.ts";
import type { EnrollTokenView } from "#server/enrollment.ts";
import { askControl } from "./control.ts";
import { checkConfig } from "./check-config.ts";
import { type ArchivePrograms, inContext, runArchives } from "./archive-commands.ts";
import { serverArchives } from "./server-archives.ts";
import { outliveStandardError, PlainOutput } from "./plain-output.ts";
import { pkiServer } from "./pki-server.ts";
import { runScrub } from "./scrub.ts";
import { runServerCommand } from "./server-commands.ts";
import { runServerDaemon } from "./server-service.ts";
import { runSetup } from "./setup.ts";
import { Terminal } from "./setup-questions.ts";
import { machineOf } from "./setup-system.ts";
import { systemClock, systemRandom } from "./system.ts";
import { runWebPassword } from "./web-password.ts";

const output = new PlainOutput();
const stdout = (text: string): void => output.write(text);
const stderr = (text: string): void => void process.stderr.write(text);

// A compiled executable finds its workers only when they are constructed here, in the entry file.
const spawn: SpawnRestoreThread = (kind) => {
  const url =
    kind === "tar" ? new URL("./tar-worker.ts", import.meta.url) : new URL("./inflate-worker.ts", import.meta.url);
  return new Worker(url.href, { smol: true });
};

/** The same of the daemon's own verifications, which are not to be felt. */
const spawnBackground: SpawnRestoreThread = (kind) => {
  const url =
    kind === "tar"
      ? new URL("./background-tar-worker.ts", import.meta.url)
      : new URL("./background-inflate-worker.ts", import.meta.url);
  return new Worker(url.href, { smol: true });
};

/** As above. */
const diskRuntime = {
  privileged: process.getuid?.() === 0,
  spawnThread: () => new Worker(new URL("./disk-worker.ts", import.meta.url).href, { smol: true }),
};

/** After a stop: how long a call into a disk that hangs may keep the process. */
const LINGER_MS = 3000;

setFileThreads();
outliveStandardError();
process.exitCode = output.exitCode(await main(process.argv.slice(2)), stderr);

async function main(argv: readonly string[]): Promise<number> {
  try {
    const command = parseServerCommand(argv, pkg.version);
    switch (command.command) {
      case "print":
        stdout(command.text);
        return EXIT.done;
      case "names":
        stdout(namesText(load(command.configFile).config.storages.map(({ name }) => name)));
        return EXIT.done;
      case "pki":
        return await runPki(command.args, {
          ...{ stdout, stderr, clock: systemClock, random: systemRandom, enrollToken },
          server: (file) => pkiServer(file, (name) => load(name).config, new LinuxDisk(diskRuntime)),
          sleep: (ms) => sleep(systemClock, ms),
        });
      case "check-config":
        return checkConfig(command.configFile, command.json, {
          ...{ stdout, stderr },
          load: () => load(command.configFile),
          identity: (config) => {
            revokedOf(config);
            const identity = identityOf(config);
            return { ...identity, warnings: [...identity.warnings, ...authorityWarnings(config)] };
          },
        });
      case "setup":
        return await setup(command.request);
      case "archives":
        return await runArchives(command.request, archivesOf(command.place));
      case "scrub":
        return await inContext(archivesOf(command.request.place), (context) =>
          runScrub(command.request, { ...context, disk: new LinuxDisk(diskRuntime), load: storageConfig }),
        );
      case "web-password":
        return await runWebPassword(command.output, { stdout, stderr });
      case "serve":
        return await serve(command.configFile);
      default:
        return await runServerCommand(command, load(command.configFile).config, {
          ...{ stdout, stderr, ...diskRuntime },
        });
    }
  } catch (error) {
    stderr(failureText(error));
    return toFailure(error).exitCode;
  }
}

function archivesOf(place: ArchivePlace): ArchivePrograms {
  const disk = new LinuxDisk(diskRuntime);
  return { side: "server", spawn, ...serverArchives(place, { disk, load: storageConfig, stderr }) };
}

/** Without a configuration the archives are there all the same. */
function storageConfig(file: string): ServerConfig {
  try {
    const { config, warnings } = load(file);
    stderr(warningsText(warnings));
    return config;
  } catch (error) {
    throw withoutConfig(toFailure(error));
  }
}

function withoutConfig(failure: Failure): Failure {
  if (failure.code !== "E_CONFIG_READ") return failure;
  const hint = "Name the configuration file with --config, or without one a storage's directory with --storage-dir.";
  return new Failure(failure.code, failure.message, { hint, cause: failure });
}

async function setup(request: SetupRequest): Promise<number> {
  const isService = path.resolve(request.configFile) === DEFAULT_SERVER_CONFIG_FILE;
  const terminal = request.yes ? undefined : new Terminal(stderr);
  try {
    return await runSetup({
      ...{ request, machine: machineOf(isService), ask: terminal?.ask, stdout, stderr },
      load: (file) => load(file).config,
      check: identityOf,
    });
  } finally {
    terminal?.close();
  }
}

/** The token is the running server's to make: it keeps the hash, and opens the port. */
async function enrollToken({ agent, replace, configFile }: EnrollTokenCommand): Promise<EnrollTokenAnswer> {
  const { stateDir } = load(configFile ?? DEFAULT_SERVER_CONFIG_FILE).config.server;
  const question: EnrollRequest = { command: "enroll-token", agent, replace };
  // Both sides are of the same version (control.ts): the answer is what the server's type says.
  return (await askControl("nbackup-server", stateDir, question)) as EnrollTokenView;
}

function load(file: string): Loaded<ServerConfig> {
  return loadServerConfig(file, { disk: linuxConfigDisk, env: process.env, workingDir: process.cwd() });
}

function identityOf(config: ServerConfig): Identity {
  const { caCertFile: caPath, serverCertFile: certPath, serverKeyFile: keyPath } = config.tls;
  return loadIdentity({ caPath, certPath, keyPath, role: "server", nowMs: systemClock.wall() });
}

/** A server whose CA key cannot be used serves its agents all the same; who checks the configuration wants to know. */
function authorityWarnings({ tls: { caCertFile, caKeyFile } }: ServerConfig): string[] {
  if (caKeyFile === undefined) return [];
  return keyWarnings(caKeyFile, checkAuthorityFiles(caCertFile, caKeyFile, systemClock.wall()).key);
}

function revokedOf(config: ServerConfig): RevokedAgents {
  return readRevocations(revocationsPath(config.tls.caCertFile));
}

async function serve(file: string): Promise<number> {
  const exitCode = await runServerDaemon({
    ...{ load: () => load(file), identityOf, revokedOf, spawnBackground, ...diskRuntime },
    software: `nbackup-server ${pkg.version}`,
  });
  setTimeout(() => process.exit(exitCode), LINGER_MS).unref();
  return exitCode;
}
