/** Laws of the frame decoder: cutting changes nothing, the slow way gives the same, garbage raises only Failures. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { naiveFrames, plainText, sha256 } from "#test/support/naive-frames.ts";
import { anyAnswers, anyControlFrames, anyReadAnswers, anyStream, cutAt } from "#test/support/wire-arbitraries.ts";
import { type FrameEvent, FrameRecorder } from "#test/support/wire-recorder.ts";
import { must } from "#base/assert.ts";
import { FRAME_TYPES } from "#wire/frame.ts";
import { PAYLOAD_BYTES_MAX } from "#wire/limits.ts";
import type { MessageType } from "#wire/messages.ts";
import { RECEIVE_STATES, type ReceiveState, stateAfterFrame } from "#wire/states.ts";

const STATES = Object.keys(RECEIVE_STATES) as ReceiveState[];
const anyState = fc.constantFrom(...STATES);
/** What the streams below are said to. */
const speaking = fc.constantFrom<ReceiveState>("agent/session", "agent/read", "server/stream");
const cuts = fc.array(fc.nat(), { maxLength: 40 });
const change = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom("flip", "set", "insert", "delete", "cut"),
  byte: fc.nat(255),
});

interface Run {
  readonly events: readonly string[];
  readonly failure: Failure | undefined;
  readonly recorder: FrameRecorder;
}

