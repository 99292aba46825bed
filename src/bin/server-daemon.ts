/** The real things around the server: disk, sockets, log, locks. Starts it, and stops it when told to. */
import { mkdir, stat } from "node:fs/promises";
import { settled } from "#base/clock.ts";
import { errnoName, Failure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { ServerConfig, StorageConfig } from "#config/types.ts";
import { formatAddress } from "#net/address.ts";
import { listenTls, type TlsListener } from "#net/listen.ts";
import type { LineServer } from "#net/line-socket.ts";
import type { WatchedCertificate } from "#observe/certificate-watch.ts";
import type { EventSink } from "#observe/events.ts";
import { Recorder } from "#observe/recorder.ts";
import type { SessionLogs } from "#observe/session-log.ts";
import { withSessionLogs } from "#observe/session-log-events.ts";
import type { ConfigReading } from "#observe/views.ts";
import type { Identity } from "#pki/identity.ts";
import type { RevokedAgents } from "#pki/revocations.ts";
import type { SpawnRestoreThread } from "#restore/restore-threads.ts";
import { CertificateRegister } from "#server/certificate-register.ts";
import { Revocations } from "#server/revocations.ts";
import { Server } from "#server/server.ts";
import { StorageStock } from "#server/storage-stock.ts";
import { ServerMetrics } from "#server/server-metrics.ts";
import { ChunkBuffer } from "#store/chunk-buffer.ts";
import type { Disk, DiskLock } from "#store/disk.ts";
import { EndedSessions } from "#store/ended-sessions.ts";
import { GoneBackups } from "#store/gone-backups.ts";
import { KnownStorages } from "#store/known-storages.ts";
import { MaintenanceFile } from "#store/maintenance-file.ts";
import type { SpawnDiskWorker } from "#store/disk-thread.ts";
import { LinuxDisk } from "#store/linux-disk.ts";
import { MeteredDisk } from "#store/metered-disk.ts";
import { Storage } from "#store/storage.ts";
import type { StorageOptions, StorageRules } from "#store/storage-options.ts";
import { ALPN_PROTOCOL, HELLO_TIMEOUT_MS } from "#wire/limits.ts";
import { serveControl } from "./control.ts";
import { EnrollSide } from "./enrollment.ts";
import { successionsOf } from "./successions.ts";
import { backgroundVerifier } from "./findings.ts";
import { machineLoad } from "./machine-facts.ts";
import { openSessionLogs } from "./session-log-disk.ts";
import { systemClock, systemRandom } from "./system.ts";
import type { PageMaterial } from "./web-files.ts";
import { type WebSettings, WebSide } from "./web.ts";

/** A disk that hangs must not hold up a stop for the sake of a log. */
const SESSION_LOGS_LIMIT_MS = 2_000;

export interface ServerRuntime {
  readonly config: ServerConfig;
  /** Of the configuration file, as it was read. */
  readonly content: unknown;
  readonly identity: Identity;
  /** The list of revocations beside the CA. */
  readonly revoked: RevokedAgents;
  readonly log: Logger;
  /** `nbackup-server 0.1.0` */
  readonly software: string;
  readonly privileged: boolean;
  /** Constructed in the entry file: a compiled executable finds its workers only from there. */
  readonly spawnThread: SpawnDiskWorker;
  /** Threads that read archives again. */
  readonly spawnBackground: SpawnRestoreThread;
}

export interface Daemon {
  readonly events: EventSink;
  /** A sentence for `systemctl status`. */
  summary(): string;
  /** The page's own certificate; undefined: it has none. */
  pageCertificate(): WatchedCertificate | undefined;
  /** Handshakes from now on are made with it. Throws Failure E_LISTEN, and then nothing has changed. */
  use(identity: Identity): void;
  /** These count from now on; `page` was read for them. Never rejects. */
  reload(settings: WebSettings, page: PageMaterial | undefined, revoked: RevokedAgents): Promise<void>;
  /** The file was read and is not used. */
  reloadFailed(code: string, reason: string): void;
  /** Lets running sessions finish within shutdown_timeout; called again it does not wait. Never rejects. */
  stop(): Promise<void>;
}

/** Rejects with Failure E_LOCKED, E_STATE_DIR or E_LISTEN. A storage that cannot be used is its own problem. */
export async function startDaemon(runtime: ServerRuntime): Promise<Daemon> {
  const { config, identity, software, privileged, spawnThread } = runtime;
  const sessionLogs = openSessionLogs(config.logging, runtime.log);
  const { log } = sessionLogs;
  let { logging } = config;
  let used = identity;
  let successions = successionsOf(config, log);
  const disk = new LinuxDisk({ privileged, spawnThread });
  const { stateDir } = config.server;
  const lock = await lockStateDir(disk, stateDir);
  const revocations = await openRevocations(disk, runtime, lock);
  const recorder = await openRecorder({ ...runtime, log }, disk);
  const metrics = new ServerMetrics();
  const { content, spawnBackground } = runtime;
  const settings = { config, content, identity, restartKeys: [] };
  const gone = await GoneBackups.open(disk, stateDir, log);
  const web = await WebSide.open({ log, disk, recorder, metrics, gone, spawnBackground }, settings);
  const chunkBuffer = new ChunkBuffer({ ...config.chunkBuffer, clock: systemClock });
  const shared = { log, buffer: chunkBuffer, ended: await EndedSessions.open(disk, stateDir, log) };
  const register = await CertificateRegister.open({ disk, stateDir, log, clock: systemClock, revocations });
  let enrollment: EnrollSide | undefined;
  const server = new Server({
    ...{ config, chunkBuffer },
    clock: systemClock,
    random: systemRandom,
    log,
    events: withSessionLogs(web.watched(recorder), sessionLogs),
    onPhase: web.onPhase,
    software,
    knownStorages: await KnownStorages.open(disk, stateDir, log),
    openStorage: (storage, established) =>
      openStorage(storage, established, { disk: metered(storage.name, disk, metrics), ...shared }),
    configureStorage: (storage, next) => storage.configure(rulesOf(next)),
    openStock: (storage) => new StorageStock(metered(storage.name, disk, metrics), [storage]),
    diskKey: async (baseDir) => String((await stat(baseDir)).dev),
    verifyArchive: backgroundVerifier(runtime.spawnBackground),
    metrics,
    streamStats: () => logging.streamStats,
    maintenance: await MaintenanceFile.open(disk, stateDir, log),
    revocations,
    register,
    issuer: () => enrollment?.issuer,
    successions: () => successions,
    machineLoad,
    certificateNotAfterMs: () => used.notAfterMs,
  });
  await server.start();
  try {
    const listener = listenTls({
      address: config.server.listen,
      identity,
      protocol: ALPN_PROTOCOL,
      handshakeTimeoutMs: HELLO_TIMEOUT_MS,
      clock: systemClock,
      log,
      accept: (connection) => server.accept(connection),
    });
    metrics.registry.counted(
      "nbackup_strangers_refused_total",
      "Connections that came to nothing before they were one",
      () => listener.strangerCount,
    );
    const reading: ConfigReading = { readWallMs: systemClock.wall(), failure: null };
    const around = { pid: process.pid, events: recorder.events, history: recorder.history, reading };
    const { port: dataPort } = listener;
    const enroll = await EnrollSide.open({
      ...{ config, identity, disk, log, events: recorder, register, revocations, dataPort },
    });
    enrollment = enroll;
    const answer = (request: unknown): Promise<unknown> =>
      enroll.answer(request) ?? server.admin.handle(request, around);
    const control = serveControl("nbackup-server", stateDir, log, answer);
    const address = formatAddress({ host: config.server.listen.host, port: listener.port });
    web.start(server);
    recorder.emit({ kind: "server.started", level: "info", message: "listening", fields: { address, software } });
    let stopping: Promise<void> | undefined;
    return {
      events: recorder,
      summary: () => summaryOf(server),
      use(next): void {
        listener.use(next);
        used = next;
      },
      pageCertificate: () => web.certificate,
      async reload(next, page, revoked): Promise<void> {
        reading.readWallMs = systemClock.wall();
        reading.failure = null;
        ({ logging } = next.config);
        sessionLogs.use(logging.sessionLogDir);
        revocations.use(revoked);
        successions = successionsOf(next.config, log);
        // Who may look first: storages may have to be waited for.
        await web.reload(next, page);
        await server.reload(next.config);
        web.storagesChanged();
        await enroll.reload(next.config, used);
        const text = "configuration and certificates were read again";
        recorder.emit({
          kind: "server.reloaded",
          level: "info",
          message: text,
          fields: { file: next.config.configFile },
        });
      },
      reloadFailed(code, reason): void {
        reading.failure = { wallMs: systemClock.wall(), code, reason };
        const message = `the configuration that was read again is not used: ${reason}`;
        recorder.emit({ kind: "server.reload-failed", level: "error", message, fields: { code, reason } });
      },
      stop(): Promise<void> {
        if (stopping !== undefined) void server.shutdown();
        stopping ??= stopAll({ listener, server, enroll, control, web, recorder, sessionLogs, lock });
        return stopping;
      },
    };
  } catch (error) {
    await server.shutdown();
    await web.stop();
    await recorder.close();
    await lock.release();
    throw error;
  }
}

interface Running {
  readonly listener: TlsListener;
  readonly server: Server;
  readonly enroll: EnrollSide;
  readonly control: LineServer | undefined;
  readonly web: WebSide;
  readonly recorder: Recorder;
  readonly sessionLogs: SessionLogs;
  readonly lock: DiskLock;
}

async function stopAll({
  listener,
  server,
  enroll,
  control,
  web,
  recorder,
  sessionLogs,
  lock,
}: Running): Promise<void> {
  recorder.emit({ kind: "server.stopping", level: "info", message: "the server stops", fields: {} });
  enroll.stop();
  // Sessions that may still finish need their streams back; who asks for a new one is refused and told why.
  await server.shutdown();
  listener.stop();
  control?.stop();
  await web.stop();
  await recorder.close();
  await settled(systemClock, sessionLogs.close(), SESSION_LOGS_LIMIT_MS);
  await lock.release();
}

/** Events and history; a file that cannot be used costs the records only. */
function openRecorder({ config, log }: ServerRuntime, disk: LinuxDisk): Promise<Recorder> {
  const { eventsFile, eventsLinesMax, sessionHistoryFile, sessionHistoryLinesMax } = config.webUi;
  return Recorder.open({
    events: { path: eventsFile, linesMax: eventsLinesMax },
    history: { path: sessionHistoryFile, linesMax: sessionHistoryLinesMax },
    ...{ disk, clock: systemClock, log },
  });
}

function metered(storage: string, disk: Disk, metrics: ServerMetrics): Disk {
  return new MeteredDisk(disk, systemClock, metrics.meterOf(storage));
}

function openStorage(
  config: StorageConfig,
  established: boolean,
  shared: Pick<StorageOptions, "disk" | "log" | "buffer" | "ended">,
): Promise<Storage> {
  const { name, baseDir } = config;
  return Storage.open({ ...{ name, baseDir, established, clock: systemClock }, ...rulesOf(config), ...shared });
}

function rulesOf({ maxBackups, minAgeMs, verifyIntegrity, reserve, assembler }: StorageConfig): StorageRules {
  const { pendingMemBytesMax: pendingBytesMax, chunkShardLevels: shardLevels, chunkFsync } = assembler;
  const staging = assembler.mode === "lazy" ? { shardLevels, chunkFsync } : undefined;
  return { maxBackups, minAgeMs, verifyIntegrity, reserve, pendingBytesMax, staging };
}

function summaryOf(server: Server): string {
  const { sessionCount, waitingCount } = server.view();
  const sessions = sessionCount === 1 ? "1 session runs" : `${sessionCount} sessions run`;
  return waitingCount === 0 ? sessions : `${sessions}, ${waitingCount} wait`;
}

/** Rejects with Failure E_STATE_DIR; the directory is let go of then. */
async function openRevocations(disk: Disk, { config, revoked }: ServerRuntime, lock: DiskLock): Promise<Revocations> {
  try {
    return await Revocations.open(disk, config.server.stateDir, revoked);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** One server per state directory: its records must not be written by two. */
async function lockStateDir(disk: LinuxDisk, stateDir: string): Promise<DiskLock> {
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    return await disk.lock(`${stateDir}/lock`);
  } catch (error) {
    throw stateDirFailure(error, stateDir);
  }
}

function stateDirFailure(cause: unknown, stateDir: string): Failure {
  const errno = errnoName(cause);
  if (errno === "EWOULDBLOCK")
    return new Failure("E_LOCKED", `${stateDir} is in use by another nbackup-server`, { cause });
  return new Failure("E_STATE_DIR", `server.state_dir ${stateDir} cannot be used: ${errno ?? String(cause)}`, {
    cause,
  });
}
