/** What the man pages say beyond the tables of the command line: how the programs are used, files, signals, examples. */

type Row = readonly [name: string, what: string];

export interface Manual {
  readonly description: readonly string[];
  readonly signals: readonly Row[];
  readonly environment: readonly Row[];
  readonly files: readonly Row[];
  /** A command that the program takes, and what it is for. */
  readonly examples: readonly Row[];
  readonly seeAlso: readonly (readonly [page: string, part: number])[];
  readonly documentation: string;
}

const STATE_DIRECTORY: Row = [
  "STATE_DIRECTORY",
  "Where the program keeps its records when the configuration does not say; systemd sets it.",
];
const NOTIFY: Row = [
  "NOTIFY_SOCKET, WATCHDOG_USEC",
  "Set by systemd: it is told when the program is ready, reloads, stops and lives.",
];

export const AGENT_MANUAL: Manual = {
  description: [
    "nbackup-agent walks directories of this machine and streams them, as tar compressed on all processors, to an nbackup-server. Nothing is written to the disk of this machine. Both sides present certificates of the same CA over TLS 1.3.",
    "Without a command it is a service that backs up by the schedules of its configuration file. With --once it runs the entries now. Its archives can be listed, searched, compared, restored and verified over the network.",
    "A connection that breaks does not end a backup: it goes on from what the server holds, for as long as resume.give_up_after says, without reading a file twice.",
  ],
  signals: [
    [
      "SIGHUP",
      "Read the configuration and certificates again and open the log file anew. What runs is not touched; a file with a mistake changes nothing.",
    ],
    ["SIGTERM, SIGINT", "Give up what runs, tell the server, and end. A second one ends at once."],
  ],
  environment: [
    STATE_DIRECTORY,
    NOTIFY,
    ["TZ", "The time zone of schedules; without it that of the machine."],
    ["NBACKUP_*", "What hooks are told: entry, storage, reason and result of the run. See the documentation."],
  ],
  files: [
    [
      "/etc/nbackup/agent.yaml",
      "The configuration file. It is not part of the package, which never changes or removes it.",
    ],
    ["/etc/nbackup/agent.yaml.example", "A commented example."],
    [
      "/etc/nbackup/ca.pem, agent.pem, agent-key.pem",
      "The CA that the server must have its certificate from, and this agent's certificate and key, as enroll writes them; the configuration may name others.",
    ],
    ["/etc/default/nbackup-agent", "Environment of the service, where it exists."],
    ["/var/lib/nbackup-agent/", "What the service remembers of each entry, and the socket of nbackup-agent status."],
    ["/var/log/nbackup-agent/", "For logging.file and logging.session_log_dir; without them the journal has the log."],
  ],
  examples: [
    [
      "nbackup-agent enroll backup.example.org:9846 TOKEN",
      "Become an agent of a server, whose enroll-token printed this:",
    ],
    ["nbackup-agent check-config", "Is the configuration right?"],
    ["nbackup-agent --once --backup system --progress", "Back up one entry now:"],
    ["nbackup-agent list", "Which archives of this machine are there?"],
    ["nbackup-agent find 'nginx.conf'", "Which versions of a file are there, and in which archives?"],
    [
      "nbackup-agent restore latest etc/nginx --backup system --to /tmp/restored",
      "Get a directory of the newest archive back:",
    ],
  ],
  seeAlso: [
    ["nbackup-server", 8],
    ["tar", 1],
    ["systemctl", 1],
  ],
  documentation:
    "The manual is in /usr/share/doc/nbackup-agent: getting started, every key of the configuration, restores, every error code with what to do, security.",
};

export const SERVER_MANUAL: Manual = {
  description: [
    "nbackup-server receives backups from nbackup-agents over TLS 1.3 with certificates on both sides and keeps the newest of each. What it stores are ordinary .tar.gz and .tar.zst files, which tar opens without nbackup.",
    "Without a command it is the service. An archive appears under its name only when all its bytes are on the disk and its SHA-256 is that of what the agent read. Sessions outlive a restart: their agents go on where they were.",
    "The archives can be listed, searched, compared, restored and verified on the server, also while no server runs and without its configuration (--storage-dir).",
  ],
  signals: [
    [
      "SIGHUP",
      "Read the configuration and certificates again and open the log file anew. Sessions are not touched; a file with a mistake changes nothing.",
    ],
    [
      "SIGTERM, SIGINT",
      "Stop: sessions have server.shutdown_timeout to finish; the others stay on the disk for the next start. A second one does not wait.",
    ],
  ],
  environment: [STATE_DIRECTORY, NOTIFY],
  files: [
    [
      "/etc/nbackup/server.yaml",
      "The configuration file. It is not part of the package, which never changes or removes it.",
    ],
    ["/etc/nbackup/server.yaml.example", "A commented example."],
    [
      "/etc/nbackup/pki/",
      "The CA, its key, the list of revocations, and the server's certificate and key, as setup makes them; the configuration may name others.",
    ],
    ["/etc/default/nbackup-server", "Environment of the service, where it exists."],
    [
      "/etc/systemd/system/nbackup-server.service.d/",
      "Drop-ins of the unit. ReadWritePaths= of each storage's base_dir stands there: elsewhere the service may not write.",
    ],
    ["/var/lib/nbackup/", "Records of the server, and the socket that commands reach it by."],
    ["/var/log/nbackup/", "For logging.file and logging.session_log_dir; without them the journal has the log."],
    [
      "BASE_DIR/AGENT/BACKUP/TIME.tar.gz, TIME.tar.zst",
      "An archive. Its index (.idx) and checksum (.sha256) lie beside it, and a file .damaged when it was found to be that.",
    ],
    ["BASE_DIR/.nbackup/", "Unfinished sessions and records of the storage. Only the server may touch it."],
  ],
  examples: [
    ["nbackup-server setup --hosts backup.example.org", "Make this machine a server, asking for the rest:"],
    ["nbackup-server pki enroll-token web-01", "Let a machine enrol as an agent:"],
    ["nbackup-server check-config", "Is the configuration right?"],
    ["nbackup-server status", "What does the running server do, and how are its storages?"],
    ["nbackup-server list web-01", "Which archives of an agent are there?"],
    [
      "nbackup-server restore web-01/system/latest etc/nginx --to /tmp/restored",
      "Get a directory of the newest archive back:",
    ],
    ["nbackup-server verify web-01/system/latest", "Is an archive whole?"],
    ["nbackup-server scrub --limit-time 4h", "Read again what was not read for long, for four hours at most:"],
  ],
  seeAlso: [
    ["nbackup-agent", 8],
    ["tar", 1],
    ["systemctl", 1],
    ["systemd.exec", 5],
  ],
  documentation:
    "The manual is in /usr/share/doc/nbackup-server: getting started, every key of the configuration, running the server, restores, every error code with what to do, security.",
};
