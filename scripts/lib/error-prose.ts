/**
 * What each code means, for docs/troubleshooting.md, where the hint of the catalogue alone would leave somebody asking. Exit status, retry and
 * hint are the catalogue's and not said again here. A code without words is a type error.
 */
import type { ErrorCode } from "#base/catalogue.ts";

/** Markdown; links count from docs/. */
export const ERROR_PROSE: Readonly<Record<ErrorCode, string>> = {
  E_USAGE:
    "The command line has a word or an option that the program does not take, or lacks one that it needs. Nothing was done.",
  E_CONFIG:
    "The configuration says something that cannot be. Each mistake is named with its line, what was found and what is allowed ([Configuration](configuration.md)). At a start the program ends; at a reload it goes on with what it had.",
  E_CONFIG_READ: "The configuration file is not there, cannot be read by this user, or is too long.",
  E_CERTIFICATE:
    "A certificate or key of our own side is of no use: missing, unreadable, not PEM, for another purpose, ended, or not a pair. The message names the file. What is wrong with the other side's certificate is [E_TLS](#e_tls).",
  E_REQUEST:
    "The server got a certificate request that it does not sign: another kind of key, a wrong signature, or none at all.",
  E_ENROLL_TOKEN:
    "The server does not take the token: it is unknown, an hour has passed, it was used up, or it was mistyped. After several wrong ones the server makes the address wait.",
  E_ENROLL_SERVER:
    "Who answers at the enrolment port has another CA than the token names, or cannot prove that it has that one. Nothing secret was sent.",
  E_ENROLL_LIVE:
    "The name has a certificate that is still good, and a token for it would let another machine have its archives. See [Enrol an agent](certificates.md#enrol-an-agent).",
  E_ENROLL_OFF:
    "The server has no CA's key to sign with (`tls.ca_key`), so that it makes no tokens. See [With the CA on another machine](certificates.md#with-the-ca-on-another-machine).",
  E_REVOKED:
    "The agent's certificate was revoked: by `nbackup-server pki revoke`, or because another machine enrolled under its name with `--replace`. See [Revocation](security-model.md#revocation).",
  E_WRITE: "A file that a command was to make (a certificate, the hash of a password) could not be written.",
  E_NAME: "A name of an agent, a backup entry, a storage or a session is not one.",
  E_SOURCE_MISSING:
    "A source of the entry is not there, or its disk did not answer for a minute. It is asked before the server hears of the run: so a disk that is not mounted does not become a good empty backup. Other entries go on.",
  E_SOURCE_LINK:
    "A source is a symbolic link. What it points to may change without anybody saying so, so the configuration has to name the place itself.",
  E_SOURCE_NESTED:
    "One source of the entry lies inside another one, if need be behind links: its files would be there twice.",
  E_EXHAUSTED:
    "While files were read for a backup, or written for a restore, the process was at its limit of open files, or the machine was at its own or had no memory left. That says nothing of the files, and an archive of those that could still be opened would pass for a backup: so the run fails and nothing is committed. A restore ends so too: what it has restored stays, and the same command with `--overwrite if-changed` goes on.",
  E_HOOK:
    "`hooks.before` of the entry failed or took longer than `timeout`. The run was cancelled before the server heard of it. See [Hooks](agent.md#hooks).",
  E_STATE_DIR: "The directory in which the program keeps its records cannot be made, read, written or locked.",
  E_NOT_RUNNING:
    "A command that asks the running program found none: there is no `control.sock` in its `state_dir`, or nobody answers there. The program may run with another configuration file, or the command as another user.",
  E_LISTEN: "The server cannot have the address or port that it is to listen on.",
  E_WEB: "The page cannot be served. The event is `page.failed`; nothing else is affected.",
  E_CONNECT:
    "No TCP connection to the server: its name cannot be resolved, nobody listens there, a firewall is in the way, or there is no route. `nbackup-agent health backup.example.org:9847` tries just that.",
  E_TLS:
    "The connection was made, and one side does not accept the other's certificate. The message says which and why: made by another CA, ended, not valid yet, without this host's name. A clock that is wrong looks the same as a certificate that ended. The server closes a connection without a word when it does not accept the agent's certificate; its own log has a line about it. See [Certificates](certificates.md).",
  E_DISCONNECTED: "The connection broke. A session goes on over the next one from what the server holds.",
  E_TIMEOUT: "The other side, or a disk, said nothing for longer than it may.",
  E_PROTOCOL: "The other side sent what [the protocol](../src/wire/PROTOCOL.md) does not allow.",
  E_PEER: "The other side is newer and gave a code that this version does not have.",
  E_VERSION: "Both sides have no version of the protocol in common.",
  E_FRAME_TOO_LARGE:
    "The other side announced a message larger than its kind may be. It was refused before a byte of it was kept.",
  E_IDENTITY:
    "The agent calls itself something else than its certificate does. The name in the certificate decides whose archives are whose, so it cannot be changed in agent.yaml alone.",
  E_RENEWAL:
    "The agent asked the server for a new certificate and got none, or cannot put it in the place of the old one, for instance because its directory may not be written. See [Renewal](certificates.md#renewal).",
  E_STORAGE_UNKNOWN:
    "The entry names a storage that the server does not have. Storages are told apart by capitals too.",
  E_STORAGE_DENIED: "`allow_agents` of the storage does not name this agent.",
  E_STORAGE_FAILED:
    "The storage's directory is not there, not mounted, read-only, or does not answer. An empty directory where a storage was is refused as well. See [the symptom](#a-storage-is-read-only-not-mounted-or-not-a-directory).",
  E_BACKUP_UNKNOWN: "The agent has no entry of that name.",
  E_NOT_CONNECTED:
    "The agent has no control channel to this server at the moment, so that it cannot be asked for a run.",
  E_BUSY:
    "This entry of this agent runs or waits already, or all sessions are taken. Who seems to be alone should look for a second machine with the same certificate ([the symptom](#two-hosts-have-the-same-certificate)).",
  E_FULL:
    "The archive would not fit, judged by the size of the last one, beside the reserve and what running sessions still need. Nothing was begun. See [the symptom](#a-disk-is-full-before-a-backup-begins).",
  E_MAINTENANCE: "An administrator has switched maintenance on; its reason is in the message.",
  E_SHUTDOWN: "The server, or the agent that was asked, is about to stop.",
  E_LIMIT: "More connections, waiting agents, memory or messages than the server allows.",
  E_WINDOW_SIZE:
    "`resume.buffer_size` does not hold the chunks that are under way at once, with the chunk size that the storage's compression has.",
  E_SESSION_GONE: "The agent came back to a session that has ended, or that its server never had.",
  E_SESSION_EXPIRED: "The session waited for its agent for `session_idle_timeout` and was removed.",
  E_SUPERSEDED: "A newer run of the same entry has taken the session's place. This one does not come back.",
  E_ABORTED: "`nbackup-server abort` or `maintenance on --abort` ended the session.",
  E_DISOWNED: "The agent told the server that it gives the session up, for instance because it was stopped.",
  E_GIVE_UP: "The agent tried for `resume.give_up_after` and no chunk became durable in that time.",
  E_DISK_FULL:
    "The disk had room when the session began and has none now. What the session wrote was removed; no archive was touched. See [the symptom](#a-disk-fills-up-in-the-middle).",
  E_DISK:
    "A call to the disk failed. What a failed sync has dropped stays lost, so the session ends and nothing is tried again. See [the symptom](#a-disk-reports-an-error).",
  E_MISMATCH: "The archive that the server has is not the one that the agent made. See [the symptom](#a-mismatch).",
  E_CHUNK_DAMAGED:
    "One chunk was damaged; as the end of a session: more than a thousand were. See [the symptom](#a-damaged-chunk).",
  E_ARCHIVE_DAMAGED:
    "Some of the archive cannot be read, or is not what was written. Everything else can be restored: [A damaged archive](restore.md#a-damaged-archive).",
  E_ARCHIVE_FOREIGN: "The file is no archive, or its first bytes are damaged.",
  E_ARCHIVE_UNKNOWN:
    "No archive of that name. If `list` shows none at all: a wrong `agent.name`, a wrong storage, or a disk that is not mounted.",
  E_PATH_UNKNOWN:
    "The archive has nothing of that name. `find` looks for a name in all archives. `restore` of several paths fails with it when none of them is there; else it names the missing ones, restores the others, and exits with 3.",
  E_RESTORE_DENIED: "The agent may write archives into this storage, and not read them.",
  E_ARCHIVE_READ:
    "The file of an archive cannot be opened or read. What of it is damaged is another code, E_ARCHIVE_DAMAGED.",
  E_TARGET:
    "A restore cannot write where it is to write. What was restored so far stays; the same command with `--overwrite if-changed` goes on.",
  E_INDEX_DAMAGED:
    "The table of contents beside the archive (`.idx`) is damaged or belongs to another archive. No file is lost by that.",
  E_INDEX_UNSORTED:
    "A comparison or search would have to hold the whole table of contents of another program's archive in memory.",
  E_LOCKED:
    "Another process has the directory. The lock ends with that process, however it ended: there is no stale lock to remove.",
  E_OUTPUT_CLOSED: "For instance `head` has read what it wanted.",
  E_INTERRUPTED:
    "SIGINT, SIGTERM or SIGHUP: Ctrl-C, the service was stopped, or the terminal went away (not under `nohup`).",
  E_INTERNAL: "Something happened that the program holds to be impossible. It ends rather than go on with a doubt.",
};
