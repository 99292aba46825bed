/** Recorded conversations, spoiled in every way: the decoder raises only Failures, keeps little, and the next one works. */
import { beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { cutAt } from "#test/support/wire-arbitraries.ts";
import { anySpoiling, type Capture, recordCaptures, spoil } from "#test/support/wire-captures.ts";
import { FrameDecoder } from "#wire/decoder.ts";
import { FRAME_TYPES } from "#wire/frame.ts";
import { CHUNK_TAIL_BYTES, PAYLOAD_BYTES_MAX } from "#wire/limits.ts";
import type { AnyMessage } from "#wire/messages.ts";
import type { ReceiveState } from "#wire/states.ts";

let captures: readonly Capture[];

beforeAll(async () => {
  captures = await recordCaptures();
});

interface Outcome {
  readonly failure: Failure | undefined;
  readonly messages: number;
  readonly heldBytesMax: number;
}

/** Decodes as the owner of a connection would: it enters the states that its own words lead to. */
function decode(
  pieces: readonly Uint8Array[],
  side: "server" | "agent",
  welcomed: ReceiveState = "agent/session",
): Outcome {
  let messages = 0;
  let heldBytesMax = 0;
  let data = false;
  const decoder: FrameDecoder = new FrameDecoder({
    state: side === "server" ? "server/hello" : "agent/welcome",
    handlers: {
      message: (message) => {
        messages += 1;
        const next = nextState(message, decoder.state, data, welcomed);
        if (message.type === "begin") data = message.body.parallels === 0;
        if (next !== undefined) decoder.enter(next);
      },
      dataStart: () => undefined,
      dataBytes: () => undefined,
      dataEnd: () => undefined,
      bytes: { start: () => undefined, bytes: () => undefined, end: () => undefined },
    },
  });
  try {
    for (const piece of pieces) {
      decoder.push(Uint8Array.from(piece));
      heldBytesMax = Math.max(heldBytesMax, decoder.heldBytes);
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    expect(decoder.heldBytes).toBeLessThanOrEqual(CHUNK_TAIL_BYTES);
    return { failure: error, messages, heldBytesMax };
  }
  return { failure: undefined, messages, heldBytesMax };
}

/** Where the agent goes after its Welcome on this connection. */
function afterWelcome({ up }: Capture): ReceiveState {
  const types = new Set(up.map((frame) => frame[4]));
  return types.has(FRAME_TYPES.list) ? "agent/read" : "agent/session";
}

function nextState(
  message: AnyMessage,
  state: ReceiveState,
  data: boolean,
  welcomed: ReceiveState,
): ReceiveState | undefined {
  if (message.type === "hello") {
    const { role, session } = message.body;
    if (role === "stream") return "server/stream";
    if (role === "health") return "server/health";
    if (role === "read") return "server/read";
    return session === undefined ? "server/begin" : "server/session";
  }
  // The agent answers what it hears when it is admitted: the server has entered the session by then.
  if (message.type === "begin") return message.body.parallels === 0 || data ? "server/session-data" : "server/session";
  if (message.type === "welcome") return state === "agent/welcomed" ? welcomed : undefined;
  return undefined;
}

describe("the recorded conversations", () => {
  test("are of every kind", () => {
    const types = new Set(captures.flatMap(({ up, down }) => [...up, ...down].map((frame) => frame[4])));
    // Hello to Failed, without Refused, Copy and Verified.
    expect([...types].sort((a, b) => (a ?? 0) - (b ?? 0))).toEqual([
      ...[
        0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
        0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b,
      ],
    ]);
    expect(captures.length).toBeGreaterThanOrEqual(8);
  });

  test("are decoded whole, and byte by byte, by the side that they were said to", () => {
    for (const { up } of captures) {
      const bytes = spoil(up, [], []);
      expect(decode([bytes], "server").failure?.toString()).toBeUndefined();
      const single = Array.from(bytes, (byte) => Uint8Array.of(byte));
      expect(decode(single, "server")).toMatchObject({
        failure: undefined,
        messages: decode([bytes], "server").messages,
      });
    }
  });
});

for (const side of ["server", "agent"] as const) {
  test(`spoiled in any way they make the ${side}'s decoder raise only Failures, and keep no more than one message`, () => {
    const kept = CHUNK_TAIL_BYTES + Math.max(...Object.values(PAYLOAD_BYTES_MAX));
    const failed = { yes: 0, no: 0 };
    fc.assert(
      fc.property(
        fc.nat(1000),
        fc.array(anySpoiling, { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (pick, spoilings, cuts) => {
          const capture = must(captures[pick % captures.length], "capture");
          const { up, down } = capture;
          const strange = captures.flatMap((other) => [...other.down, ...other.up]);
          const stream = spoil(side === "server" ? up : down, spoilings, strange);
          const outcome = decode(cutAt(stream, cuts), side, afterWelcome(capture));
          expect(outcome.heldBytesMax).toBeLessThanOrEqual(kept);
          failed[outcome.failure === undefined ? "no" : "yes"] += 1;
          if (outcome.failure === undefined) return;
          expect(outcome.failure.code).toBeOneOf(["E_PROTOCOL", "E_VERSION", "E_FRAME_TOO_LARGE"]);
        },
      ),
      { numRuns: 1500 },
    );
    // Not all are found by the decoder, but most.
    expect(failed.yes).toBeGreaterThan(failed.no);
  });
}
