/**
 * The server as a service: log, signals, systemd, certificates that end, and the reload, which is all or nothing. What runs is
 * server-daemon.ts.
 */
import { EXIT } from "#cli/exit-codes.ts";
import type { Loaded } from "#config/load.ts";
import { problemText } from "#config/problem.ts";
import type { ServerConfig } from "#config/types.ts";
import { ServiceManager } from "#net/service-manager.ts";
import { CertificateWatch } from "#observe/certificate-watch.ts";
import type { Identity } from "#pki/identity.ts";
import type { RevokedAgents } from "#pki/revocations.ts";
import { reloadedConfig } from "#server/reload.ts";
import { type DaemonLog, openDaemonLog } from "./daemon-log.ts";
import { logReloadFailure } from "./reload-failure.ts";
import { type Daemon, type ServerRuntime, startDaemon } from "./server-daemon.ts";
import { systemClock } from "./system.ts";
import { readMaterial } from "./web-files.ts";

export interface ServerServiceRuntime extends Omit<
  ServerRuntime,
  "config" | "content" | "identity" | "revoked" | "log"
> {
  /** Reads the configuration file; throws what is wrong with it. */
  readonly load: () => Loaded<ServerConfig>;
  /** Reads the certificates that it names; throws what is wrong with them. */
  readonly identityOf: (config: ServerConfig) => Identity;
  /** Reads the list of revocations beside the CA; throws what is wrong with it. */
  readonly revokedOf: (config: ServerConfig) => RevokedAgents;
}

/** Serves until SIGTERM or SIGINT; a second one does not wait for sessions. Rejects as startDaemon does, and with E_CONFIG … */
export async function runServerDaemon(runtime: ServerServiceRuntime): Promise<number> {
  const { config, content, warnings } = runtime.load();
  const identity = runtime.identityOf(config);
  const revoked = runtime.revokedOf(config);
  const daemonLog = openDaemonLog(config.logging);
  const { log } = daemonLog;
  for (const warning of [...warnings.map(problemText), ...identity.warnings]) log.warn(warning);
  const told = Promise.withResolvers<void>();
  let service: Service | undefined;
  let stopping = false;
  /** SIGHUP came while storages were opened, which may take half a minute. */
  let reloadWaits = false;
  const onStop = (signal: NodeJS.Signals): void => {
    log.info("stopping", { signal });
    if (stopping) service?.hurry();
    stopping = true;
    told.resolve();
  };
  process.on("SIGTERM", onStop);
  process.on("SIGINT", onStop);
  process.on("SIGHUP", () => {
    if (service === undefined) reloadWaits = true;
    else if (!stopping) service.reload();
  });
  const manager = new ServiceManager({ env: process.env, pid: process.pid, clock: systemClock });
  const daemon = await startDaemon({ ...runtime, config, content, identity, revoked, log });
  service = new Service(runtime, { daemonLog, manager, daemon }, config);
  service.start(identity);
  if (reloadWaits && !stopping) service.reload();
  await told.promise;
  await service.stop();
  log.info("stopped");
  return EXIT.done;
}

interface ServiceParts {
  readonly daemonLog: DaemonLog;
  readonly manager: ServiceManager;
  readonly daemon: Daemon;
}

class Service {
  readonly #runtime: ServerServiceRuntime;
  readonly #parts: ServiceParts;
  readonly #watch: CertificateWatch;
  #config: ServerConfig;
  /** Reloads, one after another. */
  #reloading: Promise<void> = Promise.resolve();
  #stopping = false;

  constructor(runtime: ServerServiceRuntime, parts: ServiceParts, config: ServerConfig) {
    this.#runtime = runtime;
    this.#parts = parts;
    this.#config = config;
    this.#watch = new CertificateWatch(systemClock, parts.daemon.events);
  }

  start(identity: Identity): void {
    this.#watchCertificates(identity);
    this.#parts.manager.ready(this.#parts.daemon.summary());
  }

  reload(): void {
    this.#reloading = this.#reloading.then(() => this.#reload());
  }

  async stop(): Promise<void> {
    const { manager, daemon } = this.#parts;
    this.#stopping = true;
    manager.stopping();
    // The server may be told to stop while a reload waits for a disk.
    const stopped = daemon.stop();
    manager.extend(() => daemon.summary());
    await stopped;
    await this.#reloading;
    this.#watch.stop();
    manager.close();
  }

  /** Sessions are not waited for any more. */
  hurry(): void {
    void this.#parts.daemon.stop();
  }

  /** All or nothing: what is wrong leaves everything as it is. Never rejects. */
  async #reload(): Promise<void> {
    const { daemonLog, manager, daemon } = this.#parts;
    const { log } = daemonLog;
    // It may have waited for another one: nothing is to listen again behind a stop.
    if (this.#stopping) return;
    manager.reloading();
    try {
      const { config: read, content, warnings } = this.#runtime.load();
      const { config, restartKeys } = reloadedConfig(this.#config, read);
      const identity = this.#runtime.identityOf(config);
      const page = config.webUi.enabled ? readMaterial(config.webUi, log) : undefined;
      const revoked = this.#runtime.revokedOf(config);
      daemonLog.use(config.logging);
      daemon.use(identity);
      this.#config = config;
      for (const warning of [...warnings.map(problemText), ...identity.warnings]) log.warn(warning);
      await daemon.reload({ config, content, identity, restartKeys }, page, revoked);
      this.#watchCertificates(identity);
      if (restartKeys.length > 0) log.warn("some changes wait for a restart", { keys: restartKeys });
    } catch (error) {
      const { failure, reason } = logReloadFailure(error, daemonLog, this.#config.logging);
      daemon.reloadFailed(failure.code, reason);
    }
    if (!this.#stopping) manager.ready(daemon.summary());
  }

  #watchCertificates({ notAfterMs, caNotAfterMs }: Identity): void {
    const { serverCertFile, caCertFile } = this.#config.tls;
    const page = this.#parts.daemon.pageCertificate();
    this.#watch.watch([
      { file: serverCertFile, notAfterMs },
      { file: caCertFile, notAfterMs: caNotAfterMs },
      // The page may have the server's.
      ...(page === undefined || page.file === serverCertFile ? [] : [page]),
    ]);
  }
}
