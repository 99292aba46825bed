/** The keys of agent.yaml, and the configuration they become. Rules across keys are in agent-rules.ts. */
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_STEP } from "#base/chunk-size.ts";
import { GiB, MiB } from "#base/units.ts";
import { ioClass } from "./agent-values.ts";
import { backupSchema, toBackupEntry } from "./backup-schema.ts";
import { loggingSchema, toLogging } from "./logging-schema.ts";
import { described, list, optional, required, section, type SectionOf, setting } from "./parts.ts";
import type { Places } from "./places.ts";
import { defaultStateDir, type Environment } from "./state-dir.ts";
import type { AgentConfig } from "./types.ts";
import { address, duration, filePath, flag, integer, name, size } from "./values.ts";

const BACKUPS_MAX = 1000;
const DAY_MS = 86_400_000;

export const retryShape = {
  max_attempts: setting(
    integer({ min: 1, max: 1000 }),
    5,
    "How often starting a session is tried, the first try included. A session that the server lost is begun again; the count starts anew when something of it was acknowledged, but one and the same failure is met at most so often in a run. A scheduled run of the daemon asks for an hour, or until the entry is due again, however often that is. What only a person can mend (E_FULL, E_DISK_FULL, E_DISK …) ends the run at once.",
    "With the delays below the last attempt starts within 15 seconds, so --once soon says what is wrong.",
  ),
  initial_delay: setting(
    duration({ min: 1, max: DAY_MS }),
    "1s",
    "Wait before the second attempt; it doubles from attempt to attempt, less a random part.",
    "A server that restarts is back in seconds.",
  ),
  max_delay: setting(
    duration({ min: 1, max: DAY_MS }),
    "5m",
    "The longest wait.",
    "A server that comes back is found again within minutes.",
  ),
};

export const resumeShape = {
  buffer_size: setting(
    size({ min: MiB, max: 64 * GiB }),
    "256mb",
    "The window: memory for what was sent but is not yet on the server's disk. At least (workers + 4) × (chunk_size + 1mb).",
    "Two seconds at 1 Gbit/s, so that a dropped connection or a disk that hesitates costs nothing.",
  ),
  chunk_size: optional(
    size({ min: CHUNK_BYTES_MIN, max: CHUNK_BYTES_MAX, step: CHUNK_BYTES_STEP }),
    "The most file data in one chunk, the unit of compression and of resending.",
    "1mb for gzip, 4mb for zst",
    "gzip gains nothing from longer pieces; zstd does, up to 4mb.",
  ),
  give_up_after: setting(
    duration({ min: 1000, max: 365 * DAY_MS }),
    "24h",
    "How long a running session may go without progress before the agent gives it up.",
    "As long as the server keeps a session (session_idle_timeout).",
  ),
};

export const resourcesShape = {
  workers: setting(
    integer({ min: 0, max: 256 }),
    0,
    "Threads that compress; 0: as many as the cores this process may use, at most 8.",
    "A backup that uses all of a large machine is rarely wanted.",
  ),
  nice: optional(
    integer({ min: -20, max: 19 }),
    "Priority of the process: 19 is served last, below 0 needs root.",
    "10; with --once on a terminal 0",
    "What the machine is there for goes first, unless somebody is waiting.",
  ),
  io_class: setting(
    ioClass(),
    "best-effort-7",
    "Priority at the disk: 0 is served first, 7 last; idle only when nobody else reads.",
    "The last of the ordinary ones still makes progress on a busy disk, idle may not.",
  ),
};

const controlChannelSchema = section({
  enabled: setting(flag(), true, "Keep a connection to the server, sessions or not."),
  keepalive_interval: setting(
    duration({ min: 1000, max: 3_600_000 }),
    "30s",
    "Pause between two keep-alives.",
    "Shorter than the idle timeouts of common firewalls.",
  ),
  reconnect_delay: setting(
    duration({ min: 1, max: DAY_MS }),
    "5s",
    "Wait before the first reconnection; it doubles from attempt to attempt.",
  ),
  max_reconnect_delay: setting(duration({ min: 1, max: DAY_MS }), "5m", "The longest wait."),
});

