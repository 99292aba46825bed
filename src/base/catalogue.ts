/**
 * The error catalogue: one row per code. `exit` is the exit status of a command that ends with it, `retry` whether
 * the agent may try again by itself, `hint` what a person can do. A code is never renamed or reused.
 */

export interface CatalogueRow {
  readonly exit: number;
  readonly retry: boolean;
  readonly hint: string;
}

const row = (exit: number, retry: boolean, hint: string): CatalogueRow => ({ exit, retry, hint });

export const CATALOGUE = {
  // Usage and configuration: exit 2.
  E_USAGE: row(2, false, "Run the command with --help to see what it takes."),
  E_CONFIG: row(2, false, "Correct the file and run check-config again."),
  E_CONFIG_READ: row(2, false, "Check the path given with --config and that the file can be read."),
  E_CERTIFICATE: row(2, false, "Make the certificates again with nbackup-server pki, or correct the paths under tls."),
  E_REQUEST: row(
    1,
    false,
    "Certificate requests are made by nbackup-agent: check that both sides run matching versions.",
  ),
  E_WRITE: row(1, false, "Check that the directory exists, that it may be written and that its disk has room."),
  E_NAME: row(2, false, "Names are 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit."),

  // The source.
  E_SOURCE_MISSING: row(1, false, "Mount or create the source, or mark it optional: true in the configuration."),
  E_SOURCE_LINK: row(1, false, "Name the directory or file that the symbolic link points to."),
  E_SOURCE_NESTED: row(2, false, "Remove the source that lies inside the other one."),
  E_EXHAUSTED: row(
    1,
    false,
    "Raise LimitNOFILE of the service, or ulimit -n of the shell, when descriptors ran out; free memory, or lower resume.buffer_size of the agent, when memory did.",
  ),
  E_HOOK: row(1, false, "The log has what the command printed; mend it, or take it out of hooks of the entry."),

  // Reaching the server.
  E_STATE_DIR: row(1, false, "Let the user that the program runs as write its state_dir, or name another one."),
  E_NOT_RUNNING: row(1, false, "Start it, or name the configuration file of the one that runs with --config."),
  E_LISTEN: row(1, false, "Check server.listen, and that no other program uses the port."),
  E_WEB: row(
    1,
    false,
    "Check the section web_ui: listen, password_file, tls_cert and tls_key. Backups go on without the page.",
  ),
  E_CONNECT: row(1, true, "Check server.address, the network, and that nbackup-server runs."),
  E_TLS: row(
    1,
    false,
    "Check that both sides have certificates of the same CA, valid now, and that the address is in the server's certificate.",
  ),
  E_DISCONNECTED: row(1, true, "The connection broke; the agent reconnects by itself."),
  E_TIMEOUT: row(1, true, "The peer did not answer in time; check the network and the server's load."),
  E_PROTOCOL: row(1, false, "The peer broke the protocol: check that both sides run nbackup of a matching version."),
  E_PEER: row(1, false, "The peer gave a code that this version does not know: see its text, and update this side."),
  E_VERSION: row(1, false, "Install the same major version of nbackup on both sides."),
  E_FRAME_TOO_LARGE: row(
    1,
    false,
    "The peer broke the protocol: check that both sides run nbackup of a matching version.",
  ),

  // Enrolment.
  E_ENROLL_TOKEN: row(
    1,
    false,
    "Make a new token on the server, nbackup-server pki enroll-token AGENT, and use it within an hour.",
  ),
  E_ENROLL_SERVER: row(
    1,
    false,
    "Check HOST:PORT, and that the token was made on that server. If both are right somebody stands between the two machines: do not go on.",
  ),
  E_ENROLL_LIVE: row(
    1,
    false,
    "If that machine is to be replaced, give --replace: its certificates are revoked when the new one is delivered. Else choose another name.",
  ),
  E_ENROLL_OFF: row(
    1,
    false,
    "Name the CA's key with tls.ca_key in server.yaml and reload the server, or make the certificate with nbackup-server pki agent where the key is.",
  ),

  // Refusals by the server.
  E_IDENTITY: row(2, false, "agent.name must equal the CN of the agent's certificate."),
  E_REVOKED: row(
    1,
    false,
    "An administrator of the server revoked this agent's certificate: nbackup-server pki enroll-token makes way for a new one.",
  ),
  E_RENEWAL: row(
    1,
    false,
    "The old certificate stays in use until its end; the agent asks again tomorrow. By hand: nbackup-server pki renew NAME.",
  ),
  E_STORAGE_UNKNOWN: row(1, false, "Name a storage that server.yaml defines."),
  E_STORAGE_DENIED: row(1, false, "Add the agent to allow_agents of the storage, or use another one."),
  E_STORAGE_FAILED: row(1, true, "The storage's directory cannot be used: look at the server's log and its disk."),
  E_BACKUP_UNKNOWN: row(1, false, "Name a backup entry of that agent: nbackup-server agents --json lists them."),
  E_NOT_CONNECTED: row(
    1,
    true,
    "Check that nbackup-agent runs there as a daemon, with daemon.control_channel.enabled, and reaches this server.",
  ),
  E_BUSY: row(1, true, "Wait for the running session to end, or abort it on the server."),
  E_FULL: row(1, false, "Free space on the storage, lower max_backups and run nbackup-server prune, or lower reserve."),
  E_MAINTENANCE: row(1, true, "The server is in maintenance; the agent tries again by itself."),
  E_SHUTDOWN: row(1, true, "The server is stopping; the agent tries again by itself."),
  E_LIMIT: row(1, true, "A limit of the server was reached: raise it in server.yaml or lower parallels."),
  E_WINDOW_SIZE: row(2, false, "Raise resume.buffer_size, or lower resume.chunk_size or resources.workers."),

  // The end of a session.
  E_SESSION_GONE: row(1, true, "The server no longer knows the session; the next attempt starts from the beginning."),
  E_SESSION_EXPIRED: row(1, true, "Nothing was heard of the agent for session_idle_timeout."),
  E_SUPERSEDED: row(
    1,
    false,
    "A newer run of this backup took its place. If nobody started one, look for another machine with the same certificate.",
  ),
  E_ABORTED: row(1, false, "The session was aborted on purpose; the log of the server says by whom."),
  E_DISOWNED: row(1, true, "The agent gave the session up; its next run starts from the beginning."),
  E_GIVE_UP: row(1, true, "No progress for resume.give_up_after: check the network and the server."),
  E_DISK_FULL: row(1, false, "The server's disk filled up: free space and run the backup again."),
  E_DISK: row(1, false, "The server's disk reported an error: check it before trusting it with more backups."),
  E_MISMATCH: row(
    1,
    true,
    "What arrived is not what was read; nothing was committed. If it happens again check the memory of both machines.",
  ),
  E_CHUNK_DAMAGED: row(1, true, "A chunk arrived damaged and is sent again."),

  // Reading an archive.
  E_ARCHIVE_DAMAGED: row(
    1,
    false,
    "Verify the archive to learn which files are affected; all others can still be restored.",
  ),
  E_ARCHIVE_FOREIGN: row(1, false, "Name an archive: a .tar.gz, .tar.zst or .tar, of nbackup or of another program."),
  E_ARCHIVE_UNKNOWN: row(1, false, "The list command shows the archives there are; name one by its time, or latest."),
  E_PATH_UNKNOWN: row(
    1,
    false,
    "The ls command shows what is in the archive; names are absolute paths without the slash in front.",
  ),
  E_RESTORE_DENIED: row(
    1,
    false,
    "The storage has allow_agent_restore: false. Restore on the server, or let its administrator change that.",
  ),
  E_ARCHIVE_READ: row(1, false, "Check the path of the archive, and that its file can be read."),
  E_TARGET: row(1, false, "Check that the target directory exists and may be written, and that its disk has room."),

  // The rest.
  E_INDEX_DAMAGED: row(
    1,
    false,
    "The archive itself is not affected: it is read from its beginning instead. Make the index again with nbackup-server index rebuild.",
  ),
  E_INDEX_UNSORTED: row(
    1,
    false,
    "Archives of other programs have files in an order of their own; too many of them cannot be compared. Restore and list work.",
  ),
  E_LOCKED: row(1, false, "Another nbackup program uses this directory; stop it first."),
  E_OUTPUT_CLOSED: row(141, false, "Whoever read the output stopped reading; nothing is wrong with that."),
  E_INTERRUPTED: row(130, false, "The run was interrupted; run it again."),
  E_INTERNAL: row(1, false, "This is a bug in nbackup: please report it with the log."),
} as const satisfies Record<string, CatalogueRow>;

export type ErrorCode = keyof typeof CATALOGUE;

/** True for a code of this version's catalogue. A peer may know others. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(CATALOGUE, text);
}
