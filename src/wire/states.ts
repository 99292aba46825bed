/**
 * Who may say what when: for each state of a connection the frame types its receiver takes, and the states of a session
 * on the server. Tables and pure functions; the owners of connections and sessions act on them.
 */
import { assert } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import type { FrameType } from "./frame.ts";

/**
 * What the receiving side of a connection waits for. `server/…` are states of the server's end (frames from the agent),
 * `agent/…` of the agent's.
 */
export type ReceiveState =
  /** A connection that has said nothing yet. */
  | "server/hello"
  /** Hello is being judged (an older connection may have to be probed): nothing more may come before Welcome. */
  | "server/welcoming"
  /** A welcomed session connection of a new session. */
  | "server/begin"
  /** Begin came: it waits for its turn. */
  | "server/queued"
  /** Admitted or resumed, data on stream connections. */
  | "server/session"
  /** Admitted or resumed with parallels 0: data on this connection. */
  | "server/session-data"
  /** Finish came. */
  | "server/finishing"
  /** Finish came with parallels 0: what was asked for again before it was heard may still come, and is dropped. */
  | "server/finishing-data"
  | "server/stream"
  /** Hello asked for the health: the answer is on its way, and the connection ends with it. */
  | "server/health"
  | "server/read"
  | "server/control"
  /** An enrolment connection that has said nothing yet. */
  | "server/enroll"
  /** A token came and is being judged. */
  | "server/enroll-judging"
  /** The token is good: the request comes next. */
  | "server/enroll-request"
  /** The request came, the certificate is being made. */
  | "server/enroll-issuing"
  /** The certificate was sent. */
  | "server/enroll-issued"
  /** Hello was sent. */
  | "agent/welcome"
  /** Welcome came, the agent has not said how it goes on. */
  | "agent/welcomed"
  /** Begin was sent. */
  | "agent/admission"
  | "agent/session"
  | "agent/stream"
  | "agent/health"
  | "agent/read"
  | "agent/control"
  /** AskAuthority was sent. */
  | "agent/authority"
  /** Enroll was sent. */
  | "agent/enroll"
  /** The token is good, the agent makes its request. */
  | "agent/granted"
  /** Certify was sent. */
  | "agent/certify"
  /** The certificate came and is being put on the disk. */
  | "agent/certified"
  /** Installed was sent. */
  | "agent/installed"
  /** The last frame came: nothing more is expected. */
  | "closed";

/** Frame types taken, each with the state that follows when one arrives. */
type Takes = Partial<Record<FrameType, ReceiveState>>;

interface ReceiveRow {
  readonly takes: Takes;
  /** States the owner may enter by what it sends or decides, beside those in `takes`. */
  readonly enters: readonly ReceiveState[];
}

const alive = <S extends ReceiveState>(state: S): { readonly ping: S; readonly pong: S } => ({
  ping: state,
  pong: state,
});

export const RECEIVE_STATES: Readonly<Record<ReceiveState, ReceiveRow>> = {
  "server/hello": { takes: { hello: "server/welcoming" }, enters: [] },
  "server/welcoming": {
    takes: {},
    enters: [
      "server/begin",
      "server/session",
      "server/session-data",
      "server/finishing",
      "server/finishing-data",
      "server/stream",
      "server/health",
      "server/read",
      "server/control",
    ],
  },
  "server/begin": { takes: { ...alive("server/begin"), begin: "server/queued", disown: "closed" }, enters: [] },
  "server/queued": {
    takes: { ...alive("server/queued"), disown: "closed" },
    enters: ["server/session", "server/session-data"],
  },
  "server/session": {
    takes: { ...alive("server/session"), finish: "server/finishing", disown: "closed" },
    enters: [],
  },
  "server/session-data": {
    takes: {
      ...alive("server/session-data"),
      data: "server/session-data",
      finish: "server/finishing-data",
      goodbye: "closed",
      disown: "closed",
    },
    enters: [],
  },
  "server/finishing": {
    takes: { ...alive("server/finishing"), finish: "server/finishing", disown: "closed" },
    enters: [],
  },
  "server/finishing-data": {
    takes: {
      ...alive("server/finishing-data"),
      data: "server/finishing-data",
      finish: "server/finishing-data",
      disown: "closed",
    },
    // Committed: there was nothing that could have been asked for again.
    enters: ["server/finishing"],
  },
  "server/stream": {
    takes: { ...alive("server/stream"), data: "server/stream", goodbye: "closed" },
    enters: [],
  },
  "server/health": { takes: { ...alive("server/health") }, enters: [] },
  "server/read": {
    takes: {
      ...alive("server/read"),
      list: "server/read",
      open: "server/read",
      read: "server/read",
      close: "server/read",
      goodbye: "closed",
    },
    enters: [],
  },
  "server/control": {
    takes: { ...alive("server/control"), runAnswer: "server/control", renew: "server/control", goodbye: "closed" },
    enters: [],
  },
  // No Pings on an enrolment connection: each step has a time of its own, and none takes long.
  "server/enroll": { takes: { askAuthority: "closed", enroll: "server/enroll-judging" }, enters: [] },
  "server/enroll-judging": { takes: {}, enters: ["server/enroll-request"] },
  "server/enroll-request": { takes: { certify: "server/enroll-issuing" }, enters: [] },
  "server/enroll-issuing": { takes: {}, enters: ["server/enroll-issued"] },
  "server/enroll-issued": { takes: { installed: "closed" }, enters: [] },
  "agent/welcome": { takes: { welcome: "agent/welcomed", refused: "closed" }, enters: [] },
  "agent/welcomed": {
    takes: { refused: "closed" },
    enters: ["agent/admission", "agent/session", "agent/stream", "agent/health", "agent/read", "agent/control"],
  },
  "agent/admission": {
    takes: {
      ...alive("agent/admission"),
      queued: "agent/admission",
      admitted: "agent/session",
      refused: "closed",
    },
    enters: [],
  },
  "agent/session": {
    takes: {
      ...alive("agent/session"),
      sack: "agent/session",
      phase: "agent/session",
      committed: "agent/session",
      verified: "agent/session",
      slotOrder: "agent/session",
      ended: "closed",
      refused: "closed",
    },
    enters: [],
  },
  "agent/stream": {
    takes: { ...alive("agent/stream"), sack: "agent/stream", ended: "closed", refused: "closed" },
    enters: [],
  },
  "agent/health": { takes: { ...alive("agent/health"), health: "closed", refused: "closed" }, enters: [] },
  "agent/read": {
    takes: {
      ...alive("agent/read"),
      archives: "agent/read",
      opened: "agent/read",
      bytes: "agent/read",
      failed: "agent/read",
      refused: "closed",
    },
    enters: [],
  },
  "agent/control": {
    takes: { ...alive("agent/control"), run: "agent/control", renewAnswer: "agent/control", refused: "closed" },
    enters: [],
  },
  "agent/authority": { takes: { authority: "closed", refused: "closed" }, enters: [] },
  "agent/enroll": { takes: { granted: "agent/granted", refused: "closed" }, enters: [] },
  "agent/granted": { takes: { refused: "closed" }, enters: ["agent/certify"] },
  "agent/certify": { takes: { certificate: "agent/certified", refused: "closed" }, enters: [] },
  "agent/certified": { takes: { refused: "closed" }, enters: ["agent/installed"] },
  "agent/installed": { takes: { enrolled: "closed", refused: "closed" }, enters: [] },
  closed: { takes: {}, enters: [] },
};