const shape = {
  agent: described(
    section({
      name: required(name(), "Name of this agent; must equal the CN of its certificate. Part of the archive's path."),
      state_dir: optional(
        filePath(),
        "Directory of what the daemon remembers: last runs and results, what the sources were. Without it --once remembers nothing, and makes none.",
        "$STATE_DIRECTORY, else /var/lib/nbackup-agent if this file lies under /etc, else nbackup-agent-state beside it",
        "systemd sets the first one; the last lets anybody try the agent without root.",
      ),
    }),
    "Who this agent is.",
  ),
  server: described(
    section({
      address: required(address("backup.example.com:9847"), "The server; the host must be in its certificate."),
    }),
    "Where the server is.",
  ),
  tls: described(
    section({
      ca_cert: required(filePath(), "PEM file of the CA; several may stand in it."),
      client_cert: required(filePath(), "PEM file of this agent's certificate."),
      client_key: required(filePath(), "PEM file of its private key, readable by its owner only."),
      renew: setting(
        flag(),
        true,
        "The daemon, or without one a run of --once, asks the server for a new certificate, with a new key, when a third of the old one's life is left, over the control channel, and replaces both files. Where another program keeps them, set it to false.",
        "A certificate that runs out ends all backups.",
      ),
    }),
    "Certificates. Relative paths count from the directory of this file.",
  ),
  backups: required(
    list(backupSchema, { min: 1, max: BACKUPS_MAX, things: "backup entries" }),
    "What is backed up, and to which storage.",
  ),
  retry: described(section(retryShape), "For starting a session; one that runs reconnects until resume.give_up_after."),
  resume: described(section(resumeShape), "What lets a session go on after a dropped connection."),
  resources: described(section(resourcesShape), "What the agent may take of the machine."),
  daemon: described(
    section({
      max_concurrent: setting(
        integer({ min: 1, max: 64 }),
        1,
        "Backup entries that run at the same time; others that are due wait in the order of their times.",
        "Two at once read the same disks and share one link: each is slower, and both need a window.",
      ),
      control_channel: described(controlChannelSchema, "Without it everything but the channel's own functions works."),
    }),
    "The agent as a service.",
  ),
  logging: loggingSchema,
};

export const agentSchema = section(shape);

export function toAgentConfig(raw: SectionOf<typeof shape>, places: Places, env: Environment): AgentConfig {
  const channel = raw.daemon.control_channel;
  return {
    configFile: places.configFile,
    agent: {
      name: raw.agent.name,
      stateDir: places.optional(raw.agent.state_dir) ?? defaultStateDir("agent", places.configFile, env),
    },
    server: raw.server.address,
    tls: {
      caCertFile: places.absolute(raw.tls.ca_cert),
      clientCertFile: places.absolute(raw.tls.client_cert),
      clientKeyFile: places.absolute(raw.tls.client_key),
      renew: raw.tls.renew,
    },
    backups: raw.backups.map(toBackupEntry),
    retry: {
      maxAttempts: raw.retry.max_attempts,
      initialDelayMs: raw.retry.initial_delay,
      maxDelayMs: raw.retry.max_delay,
    },
    resume: {
      bufferBytes: raw.resume.buffer_size,
      chunkBytes: raw.resume.chunk_size,
      giveUpAfterMs: raw.resume.give_up_after,
    },
    resources: { workers: raw.resources.workers, nice: raw.resources.nice, ioClass: raw.resources.io_class },
    daemon: { maxConcurrent: raw.daemon.max_concurrent },
    controlChannel: {
      enabled: channel.enabled,
      keepaliveIntervalMs: channel.keepalive_interval,
      reconnectDelayMs: channel.reconnect_delay,
      maxReconnectDelayMs: channel.max_reconnect_delay,
    },
    logging: toLogging(raw.logging, places),
  };
}
