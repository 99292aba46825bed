/**
 * nbackup-agent: arguments, configuration, certificates, the run, its report, the exit status. The only place of the
 * agent that knows the process it runs in.
 */
import { runOnce } from "#agent/once.ts";
import type { SpawnWorker } from "#agent/pipeline-threads.ts";
import { SourceLook } from "#agent/source-look.ts";
import { LimitedStateDisk } from "#agent/limited-state-disk.ts";
import { StateStore } from "#agent/state-store.ts";
import { settled } from "#base/clock.ts";
import { toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { type AgentCommand, parseAgentCommand } from "#cli/agent-command.ts";
import { agentStatusText } from "#cli/agent-report.ts";
import { type NameKind, namesText } from "#cli/completion-command.ts";
import { EXIT, worstExit } from "#cli/exit-codes.ts";
import { failureText, warningsText } from "#cli/failure-text.ts";
import { onceExit, onceJson, onceText, problemsText, unverifiedText } from "#cli/once-report.ts";
import { selectBackups } from "#cli/select-backups.ts";
import { linuxConfigDisk } from "#config/disk.ts";
import { type Loaded, loadAgentConfig } from "#config/load.ts";
import type { AgentConfig, LoggingConfig } from "#config/types.ts";
import { logEvents } from "#observe/events.ts";
import { createLogger } from "#observe/log.ts";
import { openLogFile } from "#observe/log-file.ts";
import type { AgentStatus } from "#observe/views.ts";
import pkg from "#package.json" with { type: "json" };
import type { ArchiveStock } from "#restore/archive-stock.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import { identityOf, settledIdentityOf } from "./agent-identity.ts";
import { agentStock } from "./agent-archives.ts";
import { backupPlans, checkExcludes, entryRunDeps } from "./agent-backup.ts";
import { runEnroll } from "./agent-enroll.ts";
import { runAgentDaemon } from "./agent-daemon.ts";
import { runHealth } from "./agent-health.ts";
import { runArchives } from "./archive-commands.ts";
import { checkConfig } from "./check-config.ts";
import { askControl } from "./control.ts";
import { OnceDisplay } from "./once-display.ts";
import { renewAfterOnce } from "./once-renewal.ts";
import { openSessionLogs } from "./session-log-disk.ts";
import { entriesDirectory, hasStateDir, linuxStateDisk } from "./state-disk.ts";
import { systemClock } from "./system.ts";

const SOFTWARE = `nbackup-agent ${pkg.version}`;

/** What completion scripts ask for. */
const NAMES_OF: Readonly<Record<NameKind, (entry: AgentConfig["backups"][number]) => string>> = {
  backups: ({ name }) => name,
  storages: ({ storage }) => storage,
};

/** After the end of a run: how long connections may take to say goodbye before the process ends all the same. */
const LINGER_MS = 3000;

// A compiled executable finds its workers only when they are constructed here, in the entry file.
const spawn: SpawnWorker = (kind) => {
  const url = {
    reader: new URL("./reader-worker.ts", import.meta.url),
    compress: new URL("./compress-worker.ts", import.meta.url),
    sources: new URL("./sources-worker.ts", import.meta.url),
  }[kind];
  // Small heaps: the threads keep no objects, and what they leave is collected sooner.
  return new Worker(url.href, { smol: true });
};

const spawnRestore: SpawnRestoreThread = (kind) => {
  const url =
    kind === "tar" ? new URL("./tar-worker.ts", import.meta.url) : new URL("./inflate-worker.ts", import.meta.url);
  return new Worker(url.href, { smol: true });
};

process.exitCode = await main(process.argv.slice(2));
// Connections close in their own time, but a thread that hangs in the kernel must not keep the process.
setTimeout(() => process.exit(), LINGER_MS).unref();

async function main(argv: readonly string[]): Promise<number> {
  try {
    const command = parseAgentCommand(argv, pkg.version);
    switch (command.command) {
      case "print":
        process.stdout.write(command.text);
        return EXIT.done;
      case "names":
        process.stdout.write(namesText(load(command.configFile).config.backups.map(NAMES_OF[command.of])));
        return EXIT.done;
      case "check-config":
        return checkConfig(command.configFile, command.json, {
          load: () => load(command.configFile),
          identity: identityOf,
        });
      case "once":
        return await once(command);
      case "enroll":
        return await runEnroll({
          ...{ request: command.request, software: SOFTWARE },
          stdout: (text) => void process.stdout.write(text),
          stderr: (text) => void process.stderr.write(text),
          check: (file) => identityOf(load(file).config),
          serverOf: (file) => load(file).config.server,
        });
      case "health":
        return await health(command);
      case "serve":
        return await runAgentDaemon({
          ...{ identityOf: settledIdentityOf, software: SOFTWARE, spawn },
          load: () => load(command.configFile),
        });
      case "status":
        return await status(command);
      case "archives":
        return await runArchives(command.request, {
          ...{ side: "agent", spawn: spawnRestore },
          openStock: (signal) => Promise.resolve(openStock(command.configFile, signal)),
        });
    }
  } catch (error) {
    process.stderr.write(failureText(error));
    return toFailure(error).exitCode;
  }
}

function load(file: string): Loaded<AgentConfig> {
  const loaded = loadAgentConfig(file, { disk: linuxConfigDisk, env: process.env, workingDir: process.cwd() });
  checkExcludes(loaded.config);
  return loaded;
}

function openStock(configFile: string, signal: AbortSignal): ArchiveStock {
  const { config, warnings } = load(configFile);
  process.stderr.write(warningsText(warnings));
  return agentStock({ config, identity: settledIdentityOf(config), software: SOFTWARE, signal });
}

async function health({ configFile, server, json }: Extract<AgentCommand, { command: "health" }>): Promise<number> {
  const { config, warnings } = load(configFile);
  process.stderr.write(warningsText(warnings));
  return await runHealth({ config, identity: settledIdentityOf(config), software: SOFTWARE, server, json });
}

async function status({ configFile, json }: Extract<AgentCommand, { command: "status" }>): Promise<number> {
  const { agent } = load(configFile).config;
  // Both sides are of the same version (control.ts): the answer is what the type says.
  const answer = (await askControl("nbackup-agent", agent.stateDir, { command: "status" })) as AgentStatus;
  process.stdout.write(json ? `${JSON.stringify(answer)}\n` : agentStatusText(answer, systemClock.wall()));
  return EXIT.done;
}

async function once(command: Extract<AgentCommand, { command: "once" }>): Promise<number> {
  const { config, warnings } = load(command.configFile);
  process.stderr.write(warningsText(warnings));
  const entries = selectBackups(config.backups, command.backup);
  const identity = settledIdentityOf(config);
  const display = new OnceDisplay({ clock: systemClock, stderr: process.stderr, progress: command.progress });
  const sessionLogs = openSessionLogs(config.logging, loggerOf(config.logging, display));
  const { log } = sessionLogs;
  for (const warning of identity.warnings) log.warn(warning);
  const stop = interruption(display);
  const deps = entryRunDeps({
    look: new SourceLook(systemClock, () => spawn("sources")),
    ...{ config, log, sessionLogs, spawn, identity: () => identity, software: SOFTWARE, events: logEvents(log) },
    mode: process.stderr.isTTY ? "once-at-terminal" : "once",
    states: await onceStates(config, log),
  });
  const results = await runOnce(deps, backupPlans(config, entries, command.waitVerify, log), stop, {
    streamStats: config.logging.streamStats,
    stage: (_plan, stage) => display.stage(stage),
    finished: (_plan, result) => {
      display.finish();
      process.stderr.write(problemsText(result));
      if (command.waitVerify) process.stderr.write(unverifiedText(result));
      process.stdout.write(command.json ? onceJson(result) : onceText(result));
    },
  });
  await renewAfterOnce({ config, identity, log, software: SOFTWARE, signal: stop });
  await settled(systemClock, sessionLogs.close(), LINGER_MS);
  // The interruption may have come too late for the entry that was running, and still kept the next ones from it.
  const kept = results.length < entries.length ? [EXIT.interrupted] : [];
  return worstExit([...results.map(onceExit), ...kept]);
}

/** What the daemon remembers, where there is one: a run by hand compares its sources, and is seen in `status`. */
async function onceStates({ agent }: AgentConfig, log: Logger): Promise<StateStore | undefined> {
  if (!(await hasStateDir(agent.stateDir))) return undefined;
  return new StateStore(new LimitedStateDisk(linuxStateDisk, systemClock), entriesDirectory(agent.stateDir), log);
}

/** The first SIGINT or SIGTERM ends the run cleanly, the second one at once. */
function interruption(display: OnceDisplay): AbortSignal {
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(EXIT.interrupted);
    display.note("interrupted: giving the session up; once more to stop at once\n");
    stop.abort();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  return stop.signal;
}

/**
 * With `logging.file` everything goes there. Without, standard error belongs to a person or a cron mail: only warnings,
 * unless debug was asked for.
 */
function loggerOf(logging: LoggingConfig, display: OnceDisplay): Logger {
  const { level, format, file } = logging;
  if (file !== undefined) {
    const sink = openLogFile(file, (failure) => display.note(failureText(failure)));
    return createLogger({ level, format, sink, clock: systemClock });
  }
  const loud = level === "debug" || level === "error" ? level : "warn";
  return createLogger({
    level: loud,
    format: process.stderr.isTTY ? "text" : format,
    sink: { write: (line) => display.note(line) },
    clock: systemClock,
  });
}
