/** The keys of server.yaml, and the configuration they become. Rules across keys are in server-rules.ts. */
import { MiB, TiB } from "#base/units.ts";
import { loggingSchema, toLogging } from "./logging-schema.ts";
import { described, map, optional, required, type Schema, section, type SectionOf, setting, value } from "./parts.ts";
import { type Places, placesOf } from "./places.ts";
import { listenAddress } from "./server-values.ts";
import { defaultStateDir, type Environment } from "./state-dir.ts";
import { storageSchema, toStorage } from "./storage-schema.ts";
import type { ServerConfig } from "./types.ts";
import { decimal, duration, filePath, flag, integer, size } from "./values.ts";
import { toWebUi, webUiSchema } from "./web-ui-schema.ts";

const STORAGES_MAX = 1000;
const DAY_MS = 86_400_000;

/** For keys that are accepted whatever they hold. */
function anything(): Schema<null> {
  return value("anything", () => null);
}

export const serverShape = {
  listen: setting(
    listenAddress("0.0.0.0:9847"),
    "0.0.0.0:9847",
    "Where agents connect to; without a host on all IPv4 addresses.",
  ),
  enroll_listen: setting(
    listenAddress("0.0.0.0:9846"),
    "0.0.0.0:9846",
    "Where new agents enrol: open only while a token of nbackup-server pki enroll-token is good, and only with tls.ca_key.",
    "A port of its own, so that the one for agents never takes a peer without a certificate.",
  ),
  state_dir: optional(
    filePath(),
    "Directory of the server's own records: journals and commit records.",
    "$STATE_DIRECTORY, else /var/lib/nbackup if this file lies under /etc, else nbackup-state beside it",
    "systemd sets the first one; the last lets anybody try the server without root.",
  ),
  max_sessions: setting(
    integer({ min: 1, max: 10_000 }),
    32,
    "Sessions that run at the same time; further agents wait in order of arrival.",
    "More at a time make each of them slower, not all of them faster.",
  ),
  memory_limit: setting(
    size({ min: 64 * MiB, max: TiB }),
    "1gb",
    "Memory for all sessions, chunk_buffer.size, and 64mb for each archive that is just being verified; a session that does not fit waits. One takes 8mb and its assembler_pending_mem_limit.",
    "32 sessions of 16 MB, and room for bursts.",
  ),
  session_idle_timeout: setting(
    duration({ min: 1000, max: 365 * DAY_MS }),
    "24h",
    "How long a session is kept of whose agent nothing is heard.",
    "A night without a network must not cost a day's upload.",
  ),
  shutdown_timeout: setting(
    duration({ min: 0, max: DAY_MS }),
    "60s",
    "How long running sessions may go on after SIGTERM.",
    "Less than the 90 s after which systemd kills.",
  ),
};

const flowRotation = section({
  enabled: setting(
    flag(),
    false,
    "Have slow streams finish their chunk and connect again from a new port. Nothing is lost or sent twice, and it counts as no failure.",
    "Few networks need it.",
  ),
  min_mbps: setting(
    decimal({ min: 0.001, max: 1_000_000 }),
    1,
    "A stream below so many megabits (of 1,000,000 bits) a second is slow, if another stream of its session or it itself before was at least twice as fast. One that waits for work or for the server's disk is not, nor are streams that are all alike: those are held to a limit.",
    "A flow that a network has slowed down is far below it, one that is well far above.",
  ),
  eval_window: setting(
    duration({ min: 1000, max: 30 * DAY_MS }),
    "60m",
    "For how long it must have been so without a break.",
    "A busy hour of the line passes by itself.",
  ),
  cooldown: setting(
    duration({ min: 1000, max: 30 * DAY_MS }),
    "15m",
    "Pause between two rotations of the same stream.",
    "A new flow needs some time to show what it can do.",
  ),
});

export const chunkBufferShape = {
  size: setting(
    size({ min: 0, max: TiB }),
    0,
    "Memory for chunks received but not yet written, of all sessions, beside the 4mb that each has; 0: off. It counts in server.memory_limit. A session pauses when it fills more than four times what is free, so none can take it all.",
    "Most disks keep up.",
  ),
  drain_ratio: setting(
    decimal({ min: 0, max: 1 }),
    0.5,
    "Writing begins when this part of it is filled, or after 1 s, or when half of a session's window waits; 0: at once. What waits is received, not durable.",
    "Half absorbs a pause of the disk, the other half gathers what is written together.",
  ),
  channel_slots: optional(integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), "Accepted without effect."),
};

const storagesSchema = map(storageSchema, { min: 1, max: STORAGES_MAX, things: "storages" });

const shape = {
  server: described(section(serverShape), "The server itself."),
  tls: described(
    section({
      ca_cert: required(filePath(), "PEM file of the CA; several may stand in it."),
      server_cert: required(filePath(), "PEM file of the server's certificate."),
      server_key: required(filePath(), "PEM file of its private key, readable by its owner only."),
      ca_key: optional(
        filePath(),
        "PEM file of the private key of the CA in ca_cert, readable by the server's user only: with it new agents enrol and certificates renew themselves.",
        "none: this server issues no certificates",
        "Who keeps the key on another machine makes certificates there, with nbackup-server pki agent.",
      ),
    }),
    "Certificates. Relative paths count from the directory of this file.",
  ),
  storages: required(storagesSchema, "The storages by name. Each has these keys."),
  flow_rotation: described(flowRotation, "For networks that slow long-lived connections down."),
  chunk_buffer: described(section(chunkBufferShape), "Absorbs hiccups of the disk."),
  control_lost_grace_period: setting(
    duration({ min: 1000, max: DAY_MS }),
    "5m",
    "How long an agent with a running session may be without its control channel before that is an event.",
  ),
  gap_detection: optional(
    anything(),
    "Deprecated and without effect: every acknowledgement says what is missing.",
    "ignored",
  ),
  web_ui: webUiSchema,
  logging: loggingSchema,
};

export const serverSchema = section(shape);

export function toServerConfig(raw: SectionOf<typeof shape>, places: Places, env: Environment): ServerConfig {
  const stateDir = places.optional(raw.server.state_dir) ?? defaultStateDir("server", places.configFile, env);
  return {
    configFile: places.configFile,
    enrollListen: raw.server.enroll_listen,
    server: {
      listen: raw.server.listen,
      stateDir,
      sessionsMax: raw.server.max_sessions,
      memoryBytesMax: raw.server.memory_limit,
      sessionIdleTimeoutMs: raw.server.session_idle_timeout,
      shutdownTimeoutMs: raw.server.shutdown_timeout,
    },
    tls: {
      caCertFile: places.absolute(raw.tls.ca_cert),
      serverCertFile: places.absolute(raw.tls.server_cert),
      serverKeyFile: places.absolute(raw.tls.server_key),
      caKeyFile: places.optional(raw.tls.ca_key),
    },
    storages: Object.entries(raw.storages).map(([name, storage]) => toStorage(name, storage, places)),
    flowRotation: {
      enabled: raw.flow_rotation.enabled,
      minMbps: raw.flow_rotation.min_mbps,
      evalWindowMs: raw.flow_rotation.eval_window,
      cooldownMs: raw.flow_rotation.cooldown,
    },
    chunkBuffer: { bytesMax: raw.chunk_buffer.size, drainRatio: raw.chunk_buffer.drain_ratio },
    controlLostGracePeriodMs: raw.control_lost_grace_period,
    webUi: toWebUi(raw.web_ui, places, placesOf(`${stateDir}/records`)),
    logging: toLogging(raw.logging, places),
  };
}