function run(pieces: readonly Uint8Array[], state: ReceiveState): Run {
  const recorder = new FrameRecorder(state);
  let failure: Failure | undefined;
  try {
    for (const piece of pieces) {
      // The view is only valid during the call: whoever keeps it gets this.
      const view = Uint8Array.from(piece);
      recorder.decoder.push(view);
      view.fill(0xee);
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    failure = error;
  }
  return { events: recorder.events.map(line), failure, recorder };
}

/** As the oracle says it. */
function line(event: FrameEvent): string {
  const { header } = event;
  if (event.kind === "message") return `${header.type} ${header.generation} ${plainText(event.message.body)}`;
  if (event.kind === "bytes") {
    const place = `bytes ${header.file} ${header.sequence} ${header.generation} ${header.offset}`;
    return event.crcOk ? `${place} ${sha256(Buffer.from(event.bytes, "hex"))}` : `${place} damaged`;
  }
  const { flags, slot, file, sequence, generation, offset } = header;
  const place = `data ${flags} ${slot} ${file} ${sequence} ${generation} ${offset} ${sha256(Buffer.from(event.stored, "hex"))}`;
  if (event.tail === undefined) return `${place} damaged`;
  return `${place} ${event.storedCrc} ${event.tail.rawLength} ${event.tail.kind} ${event.tail.digest.toHex()}`;
}

function isSame(fast: Run, stream: Uint8Array, state: ReceiveState): void {
  const naive = naiveFrames(stream, state);
  if (!naive.broken) {
    expect(fast.failure).toBeUndefined();
    expect(fast.events).toEqual([...naive.events]);
    return;
  }
  expect(fast.failure?.code).toBeOneOf(["E_PROTOCOL", "E_VERSION", "E_FRAME_TOO_LARGE"]);
  expect(fast.events).toEqual([...naive.events]);
}

describe("the frame decoder", () => {
  test("gives the same events however the stream is cut, and the same as the slow and obvious way", () => {
    fc.assert(
      fc.property(anyStream, cuts, (stream, places) => {
        const whole = run([stream], "server/stream");
        const cut = run(cutAt(stream, places), "server/stream");
        expect(whole.failure).toBeUndefined();
        expect(cut.events).toEqual(whole.events);
        isSame(cut, stream, "server/stream");
      }),
      { numRuns: 150 },
    );
  });

  test("gives the same events byte by byte", () => {
    fc.assert(
      fc.property(fc.oneof(anyStream, anyAnswers, anyReadAnswers), speaking, (stream, state) => {
        isSame(
          run(
            Array.from(stream, (byte) => Uint8Array.of(byte)),
            state,
          ),
          stream,
          state,
        );
      }),
      { numRuns: 40 },
    );
  });

  test("meets the answers on a read connection, whole or with anything changed in them, as the slow way does", () => {
    fc.assert(
      fc.property(anyReadAnswers, fc.array(change, { maxLength: 3 }), cuts, (stream, changes, places) => {
        const changed = changes.reduce(applyChange, stream);
        isSame(run(cutAt(changed, places), "agent/read"), changed, "agent/read");
      }),
      { numRuns: 300 },
    );
  });

  test("meets what comes on a control connection, whole or with anything changed in it, as the slow way does", () => {
    fc.assert(
      fc.property(anyControlFrames, fc.array(change, { maxLength: 3 }), cuts, (stream, changes, places) => {
        const changed = changes.reduce(applyChange, stream);
        isSame(run(cutAt(changed, places), "server/control"), changed, "server/control");
      }),
      { numRuns: 300 },
    );
  });

  test("hands the stored bytes of Data through and never more than arrived at once", () => {
    fc.assert(
      fc.property(anyStream, cuts, (stream, places) => {
        const pieces = cutAt(stream, places);
        const { recorder } = run(pieces, "server/stream");
        const longest = Math.max(0, ...pieces.map((piece) => piece.length));
        expect(recorder.pieces.every((length) => length > 0 && length <= longest)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test("meets a stream with anything changed in it as the slow way does: same events before, only Failures", () => {
    fc.assert(
      fc.property(anyStream, fc.array(change, { minLength: 1, maxLength: 3 }), cuts, (stream, changes, places) => {
        const changed = changes.reduce(applyChange, stream);
        isSame(run(cutAt(changed, places), "server/stream"), changed, "server/stream");
      }),
      { numRuns: 400 },
    );
  });

  test("raises only Failures on random bytes in any state, and every later push raises the same", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 200 }), anyState, (bytes, state) => {
        const { failure, recorder, events } = run([bytes], state);
        expect(events).toEqual([]);
        if (state === "closed") return;
        expect(failure).toBeInstanceOf(Failure);
        expect(() => recorder.decoder.push(bytes)).toThrow(String(failure?.message));
      }),
      { numRuns: 300 },
    );
  });

  test("raises only Failures on frames with a right header and CRC around random payloads", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 120 }), cuts, (payload, places) => {
        const stream = pingWith(payload);
        isSame(run(cutAt(stream, places), "server/session"), stream, "server/session");
      }),
      { numRuns: 500 },
    );
  });

  test("holds no memory for what is announced and does not come", () => {
    // A thousand connections, each with the largest announcement that is let through and a few bytes of it.
    const finish = frameWith(0x0b, new Uint8Array(40_960)).subarray(0, 100);
    const data = Uint8Array.fromHex(`6e626b010700000001100000000000000000000100000000${"00".repeat(8)}`);
    Bun.gc(true);
    const before = process.memoryUsage();
    const decoders = Array.from({ length: 1000 }, (_, i) => {
      const recorder = new FrameRecorder("server/session-data");
      recorder.decoder.push(i % 2 === 0 ? finish : data);
      return recorder;
    });
    Bun.gc(true);
    const after = process.memoryUsage();
    expect(decoders.length).toBe(1000);
    // 500 control payloads of 40 KiB, and nothing for Data of 17 MiB each.
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(30 * MiB);
  });

  test("takes no payload longer than its type needs: refused at the header", () => {
    for (const [type, lengthMax] of Object.entries(PAYLOAD_BYTES_MAX)) {
      const number = FRAME_TYPES[type as MessageType];
      const state = must(
        // The last one: Ping and Pong may be longest on control connections.
        STATES.findLast((one) => stateAfterFrame(one, type as MessageType) !== undefined),
        `a state that takes ${type}`,
      );
      const header = frameWith(number, new Uint8Array(lengthMax + 1)).subarray(0, 32);
      expect(run([header], state).failure?.toString()).toBe(
        `E_FRAME_TOO_LARGE: ${type} frame of ${lengthMax + 1} bytes exceeds ${lengthMax}`,
      );
      expect(run([frameWith(number, new Uint8Array(lengthMax)).subarray(0, 32)], state).failure).toBeUndefined();
    }
  });
});

function applyChange(stream: Uint8Array, change: { at: number; kind: string; byte: number }): Uint8Array {
  const at = change.at % (stream.length + 1);
  const [head, tail] = [stream.subarray(0, at), stream.subarray(at)];
  const byte = Uint8Array.of(change.byte);
  switch (change.kind) {
    case "flip":
      return tail.length === 0
        ? stream
        : join(head, Uint8Array.of((tail[0] ?? 0) ^ (1 << (change.byte % 8))), tail.subarray(1));
    case "set":
      return tail.length === 0 ? stream : join(head, byte, tail.subarray(1));
    case "insert":
      return join(head, byte, tail);
    case "delete":
      return join(head, tail.subarray(1));
    default:
      return head;
  }
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function pingWith(payload: Uint8Array): Uint8Array {
  return frameWith(FRAME_TYPES.ping, payload);
}

function frameWith(type: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(32 + payload.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, 0x6e62_6b01);
  view.setUint8(4, type);
  view.setUint32(8, payload.length);
  view.setUint32(20, Bun.hash.crc32(payload));
  frame.set(payload, 32);
  return frame;
}
