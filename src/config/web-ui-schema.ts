/** The `web_ui` section of server.yaml. */
import { described, list, optional, type Schema, section, type SectionOf, setting } from "./parts.ts";
import type { Places } from "./places.ts";
import { hostName, ipOrBlock, listenAddress } from "./server-values.ts";
import type { WebUiConfig } from "./types.ts";
import { duration, filePath, flag, integer } from "./values.ts";

const lines = (): Schema<number> => integer({ min: 1, max: 10_000_000 });
const timeout = (): Schema<number> => duration({ min: 100, max: 3_600_000 });
const addresses = (): Schema<readonly string[]> => list(ipOrBlock(), { min: 0, max: 10_000, things: "addresses" });

export const webUiShape = {
  enabled: setting(flag(), false, "Serve the page.", "A page nobody asked for is a door nobody watches."),
  listen: setting(
    listenAddress("127.0.0.1:9848"),
    "127.0.0.1:9848",
    "Where it listens.",
    "Reachable from the machine itself only.",
  ),
  allow_origins: setting(
    addresses(),
    [],
    "IP addresses and CIDR blocks that may look; everyone else gets 403. Required when enabled.",
  ),
  read_timeout: setting(timeout(), "5s", "For a request to arrive whole."),
  write_timeout: setting(timeout(), "15s", "For an answer to be taken."),
  idle_timeout: setting(timeout(), "60s", "For the next request on an open connection."),
  events_file: setting(
    filePath(),
    "events.jsonl",
    "Where events are kept, with or without the page. Relative paths of this section count from state_dir.",
  ),
  events_max_lines: setting(lines(), 10_000, "How many of them."),
  session_history_file: setting(
    filePath(),
    "session-history.jsonl",
    "Where ends of sessions and refusals of agents are kept, with or without the page.",
  ),
  session_history_max_lines: setting(lines(), 5000, "How many of them."),
  active_sessions_file: setting(filePath(), "active-sessions.jsonl", "Where snapshots of running sessions are kept."),
  active_sessions_max_lines: setting(lines(), 20_000, "How many of them."),
  active_snapshot_interval: setting(duration({ min: 1000, max: 86_400_000 }), "5m", "Pause between two snapshots."),
  bucket_upload_file: optional(filePath(), "Accepted without effect."),
  bucket_upload_max_lines: optional(lines(), "Accepted without effect."),
  storage_scan_interval: setting(
    duration({ min: 30_000, max: 7 * 86_400_000 }),
    "1h",
    "Pause between two looks at what the storages hold.",
    "A look reads every directory of the storage.",
  ),
  password_file: optional(
    filePath(),
    "File with the hash of the password that the page asks for; nbackup-server web-password makes it.",
  ),
  tls_cert: optional(
    filePath(),
    "PEM file of the page's certificate; required beyond loopback when a password is set.",
  ),
  tls_key: optional(filePath(), "PEM file of its private key."),
  allow_download: setting(
    flag(),
    false,
    "Let the page browse archives and hand out files; needs password_file.",
    "Backups hold everybody's secrets.",
  ),
  host_names: setting(
    list(hostName(), { min: 0, max: 100, things: "names" }),
    [],
    "Names by which browsers ask for the page, beside addresses, localhost, the machine's own name and those in tls_cert. Others are refused.",
    "Or a page of somebody else's could have its own name lead here.",
  ),
  trusted_proxies: setting(addresses(), [], "Proxies whose X-Forwarded-For is believed."),
};

export const webUiSchema = described(section(webUiShape), "The page for administrators.");

/** Files of the page's own records lie under the state directory, certificates beside the configuration file. */
export function toWebUi(raw: SectionOf<typeof webUiShape>, places: Places, state: Places): WebUiConfig {
  return {
    enabled: raw.enabled,
    listen: raw.listen,
    allowOrigins: raw.allow_origins,
    readTimeoutMs: raw.read_timeout,
    writeTimeoutMs: raw.write_timeout,
    idleTimeoutMs: raw.idle_timeout,
    eventsFile: state.absolute(raw.events_file),
    eventsLinesMax: raw.events_max_lines,
    sessionHistoryFile: state.absolute(raw.session_history_file),
    sessionHistoryLinesMax: raw.session_history_max_lines,
    activeSessionsFile: state.absolute(raw.active_sessions_file),
    activeSessionsLinesMax: raw.active_sessions_max_lines,
    activeSnapshotIntervalMs: raw.active_snapshot_interval,
    storageScanIntervalMs: raw.storage_scan_interval,
    passwordFile: places.optional(raw.password_file),
    tlsCertFile: places.optional(raw.tls_cert),
    tlsKeyFile: places.optional(raw.tls_key),
    allowDownload: raw.allow_download,
    hostNames: raw.host_names,
    trustedProxies: raw.trusted_proxies,
  };
}
