/** What the owner of a frame decoder relies on: states, errors that say where, the end. Formats: golden and property tests. */
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { Failure } from "#base/errors.ts";
import { FrameRecorder } from "#test/support/wire-recorder.ts";
import { FrameDecoder } from "#wire/decoder.ts";
import { encodeDataFrame, encodeMessage } from "#wire/encode.ts";
import { CHUNK_STORED_BYTES_MAX, FRAME_HEADER_BYTES } from "#wire/limits.ts";

const RUN = "0190b5c2-7d1e-4a6b-8c3d-2f4e6a8b0c1d";
const HELLO = encodeMessage("hello", {
  role: "session",
  versionMin: 1,
  versionMax: 1,
  agent: "web-1",
  software: "nbackup-agent 0.1.0",
  run: RUN,
});
const PING = encodeMessage("ping", { id: 1 });
const PONG = encodeMessage("pong", { id: 1 });

function dataFrame(stored: Uint8Array, slot = 3): Uint8Array {
  const digest = new Uint8Array(createHash("sha256").update(stored).digest());
  const { head, tail } = encodeDataFrame({
    ...{ slot, generation: 1, file: 0, sequence: 0, offset: 52_428_800, push: false },
    ...{ storedLength: stored.length, storedCrc: crc32(stored), rawLength: 7, kind: "entries", digest },
  });
  return new Uint8Array(Buffer.concat([head, stored, tail]));
}

function thrown(call: () => void): Failure {
  try {
    call();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("states", () => {
  test("the state that follows a frame is there when its handler is called, and the handler may enter another", () => {
    const seen: string[] = [];
    const decoder: FrameDecoder = new FrameDecoder({
      state: "server/hello",
      handlers: {
        message: (message) => {
          seen.push(`${message.type} ${decoder.state}`);
          if (message.type === "hello") decoder.enter("server/stream");
        },
        dataStart: () => void seen.push("data"),
        dataBytes: () => undefined,
        dataEnd: () => undefined,
      },
    });
    decoder.push(Buffer.concat([HELLO, PING, dataFrame(Buffer.from("abc"))]));
    expect(seen).toEqual(["hello server/welcoming", "ping server/stream", "data"]);
  });

  test("a frame that follows Hello before Welcome is refused", () => {
    const recorder = new FrameRecorder("server/hello");
    const failure = thrown(() => recorder.decoder.push(Buffer.concat([HELLO, PING])));
    expect(String(failure)).toBe("E_PROTOCOL: ping frame in state server/welcoming, expected nothing");
    expect(recorder.events.length).toBe(1);
  });

  test("after the last frame everything is dropped unread", () => {
    const recorder = new FrameRecorder("server/stream");
    recorder.decoder.push(
      Buffer.concat([encodeMessage("goodbye", {}), Buffer.from("anything at all, as long as it likes")]),
    );
    recorder.decoder.push(Buffer.from("more"));
    expect(recorder.events.length).toBe(1);
    expect(recorder.decoder.state).toBe("closed");
  });

  test("close() in a handler ends the reading of the same bytes", () => {
    let pings = 0;
    const decoder: FrameDecoder = new FrameDecoder({
      state: "server/stream",
      handlers: {
        message: () => {
          pings += 1;
          decoder.close();
        },
        dataStart: () => undefined,
        dataBytes: () => undefined,
        dataEnd: () => undefined,
      },
    });
    decoder.push(Buffer.concat([PING, PING, PING]));
    expect(pings).toBe(1);
  });

  test("inData tells a chunk that broke off from one that is whole", () => {
    const recorder = new FrameRecorder("server/stream");
    const frame = dataFrame(Buffer.from("abc"));
    const seen = Array.from(frame, (byte) => {
      recorder.decoder.push(Uint8Array.of(byte));
      return recorder.decoder.inData;
    });
    expect(seen.indexOf(true)).toBe(FRAME_HEADER_BYTES - 1);
    expect(seen.lastIndexOf(true)).toBe(frame.length - 2);
  });
});

describe("errors", () => {
  test("say who, on which slot and where", () => {
    const recorder = new FrameRecorder("server/stream", () => "agent web-1");
    const header = dataFrame(Buffer.from("abc")).subarray(0, FRAME_HEADER_BYTES);
    new DataView(header.buffer).setUint32(8, 1_073_741_824);
    const failure = thrown(() => recorder.decoder.push(header));
    expect(String(failure)).toBe(
      "E_FRAME_TOO_LARGE: data frame of 1073741824 bytes exceeds 18087976 (agent web-1, slot 3, offset 52428800)",
    );
  });

  test("of a handler end the decoder as they are", () => {
    const failure = new Failure("E_DISK", "the disk is gone", { retryAfterMs: 5 });
    const decoder = new FrameDecoder({
      state: "server/stream",
      describe: () => "agent web-1",
      handlers: {
        message: () => {
          throw failure;
        },
        dataStart: () => undefined,
        dataBytes: () => undefined,
        dataEnd: () => undefined,
      },
    });
    expect(thrown(() => decoder.push(PING))).toBe(failure);
    expect(thrown(() => decoder.push(PONG))).toBe(failure);
  });

  test("a Data frame whose payload does not match its CRC is said at its end, and the next frame is read", () => {
    const recorder = new FrameRecorder("server/stream");
    const frame = dataFrame(Buffer.from("abc"));
    frame[FRAME_HEADER_BYTES] = 0;
    recorder.decoder.push(Buffer.concat([frame, PING]));
    const [first, second] = recorder.events;
    expect(first?.kind === "data" && first.tail === undefined).toBe(true);
    expect(second?.kind === "message" && second.message.type).toBe("ping");
  });
});

describe("limits", () => {
  test("the largest chunk goes through, and only views of what arrived are handed on", () => {
    const stored = new Uint8Array(CHUNK_STORED_BYTES_MAX).fill(7);
    const recorder = new FrameRecorder("server/stream");
    const frame = dataFrame(stored);
    for (let at = 0; at < frame.length; at += 65_536) recorder.decoder.push(frame.subarray(at, at + 65_536));
    const [event] = recorder.events;
    expect(event?.kind === "data" && event.tail?.rawLength).toBe(7);
    expect(Math.max(...recorder.pieces)).toBeLessThanOrEqual(65_536);
  });

  test("a Sack with as many ranges and lost chunks as there may be fits its frame", () => {
    const received = Array.from({ length: 1024 }, (): [number, number] => [0xffff_fffe, 0xffff_ffff]);
    const frame = encodeMessage("sack", {
      boot: RUN,
      generation: 1,
      files: [0, 1].map((file) => ({
        file: file === 0 ? 0 : 1,
        durableChunks: 0xffff_ffff,
        durableBytes: Number.MAX_SAFE_INTEGER,
        received,
      })),
      lost: Array.from({ length: 1024 }, (): [0 | 1, number] => [1, 0xffff_ffff]),
      stalled: false,
    });
    expect(frame.length).toBeLessThan(32 * 1024);
  });

  test("a message of this side that does not fit its schema is a bug of this side", () => {
    expect(() => encodeMessage("ping", { id: -1 })).toThrow("outgoing ping does not fit its schema");
    expect(() => encodeMessage("ping", { id: 0.5 })).toThrow("outgoing ping does not fit its schema");
  });
});
