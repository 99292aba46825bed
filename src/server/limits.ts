/**
 * The server's own limits, which no configuration key changes: how many connections, waiting agents and memories of the
 * past there may be. Limits of the protocol itself stand in #wire/limits.ts.
 */
import { GiB, KiB, MiB } from "#base/units.ts";
import { READ_OPEN_MAX, SLOTS_MAX } from "#wire/limits.ts";

/**
 * All connections together: 32 sessions of 255 streams, and a thousand agents that wait in line. One costs a few KiB
 * while it is silent, so that a full house stays under 100 MB.
 */
export const CONNECTIONS_MAX = 10_000;

/**
 * Connections of one certificate: two sessions with every slot in use and each stream's predecessor not yet known to be
 * dead, and a few for control and health.
 */
export const AGENT_CONNECTIONS_MAX = 4 * (SLOTS_MAX + 1) + 16;

/** Connections that finished the handshake but have not said Hello: they last HELLO_TIMEOUT_MS, so this is a rate too. */
export const PRE_HELLO_CONNECTIONS_MAX = 1_024;

/** Of those, so many may be one certificate's: all streams of a session come at once, and leave room for others. */
export const AGENT_PRE_HELLO_CONNECTIONS_MAX = SLOTS_MAX + 45;

/** Connections that were refused at the door and are given time to hear why; further ones are closed at once. */
export const TURNED_AWAY_MAX = 256;

/** Agents that wait for a session: more than the largest installation meant here has. */
export const WAITING_MAX = 2_048;

/** Backup entries of one agent that run or wait at once: one that invents names must not fill the line by itself. */
export const AGENT_ENTRIES_MAX = 256;

/** Ended sessions remembered by reason, so that a resume learns why; the oldest is forgotten first. About 500 bytes each. */
export const ENDED_SESSIONS_MAX = 10_000;

/** A window larger than this would let the server's ledger of one session grow past its share of memory. */
export const WINDOW_BYTES_MAX = 16 * GiB;

/** Chunks that arrived damaged in one session: TLS lets none pass, so this many mean a broken machine. */
export const DAMAGED_CHUNKS_MAX = 1_024;

/**
 * Control frames one connection may send: at first a burst, then a steady rate. An agent needs a Ping in 5 s and a
 * handful of messages in its whole life; whoever sends more costs work for nothing and is closed.
 */
export const CONTROL_FRAMES_BURST = 256;
export const CONTROL_FRAMES_PER_SECOND = 32;

/**
 * A control frame counts once more for each so many bytes: taking apart a Ping of a control connection that tells of 64 entries costs
 * a hundred times what one without facts does. The largest one in each second is within the rate.
 */
export const CONTROL_FRAME_BYTES = 4 * KiB;

/** Control bytes queued for a peer that does not read: more than this and the connection is closed. */
export const CONTROL_QUEUE_BYTES_MAX = 256 * KiB;

/**
 * Two Sacks of a session are at least so far apart: else every tiny chunk with PUSH would be answered with a Sack a
 * hundred times its size. Little beside any round trip.
 */
export const SACK_GAP_MS = 5;

/** Phase messages during Finish come at least this often. */
export const PHASE_PERIOD_MS = 5_000;

/** How long a health connection waits for one storage's disk: a dead one must not keep the others from being told. */
export const HEALTH_DISK_MS = 5_000;

/** Connections of agents that read archives: each holds half a megabyte while it is answered. */
export const READ_CONNECTIONS_MAX = 64;

/** Of those, so many may be one certificate's: several commands at once, and some that have not yet noticed their end. */
export const AGENT_READ_CONNECTIONS_MAX = 8;

/** Archives that agents may have open together, each of which is two files: most systems let a process have thousands. */
export const READ_OPEN_TOTAL_MAX = 512;

/** Of those, so many may be one certificate's: it must not take all from the others. */
export const AGENT_READ_OPEN_MAX = 2 * READ_OPEN_MAX;

/** How long opening an archive, reading a piece of it or one step of a listing may take: more than a disk that is only busy needs. */
export const READ_DISK_MS = 30_000;

/** Agents with a control connection: twice the largest installation meant here. One costs a few KiB, and what it last told. */
export const CONTROL_CONNECTIONS_MAX = 2_048;

/** Agents that were connected since the start and are not now: so many are remembered with what they last told. */
export const KNOWN_AGENTS_MAX = 2_048;

/** control_lost_grace_period where nothing is configured. */
export const CONTROL_LOST_GRACE_MS = 300_000;

/** Wishes for a run that wait for one agent's answer, and for how long. */
export const RUN_REQUESTS_MAX = 16;
export const RUN_ANSWER_MS = 30_000;

/** Archives of one storage that a look at all of them tells of: about 400 bytes each. */
export const ARCHIVES_LISTED_MAX = 200_000;

/** Archives whose indexes are searched together for the page; older ones are left to the command. */
export const FIND_ARCHIVES_MAX = 64;

/** Names passed over to get to where a page of a directory begins. */
export const TREE_SKIPPED_MAX = 1_000_000;

