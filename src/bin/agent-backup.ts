/** The real things behind a backup run: sockets, files, threads. Made from a checked configuration; runs nothing itself. */
import { readFileSync } from "node:fs";
import { Bandwidth } from "#agent/bandwidth.ts";
import { bandwidthRule } from "#agent/bandwidth-timetable.ts";
import type { BackupDeps, BackupPlan, ProducerOptions } from "#agent/backup-run.ts";
import type { EntryRunDeps } from "#agent/entry-run.ts";
import { Notifier } from "#agent/notify.ts";
import { Pipeline } from "#agent/pipeline.ts";
import { automaticWorkers } from "#agent/pipeline-cores.ts";
import type { SpawnWorker } from "#agent/pipeline-threads.ts";
import type { SourceLook } from "#agent/source-look.ts";
import type { StateStore } from "#agent/state-store.ts";
import { Excludes } from "#archive/exclude.ts";
import type { IndexHeader } from "#archive/index-format.ts";
import { type SourceRoot, sourceRoots } from "#archive/source-roots.ts";
import { errnoName, Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { uuid } from "#base/random.ts";
import { niceLevel } from "#config/defaults.ts";
import type { AgentConfig, BackupEntryConfig } from "#config/types.ts";
import { TlsDialer } from "#net/dial.ts";
import type { EventSink } from "#observe/events.ts";
import type { SessionLogs } from "#observe/session-log.ts";
import type { Identity } from "#pki/identity.ts";
import { ALPN_PROTOCOL, HELLO_TIMEOUT_MS } from "#wire/limits.ts";
import { runHookProcess } from "./hook-process.ts";
import { localZone } from "./local-zone.ts";
import { httpPost } from "./post.ts";
import { systemClock, systemRandom } from "./system.ts";

export interface AgentRuntime {
  readonly config: AgentConfig;
  /** Asked at every connection: certificates may be renewed while a backup runs. */
  readonly identity: () => Identity;
  readonly log: Logger;
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  /** Constructed in the entry file: a compiled executable finds its workers only from there. */
  readonly spawn: SpawnWorker;
  readonly mode: "daemon" | "once" | "once-at-terminal";
  /** Its `log` is the one above. */
  readonly sessionLogs: SessionLogs;
  /** One for the whole process: it counts the threads that hang. */
  readonly look: SourceLook;
}

export interface EntryRunRuntime extends AgentRuntime {
  /** undefined: nothing is remembered. */
  readonly states: StateStore | undefined;
  readonly events: EventSink;
}

/** For one run: the server knows its connections by a number made here. */
export function entryRunDeps(runtime: EntryRunRuntime): EntryRunDeps {
  const { states, events, log, look } = runtime;
  return {
    backup: backupDeps(runtime),
    ...{ states, events },
    runCommand: runHookProcess,
    notifier: new Notifier({ clock: systemClock, random: systemRandom, log, post: httpPost }),
    sourceFacts: (entry, signal) => look.facts(entry.sources, signal),
  };
}

function backupDeps(runtime: AgentRuntime): BackupDeps {
  const { config, identity, log, software, spawn, sessionLogs, look } = runtime;
  const { ioClass } = config.resources;
  const once = runtime.mode !== "daemon";
  const nice = niceLevel(config.resources, { once, terminal: runtime.mode === "once-at-terminal" });
  const priority = { nice, ioClass };
  return {
    clock: systemClock,
    random: systemRandom,
    ...{ log, sessionLogs },
    identity: { agent: config.agent.name, software, run: uuid(systemRandom) },
    dialer: serverDialer(config, identity),
    cores: automaticWorkers(readTextFile),
    checkSources: (entry, signal) => look.check(entry.sources, signal),
    makeProducer: (options) => {
      const { entry, compression, chunkBytes, workers } = options;
      const roots = sourceRoots(entry.sources);
      return new Pipeline({
        roots,
        exclude: entry.exclude,
        rules: {
          oneFileSystem: entry.oneFileSystem,
          excludeCaches: entry.excludeCaches,
          excludeIfPresent: entry.excludeIfPresent,
        },
        compression,
        chunkBytes,
        index: indexHeader(options, roots),
        workers,
        priority,
        spawn,
        clock: systemClock,
      });
    },
  };
}

/** To the server of the configuration; the identity is asked for at each dial. */
export function serverDialer(config: AgentConfig, identity: () => Identity): TlsDialer {
  return new TlsDialer({
    address: config.server,
    identity,
    protocol: ALPN_PROTOCOL,
    timeoutMs: HELLO_TIMEOUT_MS,
    clock: systemClock,
  });
}

/** What a restore of years later can know of the run and of what it left out. */
function indexHeader(options: ProducerOptions, roots: readonly SourceRoot[]): IndexHeader {
  const { entry, compression, chunkBytes, run } = options;
  const { name, exclude, oneFileSystem, excludeCaches, excludeIfPresent } = entry;
  return {
    rebuilt: false,
    ...run,
    backup: name,
    ...{ compression, chunkBytes, exclude, oneFileSystem, excludeCaches, excludeIfPresent },
    // They come from a text, so no byte of them is lost.
    sources: roots.map((root) => Buffer.from(root.path).toString("utf8")),
  };
}

/** One plan for each entry, in the order of the file. */
export function backupPlans(
  config: AgentConfig,
  entries: readonly BackupEntryConfig[],
  waitVerify: boolean,
  log: Logger,
): BackupPlan[] {
  const { retry, resume, resources } = config;
  const zone = localZone(process.env);
  return entries.map((entry) => ({
    ...{ entry, retry, resume, workers: resources.workers, waitVerify },
    bandwidth: new Bandwidth({ clock: systemClock, log, backup: entry.name }, bandwidthRule(entry, zone)),
  }));
}

/** Throws Failure E_CONFIG that names the entry and the pattern: better at the start than at two in the morning. */
export function checkExcludes(config: AgentConfig): void {
  for (const entry of config.backups) {
    try {
      new Excludes(entry.exclude);
    } catch (error) {
      throw excludeFailure(config, entry, toFailure(error));
    }
  }
}

function excludeFailure(config: AgentConfig, entry: BackupEntryConfig, cause: Failure): Failure {
  const message = `${config.configFile}: backups entry ${entry.name}: exclude: ${cause.message}`;
  return new Failure(cause.code, message, { cause, hint: cause.hint });
}

function readTextFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // Not every kernel and container has every one of these files.
    if (errnoName(error) === undefined) throw error;
    return undefined;
  }
}
