/** A member that holds what looks like the beginnings of many: how often it is read before it is read as a stream, and that it can be stopped. */
import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { type Piece, PIECE_STORED_BYTES_MAX } from "#restore/piece.ts";
import { type PieceSink, runPipeline } from "#restore/pipeline.ts";
import { makeSlots, viewSlots } from "#restore/slots.ts";
import { MemoryAccess, runInline } from "#test/support/restore-run.ts";
import { block, END } from "#test/support/tar-blocks.ts";

/** As members of ours begin. */
const START = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);

/** Whole blocks of data. */
function file(data: Uint8Array): Buffer {
  return Buffer.concat([block({ 0: "f", 124: `${data.length.toString(8).padStart(11, "0")}\0` }), data]);
}

/** Not compressed. */
function member(...parts: readonly Uint8Array[]): Buffer {
  const made = gzipSync(Buffer.concat(parts), { level: 0 });
  START.copy(made);
  return made;
}

/** One member with a file of so many beginnings. */
function archive(beginnings: number): Buffer {
  const data = Buffer.alloc(Math.ceil((beginnings * 32) / 512) * 512, 0x55);
  for (let i = 0; i < beginnings; i += 1) START.copy(data, i * 32);
  return member(file(data), END);
}

describe("a member with many beginnings in it", () => {
  test("is read a few times, and then as a stream", async () => {
    const access = new MemoryAccess(archive(2000));
    const { report } = await runInline(access, { kind: "verify", compare: false });
    expect([report.entries, report.damages]).toEqual([1, []]);
    expect(access.readBytes).toBeLessThan(10 * access.size);
  });
  test("is joined when there are few", async () => {
    const access = new MemoryAccess(archive(20));
    const { report, pieces } = await runInline(access, { kind: "verify", compare: false });
    expect([report.entries, report.damages, pieces]).toEqual([1, [], 1]);
  });
  test("is left when the user interrupts", async () => {
    const stop = new AbortController();
    let attempts = 0;
    let next = 0;
    const piece = (index: number): Piece => ({
      ...{ index, mode: "gzip", offset: index * 32, length: 32, lost: false },
      ...{ rawOffset: undefined, rawLength: undefined, crc: undefined, digest: undefined },
      ...{ enterAt: undefined, leaveAt: undefined },
    });
    const handed = (): Promise<never> => Promise.reject(new Error("handed over"));
    const sink: PieceSink = { piece: handed, bad: handed, bytes: handed, broken: handed };
    await runPipeline({
      ...{ access: new MemoryAccess(new Uint8Array(32_000)), sink, signal: stop.signal },
      source: { next: async () => (next < 1000 ? piece(next++) : undefined) },
      slots: viewSlots(makeSlots(1, 32_000, 1000)),
      inflater: {
        inflate: async () => {
          attempts += 1;
          if (attempts === 5) stop.abort();
          return "unfinished";
        },
      },
    });
    expect(attempts).toBe(5);
  });
});

test("a member that is longer than any of ours is read as a stream, also behind others", async () => {
  const long = new Uint8Array(Math.ceil(PIECE_STORED_BYTES_MAX / 512) * 512);
  const short = member(file(new Uint8Array(512)));
  const access = new MemoryAccess(Buffer.concat([short, short, member(file(long), END)]));
  const { report } = await runInline(access, { kind: "verify", compare: false });
  expect([report.entries, report.damages]).toEqual([3, []]);
});
