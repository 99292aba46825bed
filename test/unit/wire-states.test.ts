/** Who may say what when: the tables of states.ts, walked through as PROTOCOL.md tells it. */
import { describe, expect, test } from "bun:test";
import { AssertionError } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { ENROLL_MESSAGES } from "#wire/enroll-messages.ts";
import { FRAME_TYPES, type FrameType } from "#wire/frame.ts";
import {
  expectedFrames,
  RECEIVE_STATES,
  type ReceiveState,
  SESSION_TRANSITIONS,
  type SessionEvent,
  type SessionState,
  stateAfterEnter,
  stateAfterFrame,
  transition,
} from "#wire/states.ts";

const STATES = Object.keys(RECEIVE_STATES) as ReceiveState[];
const TYPES = Object.keys(FRAME_TYPES) as FrameType[];
const SESSION_STATES = Object.keys(SESSION_TRANSITIONS) as SessionState[];
const SESSION_EVENTS: readonly SessionEvent[] = ["admit", "connect", "disconnect", "finish", "commit", "end"];

/** PROTOCOL.md "Messages", column "way". */
const FROM_AGENT: readonly FrameType[] = [
  "hello",
  "begin",
  "data",
  "finish",
  "disown",
  "goodbye",
  "list",
  "open",
  "read",
  "close",
  "askAuthority",
  "enroll",
  "certify",
  "installed",
];
const FROM_SERVER: readonly FrameType[] = [
  "welcome",
  "refused",
  "queued",
  "admitted",
  "sack",
  "phase",
  "committed",
  "ended",
  "health",
  "archives",
  "opened",
  "bytes",
  "failed",
  "slotOrder",
  "authority",
  "granted",
  "certificate",
  "enrolled",
];
/** PROTOCOL.md "Enrolment": on a port of its own, which has no Hello and no Pings. */
const ENROLL_TYPES = Object.keys(ENROLL_MESSAGES) as FrameType[];
const ENROLL_STATES: readonly ReceiveState[] = [
  "server/enroll",
  "server/enroll-judging",
  "server/enroll-request",
  "server/enroll-issuing",
  "server/enroll-issued",
  "agent/authority",
  "agent/enroll",
  "agent/granted",
  "agent/certify",
  "agent/certified",
  "agent/installed",
];

function statesTaking(type: FrameType): readonly ReceiveState[] {
  return STATES.filter((state) => stateAfterFrame(state, type) !== undefined);
}

