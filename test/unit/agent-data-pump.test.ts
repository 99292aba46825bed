/** Chunks of the window as Data frames: what a decoder makes of them, and the limits on what is handed out. */
import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";
import type { Clock } from "#base/clock.ts";
import { KiB, MiB } from "#base/units.ts";
import { DataPump } from "#agent/data-pump.ts";
import { StreamMeter } from "#agent/stream-meter.ts";
import { Throttle } from "#agent/throttle.ts";
import { SendWindow } from "#window/send-window.ts";
import { type DataEnd, FrameDecoder } from "#wire/decoder.ts";
import type { FrameHeader } from "#wire/frame.ts";
import { WRITE_BYTES_MAX } from "#wire/limits.ts";

const clock: Clock = { now: () => 0, wall: () => 0, after: () => ({ cancel: () => undefined }) };

function windowWith(lengths: readonly number[]): SendWindow {
  const window = new SendWindow(64 * MiB);
  window.welcome("b", 1);
  lengths.forEach((length, sequence) => {
    const stored = new Uint8Array(length).map((_, i) => (i * 31 + sequence) & 0xff);
    window.reserve(length);
    const digest = new Uint8Array(new Bun.CryptoHasher("sha256").update(stored).digest());
    window.append({ file: 0, sequence, kind: "data", rawLength: length * 2, stored, crc: crc32(stored), digest });
  });
  return window;
}

interface Decoded {
  readonly header: FrameHeader;
  readonly stored: Buffer;
  readonly end: DataEnd;
}

/** Decodes what the pump hands out; `onPiece` may interfere between pieces. */
function drain(pump: DataPump, onPiece: () => void = () => undefined): Decoded[] {
  const frames: Decoded[] = [];
  let parts: Buffer[] = [];
  let header: FrameHeader | undefined;
  const decoder = new FrameDecoder({
    state: "server/stream",
    handlers: {
      message: () => undefined,
      dataStart: (h) => {
        header = h;
        parts = [];
      },
      dataBytes: (bytes) => parts.push(Buffer.from(bytes)),
      dataEnd: (end) => {
        if (header !== undefined) frames.push({ header, stored: Buffer.concat(parts), end });
      },
    },
  });
  for (let piece = pump.next(); piece !== undefined; piece = pump.next()) {
    expect(piece.bytes.length).toBeGreaterThan(0);
    expect(piece.bytes.length).toBeLessThanOrEqual(WRITE_BYTES_MAX);
    decoder.push(piece.bytes);
    expect(decoder.inData).toBe(!piece.endsFrame);
    onPiece();
  }
  return frames;
}

function pumpOf(window: SendWindow, throttle = new Throttle(clock, undefined)): DataPump {
  return new DataPump({
    window,
    clock,
    throttle,
    slot: 3,
    generation: 7,
    wake: () => undefined,
    meter: new StreamMeter(),
    chunkEnded: () => undefined,
  });
}

test("every chunk becomes one Data frame whose bytes, CRC and tail are the chunk's, whatever its length", () => {
  const lengths = [
    1,
    40,
    4 * KiB,
    16 * KiB - 72,
    16 * KiB - 71,
    16 * KiB,
    20 * KiB,
    256 * KiB,
    300 * KiB,
    5 * MiB + 17,
  ];
  const window = windowWith(lengths);
  const frames = drain(pumpOf(window));
  expect(frames.map((f) => f.stored.length)).toEqual(lengths);
  let offset = 0;
  frames.forEach((frame, sequence) => {
    const expected = Buffer.from(frame.stored.map((_, i) => (i * 31 + sequence) & 0xff));
    expect(frame.stored.equals(expected)).toBe(true);
    expect(frame.header).toMatchObject({ slot: 3, generation: 7, sequence, offset, flags: 0 });
    expect(frame.end.crcOk).toBe(true);
    if (frame.end.crcOk) {
      expect(frame.end.rawLength).toBe(frame.stored.length * 2);
      expect(Buffer.from(frame.end.digest).toString("hex")).toBe(
        new Bun.CryptoHasher("sha256").update(frame.stored).digest("hex"),
      );
    }
    offset += frame.stored.length;
  });
  expect(window.hasQueued).toBe(false);
});

test("a chunk that became durable by another stream half-way is filled up to its length, so that the stream stays in step", () => {
  const window = windowWith([MiB, 100]);
  const frames = drain(pumpOf(window), () => {
    window.acknowledge(
      { boot: "b", generation: 1, lost: [], files: [{ file: 0, durableChunks: 1, durableBytes: MiB, received: [] }] },
      0,
    );
  });
  expect(frames.map((f) => [f.stored.length, f.end.crcOk])).toEqual([
    [MiB, false],
    [100, true],
  ]);
});

test("a chunk offered for rescue goes out next, unless it was received in the meantime", () => {
  const window = windowWith([1000, 2000]);
  const slow = window.next(0, 0);
  const other = window.next(0, 0);
  if (slow === undefined || other === undefined) throw new Error("the window has two chunks");
  const pump = pumpOf(window);
  expect(pump.idle).toBe(true);
  pump.offer(slow);
  expect(pump.idle).toBe(false);
  expect(drain(pump).map((f) => f.header.sequence)).toEqual([0]);
  expect(window.resentBytes).toBe(1000);
  pump.offer(other);
  window.acknowledge(
    { boot: "b", generation: 1, lost: [], files: [{ file: 0, durableChunks: 0, durableBytes: 0, received: [[0, 1]] }] },
    0,
  );
  expect(drain(pump)).toEqual([]);
});

test("a stream that is being drained is not idle: it would take a chunk on and never send it", () => {
  const window = windowWith([1000]);
  window.next(0, 0);
  const pump = pumpOf(window);
  expect(pump.idle).toBe(true);
  pump.finish(() => undefined);
  expect(pump.idle).toBe(false);
});
