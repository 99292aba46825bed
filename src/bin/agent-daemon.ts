/**
 * The real things around the agent's daemon: state directory, log, signals, control socket, systemd. Starts it, has it read its
 * configuration again, and stops it.
 */
import { agentFacts } from "#agent/agent-facts.ts";
import { AuthorityNews } from "#agent/authority-news.ts";
import { CertificateRenewal } from "#agent/certificate-renewal.ts";
import { ControlLink } from "#agent/control-link.ts";
import { CertificateWatch } from "#observe/certificate-watch.ts";
import { AgentDaemon, type DaemonSetup } from "#agent/daemon.ts";
import { LimitedStateDisk } from "#agent/limited-state-disk.ts";
import { reloadedConfig } from "#agent/reload.ts";
import { SourceLook } from "#agent/source-look.ts";
import { StateStore } from "#agent/state-store.ts";
import type { SpawnWorker } from "#agent/pipeline-threads.ts";
import { settled, type Timer } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import { uuid } from "#base/random.ts";
import { EXIT } from "#cli/exit-codes.ts";
import { problemText } from "#config/problem.ts";
import type { Loaded } from "#config/load.ts";
import type { AgentConfig } from "#config/types.ts";
import { ServiceManager } from "#net/service-manager.ts";
import { logEvents } from "#observe/events.ts";
import type { SessionLogs } from "#observe/session-log.ts";
import { formatAddress } from "#net/address.ts";
import type { Identity } from "#pki/identity.ts";
import { CONTROL_ENTRIES_MAX } from "#wire/limits.ts";
import { backupPlans, entryRunDeps, serverDialer } from "./agent-backup.ts";
import { renewalDisk } from "./agent-identity.ts";
import { serveControl } from "./control.ts";
import { type DaemonLog, openDaemonLog } from "./daemon-log.ts";
import { localZone } from "./local-zone.ts";
import { logReloadFailure } from "./reload-failure.ts";
import { MachineWatch } from "./machine-facts.ts";
import { releaseMemory } from "./release-memory.ts";
import { openSessionLogs } from "./session-log-disk.ts";
import { entriesDirectory, linuxStateDisk, takeStateDir } from "./state-disk.ts";
import { systemClock, systemRandom } from "./system.ts";

export interface AgentDaemonRuntime {
  /** Reads the configuration file; throws what is wrong with it. */
  readonly load: () => Loaded<AgentConfig>;
  /** Reads the certificates that it names; throws what is wrong with them. */
  readonly identityOf: (config: AgentConfig) => Identity;
  /** `nbackup-agent 0.1.0` */
  readonly software: string;
  readonly spawn: SpawnWorker;
}

/** Once nothing runs any more: until the threads of the last run are gone. */
const RELEASE_DELAY_MS = 2_000;
/** Once all runs are over: for those who are to be told of their results. */
const NOTIFY_LIMIT_MS = 5_000;
/** A disk that hangs must not hold up a stop for the sake of a log. */
const SESSION_LOGS_LIMIT_MS = 2_000;

/** Serves until SIGTERM or SIGINT; a second one ends it at once. Rejects with Failure E_CONFIG, E_LOCKED, E_STATE_DIR … */
export async function runAgentDaemon(runtime: AgentDaemonRuntime): Promise<number> {
  const { config, warnings } = runtime.load();
  const identity = runtime.identityOf(config);
  await takeStateDir(config.agent.stateDir);
  const daemonLog = openDaemonLog(config.logging);
  for (const warning of [...warnings.map(problemText), ...identity.warnings]) daemonLog.log.warn(warning);
  const service = new Service(runtime, daemonLog, config, identity);
  const { promise: told, resolve: tell } = Promise.withResolvers<void>();
  let stopping = false;
  const onStop = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(EXIT.interrupted);
    stopping = true;
    daemonLog.log.info("stopping", { signal });
    tell();
  };
  process.on("SIGTERM", onStop);
  process.on("SIGINT", onStop);
  process.on("SIGHUP", () => {
    if (!stopping) service.reload();
  });
  await service.start();
  await told;
  await service.stop();
  daemonLog.log.info("stopped");
  return EXIT.done;
}

class Service {
  readonly #runtime: AgentDaemonRuntime;
  readonly #daemonLog: DaemonLog;
  readonly #manager: ServiceManager;
  readonly #watch: CertificateWatch;
  readonly #daemon: AgentDaemon;
  readonly #sessionLogs: SessionLogs;
  readonly #notifications: ReturnType<typeof entryRunDeps>["notifier"];
  readonly #channel: ControlLink;
  readonly #renewal: CertificateRenewal;
  readonly #authorities: AuthorityNews;
  #identity: Identity;
  #control: ReturnType<typeof serveControl>;
  /** The start, then reloads, one after another. */
  #reloading: Promise<void> = Promise.resolve();
  #releasing: Timer | undefined;
  #stopping = false;