/** The state after a frame of `type` arrived in `state`; undefined when it may not come. */
export function stateAfterFrame(state: ReceiveState, type: FrameType): ReceiveState | undefined {
  return RECEIVE_STATES[state].takes[type];
}

/** The state that the owner enters; anything the table does not have is a bug of this side. */
export function stateAfterEnter(state: ReceiveState, next: ReceiveState): ReceiveState {
  const row = RECEIVE_STATES[state];
  assert(
    next === state || next === "closed" || row.enters.includes(next),
    `receive state is ${state} but ${next} may be entered only from ${statesBefore(next).join(", ")}`,
  );
  return next;
}

/** `ping, pong or begin`, for messages. */
export function expectedFrames(state: ReceiveState): string {
  const names = Object.keys(RECEIVE_STATES[state].takes);
  const last = names.pop();
  if (last === undefined) return "nothing";
  return names.length === 0 ? last : `${names.join(", ")} or ${last}`;
}

function statesBefore(state: ReceiveState): readonly string[] {
  return Object.entries(RECEIVE_STATES)
    .filter(([, row]) => row.enters.includes(state))
    .map(([name]) => name);
}

/**
 * A session on the server. `parked`: none of its connections is up. `finishing`: Finish came, it goes on to its end with
 * or without connections. `committed` and `ended` are final; `suspended` is, for this start of the server.
 */
export type SessionState = "queued" | "receiving" | "parked" | "finishing" | "committed" | "ended" | "suspended";

/**
 * `admit`: its turn came. `recover`: an earlier start of the server had admitted it. `connect`: one of its connections came
 * up. `disconnect`: the last one went. `finish`: Finish arrived, all chunks received. `commit`: the archive is visible.
 * `suspend`: the server stops, and goes on with it after its next start. `end`: any other end: aborted, expired, disowned …
 */
export type SessionEvent = "admit" | "recover" | "connect" | "disconnect" | "finish" | "commit" | "suspend" | "end";

export const SESSION_TRANSITIONS: Readonly<
  Record<SessionState, Readonly<Partial<Record<SessionEvent, SessionState>>>>
> = {
  // A queued session whose connection goes leaves the queue: it has nothing to resume.
  queued: { admit: "receiving", recover: "parked", disconnect: "ended", end: "ended" },
  receiving: { connect: "receiving", disconnect: "parked", finish: "finishing", suspend: "suspended", end: "ended" },
  parked: { connect: "receiving", suspend: "suspended", end: "ended" },
  finishing: {
    ...{ connect: "finishing", disconnect: "finishing", finish: "finishing" },
    ...{ commit: "committed", suspend: "suspended", end: "ended" },
  },
  // Final, but asked again: a later connection hears the same answer.
  committed: { connect: "committed", disconnect: "committed", finish: "committed" },
  ended: { connect: "ended", disconnect: "ended", finish: "ended" },
  // Its connections were closed, and the next start begins with `recover`.
  suspended: {},
};

/** The session's state after `event`; Failure E_PROTOCOL that names the state and what was expected when it may not happen. */
export function transition(state: SessionState, event: SessionEvent): SessionState {
  const next = SESSION_TRANSITIONS[state][event];
  if (next === undefined) {
    const expected = Object.keys(SESSION_TRANSITIONS[state]).join(", ");
    throw new Failure("E_PROTOCOL", `session is ${state}: ${event} came but expected ${expected}`);
  }
  return next;
}