/** Pieces read from one storage at a time while nobody writes there: enough to keep a disk array at work. */
export const READS_AT_ONCE = 4;

/** The pause after a piece while sessions write: as long as the piece took, between these. */
export const READ_PAUSE_MS_MIN = 1;
export const READ_PAUSE_MS_MAX = 50;

/** When an agent should come again to a server that is stopping: most are back by then. */
export const SHUTDOWN_RETRY_MS = 5_000;

/** When an agent should come again to a server in maintenance: soon after its end, and seldom enough for a thousand agents. */
export const MAINTENANCE_RETRY_MS = 30_000;

/** How long a command waits for a stream that it has rotated: a chunk on a slow line, and a new connection. */
export const ROTATE_WAIT_MS = 60_000;

/** How long connections of an ended session may stay before the server closes them by itself. */
export const LINGER_MS = 5_000;

/** When an agent that was refused as busy should come again. */
export const BUSY_RETRY_MS = 10_000;

/**
 * How long the place of a session that an earlier start of the server began is kept for its own run, from the moment at which
 * that run can come back to it. Before, silence says nothing of the agent: it was the server that went away. An agent waits
 * for up to 5 minutes between two attempts (`retry.max_delay`, unless configured), after up to 20 s in which it has not
 * noticed (SILENCE_MAX_MS), and an attempt made in vain takes 10 s to connect and 20 s to be answered.
 */
export const RETURN_MS = 360_000;

/**
 * How long a storage that could not be opened is left alone when an agent asks for a session that may lie in it: that
 * anybody with a certificate can ask must not cost more than this.
 */
export const STORAGE_RETRY_MS = 2_000;

/**
 * How long an agent is told to come again for a session that its disk does not give back, from when that was found: errors that
 * pass have passed by then, and an agent that begins anew is better than one that waits for a bad sector.
 */
export const UNREAD_SESSION_MS = 300_000;

/** How long a start waits for storages to open: a disk that hangs is that storage's problem, and no reason not to listen. */
export const STORAGES_START_MS = 30_000;

/** How long a stop waits for storages that are just being opened, and then for those that are being closed. */
export const STORAGES_STOP_MS = 5_000;

/**
 * How long a stop waits, after shutdown_timeout, until sessions are on the disk: seconds for what the memory of all of them
 * can hold. With the waits after it, it fits between the usual minute and the 90 s after which systemd kills.
 */
export const SUSPEND_MS = 10_000;

/** When an agent that a limit refused should come again. */
export const LIMIT_RETRY_MS = 30_000;

/**
 * Memory that one session takes beside `assembler_pending_mem_limit`: the 4 MB of its own that may wait for the disk, ledger,
 * slots, sockets. Both together are what `memory_limit` counts, and once for all sessions `chunk_buffer.size`.
 */
export const SESSION_MEMORY_BYTES = 8 * MiB;

/**
 * Memory that one verification takes: two threads of 15 MB each, and four pieces, stored and decompressed, of the chunks that the
 * defaults make. `memory_limit` counts it while it runs.
 */
export const VERIFY_MEMORY_BYTES = 64 * MiB;

/** Agents whose certificates near their end are remembered as told of; beyond that the longest untold may be told of again. */
export const EXPIRING_AGENTS_MAX = 10_000;

/** Agents in line hear of a new position after at most this long. */
export const POSITION_NOTICE_MS = 200;

/** How often the certificate behind an open connection is looked at again: it may have run out meanwhile. */
export const PEER_CHECK_PERIOD_MS = 3_600_000;

/** Phase messages about the progress of one phase come at most this often. */
export const PHASE_STEP_MS = 1_000;

/** When an archive that could not be verified after its commit is tried again: first, and at most, twice as late each time. */
export const VERIFY_RETRY_MS = 60_000;
export const VERIFY_RETRY_MS_MAX = 3_600_000;

/** How often archives are looked for that are to be read again: a disk with nothing to do may sleep in between. */
export const SCRUB_LOOK_MS = 3_600_000;

/** Archives are read again when this part of `scrub_days` is over, so that they have been read when all of it is. */
export const SCRUB_EARLY = 0.9;

/** Names of removed archives in a Committed message: what a control frame has room for. */
export const COMMITTED_REMOVED_MAX = 200;

/** Connections of the enrolment port, where everybody is a stranger: administrators enrol a handful of machines at a time. */
export const ENROLL_CONNECTIONS_MAX = 64;

/** Of one address: all the machines behind one router, at the same moment. */
export const ENROLL_NETWORK_CONNECTIONS_MAX = 16;

/** When a revoked agent's control channel may ask again: only a new certificate helps, and then its daemon does not wait. */
export const REVOKED_RETRY_MS = 3_600_000;

/** A session of a revoked agent has so long to leave the disk and say why; then its connections are closed. */
export const REVOKED_END_MS = 5_000;

/** Certificates that one agent may get by renewal: one in so long. It needs one in years; each is a signature and a line of the register. */
export const RENEWAL_PAUSE_MS = 60_000;

/** The same request gets the same answer for so long: its answer may have been lost with the connection. */
export const RENEWAL_MEMORY_MS = 3_600_000;