  constructor(runtime: AgentDaemonRuntime, daemonLog: DaemonLog, config: AgentConfig, identity: Identity) {
    this.#sessionLogs = openSessionLogs(config.logging, daemonLog.log);
    const { log } = this.#sessionLogs;
    const events = logEvents(log);
    this.#runtime = runtime;
    this.#daemonLog = daemonLog;
    this.#identity = identity;
    this.#manager = new ServiceManager({ env: process.env, pid: process.pid, clock: systemClock });
    this.#watch = new CertificateWatch(systemClock, events);
    const states = new StateStore(
      new LimitedStateDisk(linuxStateDisk, systemClock),
      entriesDirectory(config.agent.stateDir),
      log,
    );
    const { software, spawn } = runtime;
    const look = new SourceLook(systemClock, () => spawn("sources"));
    const shared = {
      look,
      log,
      events,
      software,
      spawn,
      states,
      sessionLogs: this.#sessionLogs,
      identity: () => this.#identity,
    };
    const { notifier } = entryRunDeps({ ...shared, config, mode: "daemon" });
    this.#notifications = notifier;
    this.#daemon = new AgentDaemon(
      {
        ...{ clock: systemClock, log, events, states, software, pid: process.pid },
        runDeps: (current) => ({ ...entryRunDeps({ ...shared, config: current, mode: "daemon" }), notifier }),
        planOf: (current, entry) => planOf(current, entry.name, log),
        changed: () => this.#changed(),
        control: () => this.#channel.view(),
      },
      setupOf(config, identity),
    );
    this.#channel = this.#channelOf(config, uuid(systemRandom));
    const disk = renewalDisk(
      () => this.#daemon.config,
      () => this.#identity,
    );
    this.#authorities = new AuthorityNews({
      ...{ clock: systemClock, events, enabled: () => this.#daemon.config.tls.renew },
      ...{ trust: disk.trust, known: disk.known },
      use: (successions) => {
        const isUnused = disk.isUnused(successions);
        if (isUnused) this.#trusts();
        return isUnused;
      },
    });
    this.#renewal = new CertificateRenewal({
      ...{ clock: systemClock, log, events, channel: this.#channel, makeRequest: disk.makeRequest },
      enabled: () => this.#daemon.config.tls.renew,
      current: () => this.#identity,
      prepare: () => {
        const completed = disk.prepare();
        return completed === undefined ? undefined : this.#renewed(completed);
      },
      install: (certPem, keyPem) => this.#renewed(disk.install(certPem, keyPem)),
    });
  }

  async start(): Promise<void> {
    const { log } = this.#daemonLog;
    const { agent } = this.#daemon.config;
    this.#watchCertificates();
    this.#control = serveControl("nbackup-agent", agent.stateDir, log, (request) => this.#answer(request));
    this.#reloading = this.#daemon.start();
    await this.#reloading;
    log.info("started", { software: this.#runtime.software, agent: agent.name, zone: localZone(process.env) });
    this.#manager.ready(this.#daemon.summary());
    this.#channel.start();
    this.#renewal.start();
  }

  reload(): void {
    this.#reloading = this.#reloading.then(() => this.#reload());
  }

  /** What runs hears of it at once, whatever a reload that is under way still waits for. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#manager.stopping();
    this.#renewal.stop();
    this.#channel.stop();
    await Promise.all([this.#daemon.stop(), this.#reloading]);
    const timer = systemClock.after(NOTIFY_LIMIT_MS, () => this.#notifications.stop());
    await this.#notifications.settled();
    timer.cancel();
    await settled(systemClock, this.#sessionLogs.close(), SESSION_LOGS_LIMIT_MS);
    this.#watch.stop();
    this.#releasing?.cancel();
    this.#control?.stop();
    this.#manager.close();
  }

  #channelOf(config: AgentConfig, run: string): ControlLink {
    const machine = new MachineWatch();
    const startedAtMs = systemClock.now();
    return new ControlLink({
      ...{ clock: systemClock, random: systemRandom, log: this.#daemonLog.log, settings: config.controlChannel },
      deps: () => {
        const current = this.#daemon.config;
        return {
          clock: systemClock,
          dialer: serverDialer(current, () => this.#identity),
          identity: { agent: current.agent.name, software: this.#runtime.software, run },
        };
      },
      facts: async () => {
        const { agent, backups } = this.#daemon.config;
        const uptimeMs = systemClock.now() - startedAtMs;
        const [facts, entries] = await Promise.all([
          machine.look(agent.stateDir),
          this.#daemon.entriesNow(CONTROL_ENTRIES_MAX),
        ]);
        const { trusted: successors } = this.#authorities;
        return {
          ...agentFacts(facts, uptimeMs, entries, backups.length),
          ...(successors === undefined ? {} : { successors }),
        };
      },
      run: (backup) => this.#daemon.request(backup),
      renews: () => this.#renewal.look(),
      successors: (successions) => {
        // What the new CA has issued can be used now.
        if (this.#authorities.heard(successions)) this.#renewal.again();
        this.#channel.changed();
      },
    });
  }

  /** Connections that are up keep the old certificate; the control channel shows the server the new one at once. */
  #renewed(identity: Identity): Identity {
    this.#identity = identity;
    this.#daemon.renewed(identity.notAfterMs);
    this.#watchCertificates();
    this.#channel.use(this.#daemon.config.controlChannel, true);
    return identity;
  }

  /** Connections made from now on go by the CA file as it is now; the pair stays. */
  #trusts(): void {
    this.#identity = this.#runtime.identityOf(this.#daemon.config);
    this.#watchCertificates();
  }

  #changed(): void {
    this.#channel.changed();
    this.#manager.status(this.#daemon.summary());
    this.#releasing?.cancel();
    if (this.#daemon.idle) this.#releasing = systemClock.after(RELEASE_DELAY_MS, releaseMemory);
  }

  /** All or nothing: what is wrong leaves everything as it is. Never rejects. */
  async #reload(): Promise<void> {
    const { log } = this.#daemonLog;
    this.#manager.reloading();
    try {
      const { config: read, warnings } = this.#runtime.load();
      const { config, restartKeys } = reloadedConfig(this.#daemon.config, read);
      const identity = this.#runtime.identityOf(config);
      const exchanged = identity.fingerprint !== this.#identity.fingerprint;
      const moved = formatAddress(config.server) !== formatAddress(this.#daemon.config.server);
      this.#daemonLog.use(config.logging);
      this.#sessionLogs.use(config.logging.sessionLogDir);
      this.#identity = identity;
      for (const warning of [...warnings.map(problemText), ...identity.warnings]) log.warn(warning);
      this.#watchCertificates(config);
      await this.#daemon.reload(setupOf(config, identity));
      this.#channel.use(config.controlChannel, moved);
      // One that was refused for the old certificate may be let in with this one.
      if (exchanged) this.#channel.nudge();
      this.#authorities.again();
      this.#renewal.again();
      log.info("configuration and certificates were read again", { file: config.configFile });
      if (restartKeys.length > 0) log.warn("some changes wait for a restart", { keys: restartKeys });
    } catch (error) {
      this.#reloadFailed(error);
    }
    if (!this.#stopping) this.#manager.ready(this.#daemon.summary());
  }

  #reloadFailed(error: unknown): void {
    const { failure, reason } = logReloadFailure(error, this.#daemonLog, this.#daemon.config.logging);
    this.#daemon.reloadFailed(failure.code, reason);
  }

  #watchCertificates(config = this.#daemon.config): void {
    const { notAfterMs, caNotAfterMs } = this.#identity;
    this.#watch.watch([
      { file: config.tls.clientCertFile, notAfterMs },
      { file: config.tls.caCertFile, notAfterMs: caNotAfterMs },
    ]);
  }

  async #answer(request: unknown): Promise<unknown> {
    const isStatus =
      typeof request === "object" && request !== null && "command" in request && request.command === "status";
    if (isStatus) return await this.#daemon.status();
    throw new Failure("E_USAGE", "the running agent does not know this request", {
      hint: "Use the nbackup-agent of the version that runs, or restart it after an upgrade.",
    });
  }
}

function setupOf(config: AgentConfig, identity: Identity): DaemonSetup {
  return { config, zone: localZone(process.env), certificateNotAfterMs: identity.notAfterMs };
}

function planOf(config: AgentConfig, name: string, log: Logger): ReturnType<typeof backupPlans>[number] {
  const [plan] = backupPlans(
    config,
    config.backups.filter((entry) => entry.name === name),
    // Nobody waits for it: the server tells what it finds.
    false,
    log,
  );
  if (plan === undefined) throw new Failure("E_INTERNAL", `no entry is named ${name}`);
  return plan;
}
