/** The agent.yaml that `nbackup-agent enroll` writes: what it asked for or found, with a comment at everything a person may want to change. */
import { text } from "./made-text.ts";

export interface MadeAgent {
  readonly name: string;
  /** `backup.example.org:9847` */
  readonly server: string;
  /** Paths as they are to stand in the file. */
  readonly caCert: string;
  readonly clientCert: string;
  readonly clientKey: string;
  /** Of the server, those that this agent may use; the first is taken. None: the file says what is to be done. */
  readonly storages: readonly string[];
  /** Absolute; `optional` ones may be missing. */
  readonly sources: readonly { readonly path: string; readonly optional: boolean }[];
  readonly exclude: readonly string[];
  /** How the command is run, for the comment at the top: with or without --config. */
  readonly checkCommand: string;
}

/** Where no name is known the most usual one stands in the file: a key must be there. */
export const UNKNOWN_STORAGE = "main";

export function agentYaml(made: MadeAgent): string {
  const { storages, sources, exclude } = made;
  const lines = [
    "# Configuration of nbackup-agent, made by nbackup-agent enroll. Every key and its default: docs/configuration.md.",
    `# After a change: ${made.checkCommand}`,
    "",
    "agent:",
    "  # As the certificate says.",
    `  name: ${text(made.name)}`,
    "",
    "server:",
    `  address: ${text(made.server)}`,
    "",
    "tls:",
    `  ca_cert: ${text(made.caCert)}`,
    `  client_cert: ${text(made.clientCert)}`,
    `  client_key: ${text(made.clientKey)}`,
    "",
    "backups:",
    "  - name: system",
    ...storageComment(made).map((line) => `    # ${line}`),
    `    storage: ${text(storages[0] ?? UNKNOWN_STORAGE)}`,
    "    # When the daemon runs it: minute, hour, day of the month, month, day of the week, in local time.",
    '    schedule: "0 2 * * *"',
    "    # Up to so much later, so that many agents do not all come at once.",
    "    schedule_jitter: 30m",
    "    # Make up for a run that the machine slept through.",
    "    run_missed: true",
    "    # What is backed up. One that is not there fails the entry, unless it is optional.",
    "    sources:",
    ...sources.flatMap(({ path, optional }) => [
      `      - path: ${text(path)}`,
      ...(optional ? ["        optional: true"] : []),
    ]),
    "    # Patterns that begin with a star must be quoted.",
    "    exclude:",
    ...exclude.map((pattern) => `      - ${JSON.stringify(pattern)}`),
    "    # Stay on the filesystem of each source; leave out what is in directories with a CACHEDIR.TAG.",
    "    # one_file_system: true",
    "    # exclude_caches: true",
    "    # One connection is enough for most links; 1 to 255 use up to as many streams.",
    "    # parallels: 4",
    "    # bandwidth_limit: 50mb",
    "    # Commands around each run, for instance to dump a database; when before fails the run is cancelled.",
    "    # hooks:",
    "    #   before: runuser -u postgres -- pg_dumpall > /srv/dump.sql",
    "    #   after: rm -f /srv/dump.sql",
    "",
    "# logging:",
    "#   level: info",
    "#   format: text",
    "",
  ];
  return lines.join("\n");
}

function storageComment({ storages, name }: MadeAgent): readonly string[] {
  if (storages.length === 0) {
    return [
      "A storage of the server. When this file was made it had none that this agent may use: on the server let",
      `allow_agents of one take ${name} and reload it, then put its name here.`,
    ];
  }
  const others = storages.slice(1);
  return [
    others.length === 0 ? "A storage of the server." : `A storage of the server, which has also ${others.join(", ")}.`,
  ];
}