describe("receive states", () => {
  test("no side takes what only it may send, and nobody takes Copy", () => {
    for (const state of STATES) {
      const wrong = state.startsWith("server/") ? FROM_SERVER : FROM_AGENT;
      for (const type of wrong) expect([state, type, stateAfterFrame(state, type)]).toEqual([state, type, undefined]);
    }
    expect(statesTaking("copy")).toEqual([]);
  });

  test("every type but Copy is taken somewhere", () => {
    expect(TYPES.filter((type) => statesTaking(type).length === 0)).toEqual(["copy"]);
  });

  test("before Hello only Hello may come, after it nothing until Welcome was sent", () => {
    expect(statesTaking("hello")).toEqual(["server/hello"]);
    expect(Object.keys(RECEIVE_STATES["server/hello"].takes)).toEqual(["hello"]);
    expect(stateAfterFrame("server/hello", "hello")).toBe("server/welcoming");
    expect(RECEIVE_STATES["server/welcoming"].takes).toEqual({});
  });

  test("data comes only on a stream, or on an admitted session connection without streams", () => {
    expect(statesTaking("data")).toEqual(["server/session-data", "server/finishing-data", "server/stream"]);
  });

  test("after Finish no data comes but what was asked for again before, and Finish may come again", () => {
    expect(stateAfterFrame("server/session", "finish")).toBe("server/finishing");
    expect(stateAfterFrame("server/finishing", "data")).toBeUndefined();
    expect(stateAfterFrame("server/finishing", "finish")).toBe("server/finishing");
    expect(stateAfterFrame("server/session-data", "finish")).toBe("server/finishing-data");
    expect(stateAfterFrame("server/finishing-data", "data")).toBe("server/finishing-data");
    expect(stateAfterFrame("server/finishing-data", "finish")).toBe("server/finishing-data");
    expect(stateAfterFrame("server/finishing-data", "goodbye")).toBeUndefined();
  });

  test("Ping and Pong come in every state after Welcome in which anything may come", () => {
    const after = STATES.filter(
      (s) =>
        !["server/hello", "server/welcoming", "agent/welcome", "agent/welcomed", "closed"].includes(s) &&
        !ENROLL_STATES.includes(s),
    );
    expect([...statesTaking("ping")]).toEqual(after);
    expect([...statesTaking("pong")]).toEqual(after);
  });

  test("last frames close: Refused, Ended, Disown, Goodbye, Health", () => {
    for (const type of ["refused", "ended", "disown", "goodbye", "health"] as const) {
      for (const state of statesTaking(type))
        expect([state, type, stateAfterFrame(state, type)]).toEqual([state, type, "closed"]);
    }
  });

  test("every state can be reached from the first of its side", () => {
    const first: ReceiveState[] = ["server/hello", "agent/welcome", "server/enroll", "agent/authority", "agent/enroll"];
    const reached = new Set<ReceiveState>(first);
    for (let size = 0; size < reached.size;) {
      size = reached.size;
      for (const state of [...reached]) {
        const row = RECEIVE_STATES[state];
        for (const next of [...Object.values(row.takes), ...row.enters]) reached.add(next);
      }
    }
    expect([...reached].sort()).toEqual([...STATES].sort());
  });

  test("the enrolment port takes nothing of the data port but Refused, and the data port nothing of enrolment", () => {
    for (const state of STATES) {
      const taken = Object.keys(RECEIVE_STATES[state].takes).filter((type) => type !== "refused") as FrameType[];
      const enrolling = ENROLL_STATES.includes(state);
      expect([state, taken.filter((type) => ENROLL_TYPES.includes(type) !== enrolling)]).toEqual([state, []]);
      const { enters } = RECEIVE_STATES[state];
      expect([state, enters.filter((next) => ENROLL_STATES.includes(next) !== enrolling)]).toEqual([state, []]);
    }
  });

  test("a state that the table does not lead to is entered only by mistake", () => {
    expect(stateAfterEnter("server/welcoming", "server/stream")).toBe("server/stream");
    expect(stateAfterEnter("server/stream", "closed")).toBe("closed");
    expect(() => stateAfterEnter("server/hello", "server/stream")).toThrow(AssertionError);
    expect(() => stateAfterEnter("server/begin", "server/session")).toThrow(
      "receive state is server/begin but server/session may be entered only from server/welcoming, server/queued",
    );
  });

  test("what is expected is said in words", () => {
    expect(expectedFrames("server/hello")).toBe("hello");
    expect(expectedFrames("server/welcoming")).toBe("nothing");
    expect(expectedFrames("server/queued")).toBe("ping, pong or disown");
  });
});

describe("session states", () => {
  test("a session goes from the queue over receiving and finishing to its commit", () => {
    const events: readonly SessionEvent[] = ["admit", "connect", "finish", "commit"];
    expect(events.reduce<SessionState>(transition, "queued")).toBe("committed");
  });

  test("a session that lost its connections is parked, and any connection takes it up again", () => {
    expect(transition("receiving", "disconnect")).toBe("parked");
    expect(transition("parked", "connect")).toBe("receiving");
  });

  test("a finishing session goes on without connections", () => {
    expect(transition("finishing", "disconnect")).toBe("finishing");
  });

  test("committed and ended are final, whatever comes", () => {
    for (const state of ["committed", "ended"] as const) {
      for (const next of Object.values(SESSION_TRANSITIONS[state])) expect(next).toBe(state);
    }
  });

  test("every session can still end from every state that is not final", () => {
    for (const state of SESSION_STATES) {
      if (state === "committed" || state === "ended" || state === "suspended") continue;
      expect(transition(state, "end")).toBe("ended");
    }
  });

  test("an event that may not happen names the state and what was expected", () => {
    const wrong = SESSION_STATES.flatMap((state) =>
      SESSION_EVENTS.filter((event) => SESSION_TRANSITIONS[state][event] === undefined).map(
        (event) => [state, event] as const,
      ),
    );
    expect(wrong.length).toBeGreaterThan(10);
    for (const [state, event] of wrong) expect(() => transition(state, event)).toThrow(Failure);
    expect(() => transition("queued", "finish")).toThrow(
      "session is queued: finish came but expected admit, recover, disconnect, end",
    );
  });
});
