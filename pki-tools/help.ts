/** The help texts of `nbackup-server pki`, at most 100 columns wide. */

export type HelpTopic = "pki" | "init" | "server" | "agent" | "enroll-token" | "show";

const DIR = "  --dir D      directory of the CA; ";
const JSON_LINE =
  "  --json       one JSON object instead of text: certificate, key, subject, names[], serial,\n               notAfter, fingerprint";
const FORCE = "  --force      replace certificate and key if they are there";

const TEXTS: Record<HelpTopic, readonly string[]> = {
  pki: [
    "nbackup-server pki: a certificate authority (CA) for mutual TLS, without openssl",
    "",
    "  nbackup-server pki init --dir D                    make the CA",
    "  nbackup-server pki server HOST[,IP…] --dir D       make the server's certificate",
    "  nbackup-server pki agent NAME --dir D              make an agent's certificate",
    "  nbackup-server pki enroll-token AGENT              let a new machine make its own",
    "  nbackup-server pki show [FILE…] [--dir D]          say what certificates hold",
    "",
    "Files, all PEM: ca.pem, ca-key.pem, server.pem, server-key.pem, NAME.pem, NAME-key.pem.",
    "Keys are ECDSA P-256, PKCS#8 without a password, mode 0600. ca.pem goes to every machine;",
    "ca-key.pem goes nowhere: whoever has it can make certificates; only a server that enrols agents",
    "may read it (tls.ca_key). Nothing is overwritten without --force.",
    "",
    "Exit codes: 0 done, 1 the files could not be written, 2 wrong usage or certificates.",
    "nbackup-server pki COMMAND --help says more.",
  ],
  init: [
    "nbackup-server pki init --dir D [--days N] [--force] [--json]",
    "",
    "Makes a CA: D/ca.pem and D/ca-key.pem.",
    "",
    `${DIR}created with mode 0700 if it is missing`,
    "  --days N     days from now until it ends, 1 to 36500; 3650 unless given",
    "  --force      replace the CA: every certificate of the old one ends to be of use",
    JSON_LINE,
  ],
  server: [
    "nbackup-server pki server HOST[,IP…] --dir D [--days N] [--force] [--json]",
    "",
    "Makes the server's certificate: D/server.pem and D/server-key.pem.",
    "",
    "  HOST[,IP…]   every host name and IP address under which agents reach the server, with commas:",
    "               backup.example.org,192.0.2.7,2001:db8::1",
    `${DIR}must hold ca.pem and ca-key.pem`,
    "  --days N     days from now until it ends, 1 to 36500 and not after the CA; 825 unless given",
    FORCE,
    JSON_LINE,
  ],
  agent: [
    "nbackup-server pki agent NAME --dir D [--days N] [--force] [--json]",
    "",
    "Makes an agent's certificate: D/NAME.pem and D/NAME-key.pem.",
    "",
    "  NAME         agent.name in its agent.yaml: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or",
    "               digit; not a name of the server, nor server, ca or one that ends in -key",
    `${DIR}must hold ca.pem and ca-key.pem`,
    "  --days N     days from now until it ends, 1 to 36500 and not after the CA; 825 unless given",
    FORCE,
    JSON_LINE,
  ],
  "enroll-token": [
    "nbackup-server pki enroll-token AGENT [--replace] [--config FILE] [--json]",
    "",
    "Asks the running server for a token with which one machine may enrol as AGENT within an hour:",
    "nbackup-agent enroll HOST:PORT TOKEN, on that machine, makes a key there and gets its certificate.",
    "The server must have tls.ca_key. It opens server.enroll_listen while a token is good.",
    "",
    "  AGENT          the agent's name: 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit",
    "  --replace      AGENT has a certificate that is still valid: when the new one was delivered,",
    "                 all older ones are revoked",
    "  --config FILE  configuration of the running server; /etc/nbackup/server.yaml unless given",
    "  --json         one JSON object: agent, token, server, expires, replace",
    "",
    "A token is a secret until it is used: whoever has it can become AGENT.",
  ],
  show: [
    "nbackup-server pki show [FILE…] [--dir D] [--json]",
    "",
    "Says of each certificate: subject, names, usages, validity, days left, SHA-256 fingerprint, and",
    "whether ca.pem has issued it.",
    "",
    "  FILE…        PEM files; without any, all *.pem of the directory",
    "  --dir D      directory of ca.pem; unless given, that of each FILE",
    "  --json       one JSON object per certificate and line: file, number, subject, issuer, serial,",
    "               dnsNames[], ipAddresses[], ca, keyUsages[], extendedKeyUsages[], notBefore,",
    "               notAfter, validity (valid, expired, not-yet-valid), daysLeft, fingerprint,",
    "               chainsToCa (true, false, null without a ca.pem), problem (a sentence or null)",
  ],
};

/** The whole first, then each command. */
export const HELP_TOPICS = Object.keys(TEXTS) as readonly HelpTopic[];

export function helpText(topic: HelpTopic): string {
  return `${TEXTS[topic].join("\n")}\n`;
}
