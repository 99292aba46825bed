/** All limits of the protocol in one place; PROTOCOL.md "Limits" has the same table with the reasons. */
import { CHUNK_BYTES_MAX, CHUNK_RECORDS_BYTES_MAX } from "#base/chunk-size.ts";
import { KiB, MiB } from "#base/units.ts";

export const PROTOCOL_VERSION_MIN = 1;
export const PROTOCOL_VERSION_MAX = 1;
/** As TLS wants it: a length byte before the name. */
export const ALPN_PROTOCOL = "nbackup/1";
/** Of the enrolment port, which speaks nothing else. */
export const ENROLL_ALPN_PROTOCOL = "nbackup-enroll/1";

export const FRAME_HEADER_BYTES = 32;
export const CHUNK_TAIL_BYTES = 40;

/** chunk_size is at most 16 MiB, pax records add at most 1 MiB, and incompressible data grows a little. */
export const CHUNK_STORED_BYTES_MAX = 17 * MiB + 256 * KiB;
/** Uncompressed: chunk_size and the records beyond it. Bounds what decompressing a chunk may need. */
export const CHUNK_RAW_BYTES_MAX = CHUNK_BYTES_MAX + CHUNK_RECORDS_BYTES_MAX;
export const DATA_PAYLOAD_BYTES_MAX = CHUNK_STORED_BYTES_MAX + CHUNK_TAIL_BYTES;
/** Before Hello is accepted: header and payload together. */
const HELLO_BYTES_MAX = 4 * KiB;
/** A few numbers, with room for what a later version adds. */
const SMALL_PAYLOAD_BYTES_MAX = 256;
/** Three texts of MESSAGE_TEXT_CHARS_MAX, three bytes a character. */
const FAILURE_PAYLOAD_BYTES_MAX = 20 * KiB;
/**
 * Most bytes of each message's payload, looked at before one of them is kept: what a peer can make this side hold is no
 * more than a right one needs.
 */
export const PAYLOAD_BYTES_MAX = {
  hello: HELLO_BYTES_MAX - FRAME_HEADER_BYTES,
  welcome: 8 * KiB,
  refused: FAILURE_PAYLOAD_BYTES_MAX,
  begin: KiB,
  queued: SMALL_PAYLOAD_BYTES_MAX,
  admitted: 8 * KiB,
  /** SACK_RANGES_MAX ranges and LOST_CHUNKS_MAX chunks. */
  sack: 64 * KiB,
  /** Two trails of 16 KiB. */
  finish: 40 * KiB,
  phase: SMALL_PAYLOAD_BYTES_MAX,
  /** Names of archives that were removed. */
  committed: 64 * KiB,
  /** One text. */
  verified: 8 * KiB,
  ended: FAILURE_PAYLOAD_BYTES_MAX,
  disown: 4 * KiB,
  /** CONTROL_ENTRIES_MAX entries, on a control connection; elsewhere PING_BYTES_MAX. */
  ping: 64 * KiB,
  /** HEALTH_STORAGES_MAX storages and SUCCESSORS_MAX CAs, on a control connection; elsewhere PING_BYTES_MAX. */
  pong: 24 * KiB,
  goodbye: SMALL_PAYLOAD_BYTES_MAX,
  /** HEALTH_STORAGES_MAX storages. */
  health: 64 * KiB,
  list: SMALL_PAYLOAD_BYTES_MAX,
  /** ARCHIVE_ROWS_MAX archives. */
  archives: 64 * KiB,
  /** Three names. */
  open: KiB,
  opened: SMALL_PAYLOAD_BYTES_MAX,
  read: SMALL_PAYLOAD_BYTES_MAX,
  close: SMALL_PAYLOAD_BYTES_MAX,
  failed: FAILURE_PAYLOAD_BYTES_MAX,
  /** One reason. */
  slotOrder: KiB,
  /** A name. */
  run: SMALL_PAYLOAD_BYTES_MAX,
  /** A code and a text of DISOWN_TEXT_CHARS_MAX. */
  runAnswer: 4 * KiB,
  /** One request. */
  renew: 2 * KiB,
  /** Certificates, or a failure. */
  renewAnswer: 24 * KiB,
  askAuthority: SMALL_PAYLOAD_BYTES_MAX,
  /** One certificate. */
  authority: 8 * KiB,
  /** A secret and one text: no more than a Hello. */
  enroll: HELLO_BYTES_MAX - FRAME_HEADER_BYTES,
  /** A name and a number. */
  granted: SMALL_PAYLOAD_BYTES_MAX,
  /** One request. */
  certify: 2 * KiB,
  /** Certificates, and names of storages. */
  certificate: 72 * KiB,
  installed: SMALL_PAYLOAD_BYTES_MAX,
  enrolled: SMALL_PAYLOAD_BYTES_MAX,
} as const;
/** A Ping or Pong on any connection but a control connection: ten thousand of those must not cost 64 KiB each. */
export const PING_BYTES_MAX = SMALL_PAYLOAD_BYTES_MAX;
export const HELLO_TIMEOUT_MS = 10_000;
/** From Welcome to Begin on the session connection of a new session. */
export const BEGIN_TIMEOUT_MS = 10_000;

