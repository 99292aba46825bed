/** What must be seen in every full round of the simulator: each kind of fault, and each end and state of a session. */
import { FAULT_NAMES } from "./options.ts";

export const REQUIRED: readonly string[] = [
  ...FAULT_NAMES.map((name) => `fault ${name}`),
  // How sessions end on the server.
  ...["committed", "E_DISK_FULL", "E_DISK", "E_STORAGE_FAILED", "E_SESSION_EXPIRED", "E_DISOWNED"].map(end),
  ...["E_SUPERSEDED", "E_MISMATCH", "E_CHUNK_DAMAGED"].map(end),
  // How agents are refused.
  ...["E_BUSY", "E_FULL", "E_STORAGE_FAILED", "E_SHUTDOWN"].map((code) => `refused ${code}`),
  // How runs of an agent end.
  ...["committed", "E_INTERRUPTED", "E_GIVE_UP", "E_DISK_FULL", "E_FULL", "E_BUSY"].map((code) => `result ${code}`),
  // What a session lives through.
  ...["session.parked", "session.resumed", "session.suspended", "session.recovered", "session.verified"].map(state),
  state("admission.queued"),
  ...["stream.rotated", "session.rotated", "streams.scaled"].map(state),
  ...["rotate", "park", "resume"].map((order) => `order ${order}`),
  // What becomes of control channels, and of runs that are asked for over them.
  ...["control.up", "control.down"].map(state),
  ...["accepted", "E_BUSY", "E_BACKUP_UNKNOWN", "E_NOT_CONNECTED", "E_DISCONNECTED"].map((what) => `wish ${what}`),
  ...["buffer.congested", "buffer.held", "chunk.spoiled-staged", "chunk.spoil-read"].map(state),
];

function end(code: string): string {
  return `end ${code}`;
}

function state(kind: string): string {
  return `state ${kind}`;
}
