/** The server.yaml that `nbackup-server setup` writes: what was answered, with a comment at everything a person may want to change. */
import { text } from "./made-text.ts";

export interface MadeServer {
  readonly listen: string;
  readonly enrollListen: string;
  readonly caCert: string;
  readonly serverCert: string;
  readonly serverKey: string;
  /** Undefined: this server issues no certificates. */
  readonly caKey: string | undefined;
  readonly storages: readonly { readonly name: string; readonly baseDir: string; readonly maxBackups: number }[];
  /** How the command is run, for the comment at the top: with or without --config. */
  readonly checkCommand: string;
}

export function serverYaml(made: MadeServer): string {
  const { caKey, storages } = made;
  const lines = [
    "# Configuration of nbackup-server, made by nbackup-server setup. Every key and its default: docs/configuration.md.",
    `# After a change: ${made.checkCommand}`,
    "# Run setup again after adding a storage: it makes the directory, and opens it for the service.",
    "",
    "server:",
    "  # Where agents connect to.",
    `  listen: ${text(made.listen)}`,
    "  # Where new agents enrol: open only while a token of nbackup-server pki enroll-token is good.",
    `  enroll_listen: ${text(made.enrollListen)}`,
    "  # Sessions that run at the same time; further agents wait.",
    "  # max_sessions: 32",
    "",
    "tls:",
    `  ca_cert: ${text(made.caCert)}`,
    `  server_cert: ${text(made.serverCert)}`,
    `  server_key: ${text(made.serverKey)}`,
    "  # The CA's key: with it new agents enrol and certificates renew themselves. Whoever has it can make certificates.",
    ...(caKey === undefined ? ["  # ca_key: PATH"] : [`  ca_key: ${text(caKey)}`]),
    "",
    "storages:",
    ...storages.flatMap(({ name, baseDir, maxBackups }) => [
      `  ${text(name)}:`,
      "    # Archives lie in <base_dir>/<agent>/<backup>/.",
      `    base_dir: ${text(baseDir)}`,
      "    # Archives kept of each agent and backup entry.",
      `    max_backups: ${maxBackups}`,
      "    # gzip makes .tar.gz, zst makes .tar.zst.",
      "    # compression_mode: zst",
      "    # Only these agents; without it, all with a certificate of the CA.",
      '    # allow_agents: ["web-*", "db-01"]',
    ]),
    "",
    "# A page with what runs, for browsers on this machine: http://127.0.0.1:9848",
    "# web_ui:",
    "#   enabled: true",
    "#   allow_origins: [127.0.0.1]",
    "",
    "# logging:",
    "#   level: info",
    "#   format: text",
    "",
  ];
  return lines.join("\n");
}