export const SLOTS_MAX = 255;
export const SACK_RANGES_MAX = 1024;
export const LOST_CHUNKS_MAX = 1024;
export const MESSAGE_TEXT_CHARS_MAX = 2048;
/** Why an agent gives its session up: a log line of the server. */
export const DISOWN_TEXT_CHARS_MAX = 1024;
export const CODE_CHARS_MAX = 64;
/** Why rotation is held for a session: Begin has 1 KiB. */
export const HOLD_REASON_CHARS_MAX = 200;
/** Why a slot is to be rotated, parked or resumed: SlotOrder has 1 KiB. */
export const ORDER_REASON_CHARS_MAX = 200;
/** Storages in one Health message, and what is said of each. */
export const HEALTH_STORAGES_MAX = 100;
export const HEALTH_REASON_CHARS_MAX = 120;

/** 128 bits, which nobody guesses. */
export const ENROLL_SECRET_BYTES = 16;
/** DER of one CA certificate; one with RSA 4096 has 2 kB. */
export const AUTHORITY_BYTES_MAX = 6 * KiB;
/** An agent's certificate and what stands between it and its CA, as PEM. */
export const CERTIFICATE_TEXT_CHARS_MAX = 16 * KiB;
/** All CAs that the server trusts, as PEM: two, during a change of CAs. */
export const AUTHORITIES_TEXT_CHARS_MAX = 40 * KiB;
/** PKCS#10, DER; an agent's has at most 290. */
export const REQUEST_BYTES_MAX = KiB;
/** From the handshake to the first message of an enrolment connection, and from one to the next. */
export const ENROLL_STEP_MS = 10_000;
/** From Certificate to Installed: the agent syncs its disk meanwhile. */
export const ENROLL_INSTALL_MS = 60_000;

/** Archives in one Archives message, and what is said of the damage of each. */
export const ARCHIVE_ROWS_MAX = 64;
/** As many as a server puts into one: with what was not read of each they fill three quarters of the payload. */
export const ARCHIVE_ROWS_SENT = 16;
export const ARCHIVE_DAMAGE_CHARS_MAX = 120;
/** One Read: few requests fill a long line, and one takes not so long that a heartbeat waits for it. */
export const READ_BYTES_MAX = MiB;
/** One Bytes frame: what the server holds of an archive is a few of them. */
export const BYTES_PAYLOAD_BYTES_MAX = 256 * KiB;
/** Requests that may wait for their answer on one connection. */
export const READ_REQUESTS_MAX = 128;
/** Archives open at once on one connection: a search merges the answers of 64 indexes. */
export const READ_OPEN_MAX = 80;
/** A read connection on which nothing was asked for so long is closed. */
export const READ_IDLE_MS = 600_000;

/** Backup entries in one Ping of a control connection: those that run, then those that are next. */
export const CONTROL_ENTRIES_MAX = 64;
/** New CAs in one Pong of a control connection: years lie between two. */
export const SUCCESSORS_MAX = 4;
/** DER of one; with RSA 4096 it has 1.4 kB. */
export const SUCCESSOR_BYTES_MAX = 2 * KiB;
/** Of an old CA with RSA 4096. */
export const SUCCESSOR_SIGNATURE_BYTES_MAX = 512;
/** A short word in a message: a phase, a mode. */
export const WORD_CHARS_MAX = 32;
/** `daemon.control_channel.keepalive_interval` as Hello says it: between these. */
export const KEEPALIVE_MS_MIN = 1_000;
export const KEEPALIVE_MS_MAX = 3_600_000;
/** A control connection on which nothing was heard for so many keep-alives, and SILENCE_MAX_MS at least, is dead. */
export const KEEPALIVES_SILENT_MAX = 3;

/** The server says something on every connection at least this often; the agent too. */
export const HEARTBEAT_MS = 5_000;
/** Nothing heard for so long: the connection is dead. */
export const SILENCE_MAX_MS = 20_000;
/** An older connection is asked whether it still lives before a newer one takes its place. */
export const PROBE_TIMEOUT_MS = 10_000;
/** The longest a Sack about received chunks is held back. */
export const SACK_DELAY_MS = 50;
/** At most so many bytes in one write to a socket, so that control frames are never far behind. */
export const WRITE_BYTES_MAX = 256 * KiB;
