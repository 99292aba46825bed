/** The ledger against a model that knows every byte of every chunk and compares everything with everything. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "#base/errors.ts";
import { FileLedger } from "#store/ledger.ts";

interface ModelChunk {
  readonly offset: number;
  readonly length: number;
  state: "claimed" | "received" | "durable";
  tookOver: boolean;
}

/** Slow and plain. */
class Model {
  readonly chunks = new Map<number, ModelChunk>();
  readonly windowBytes: number;

  constructor(windowBytes: number) {
    this.windowBytes = windowBytes;
  }

  get durable(): { chunks: number; bytes: number } {
    let [chunks, bytes] = [0, 0];
    for (;;) {
      const chunk = this.chunks.get(chunks);
      if (chunk?.state !== "durable") return { chunks, bytes };
      chunks += 1;
      bytes += chunk.length;
    }
  }

  claim(sequence: number, offset: number, length: number): "new" | "again" | "duplicate" | "refused" {
    const known = this.chunks.get(sequence);
    if (known !== undefined && sequence >= this.durable.chunks) {
      if (offset + length > this.durable.bytes + this.windowBytes) return "refused";
      if (known.offset !== offset || known.length !== length) return "refused";
      if (known.state !== "claimed") return "duplicate";
      known.tookOver = true;
      return "again";
    }
    if (sequence < this.durable.chunks) {
      const low = sequence === 0 ? offset === 0 : offset >= sequence;
      return low && length >= 1 && offset + length <= this.durable.bytes ? "duplicate" : "refused";
    }
    if (length < 1 || offset + length > this.durable.bytes + this.windowBytes) return "refused";
    if (sequence === 0 ? offset !== 0 : offset < sequence) return "refused";
    for (const [other, chunk] of this.chunks) {
      const [between, gap] =
        other < sequence
          ? [sequence - other - 1, offset - chunk.offset - chunk.length]
          : [other - sequence - 1, chunk.offset - offset - length];
      if (between === 0 ? gap !== 0 : gap < between) return "refused";
    }
    this.chunks.set(sequence, { offset, length, state: "claimed", tookOver: false });
    return "new";
  }

  received(): number[] {
    return [...this.chunks]
      .filter(([sequence, chunk]) => chunk.state !== "claimed" && sequence >= this.durable.chunks)
      .map(([sequence]) => sequence)
      .sort((a, b) => a - b);
  }
}

function claim(ledger: FileLedger, sequence: number, offset: number, length: number): ReturnType<Model["claim"]> {
  try {
    return ledger.claim({ file: 0, sequence, offset, storedLength: length });
  } catch (error) {
    if (error instanceof Failure && error.code === "E_PROTOCOL") return "refused";
    throw error;
  }
}

/** Mostly chunks as a cutter would cut them, sometimes slightly wrong. */
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("claim" as const),
      at: fc.nat(15),
      off: fc.constant(0),
      len: fc.constant(0),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("claim" as const),
      at: fc.nat(15),
      off: fc.integer({ min: -2, max: 2 }),
      len: fc.integer({ min: -1, max: 1 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("receive" as const), at: fc.nat(15) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("release" as const), at: fc.nat(15) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("durable" as const), at: fc.nat(15) }) },
);

test("the ledger agrees with a naive model about every claim, release and arrival in any order", () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(
      lengths,
      fc.integer({ min: 6, max: 60 }),
      fc.array(action, { maxLength: 120 }),
      (cut, window, actions) => {
        const ledger = new FileLedger(0, window);
        const model = new Model(window);
        const offsets = cut.map((_, index) => cut.slice(0, index).reduce((sum, length) => sum + length, 0));
        for (const step of actions) {
          const known = model.chunks.get(step.at);
          if (step.do === "claim") {
            const [offset, length] = [(offsets[step.at] ?? 0) + step.off, (cut[step.at] ?? 0) + step.len];
            expect(claim(ledger, step.at, offset, length)).toBe(model.claim(step.at, offset, length));
          } else if (step.do === "receive" && known?.state === "claimed") {
            ledger.receive(step.at);
            known.state = "received";
          } else if (step.do === "release" && known?.state === "claimed") {
            expect(ledger.release(step.at)).toBe(known.tookOver);
            model.chunks.delete(step.at);
          } else if (step.do === "durable" && known?.state === "received") {
            ledger.makeDurable(step.at);
            known.state = "durable";
          }
          const { chunks, bytes } = model.durable;
          expect([ledger.durableChunks, ledger.durableBytes]).toEqual([chunks, bytes]);
          const ranges = ledger.receivedRanges(1000);
          const listed = ranges.flatMap(([first, last]) =>
            Array.from({ length: last - first + 1 }, (_, i) => first + i),
          );
          expect(listed).toEqual(model.received());
          const arrived = [...model.chunks.values()].filter((chunk) => chunk.state !== "claimed");
          expect(ledger.receivedChunks).toBe(arrived.length);
          expect(ledger.receivedBytes).toBe(arrived.reduce((sum, chunk) => sum + chunk.length, 0));
          expect(ledger.claimedChunks).toBe(model.chunks.size - arrived.length);
          const highest = Math.max(-1, ...model.received());
          expect(ledger.gapless).toBe(highest < 0 || highest + 1 === arrived.length);
        }
      },
    ),
    { numRuns: 400 },
  );
});

test("ranges of received chunks are maximal, ascending and never more than asked for", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(40), { maxLength: 30 }),
      fc.integer({ min: 1, max: 10 }),
      (sequences, rangesMax) => {
        const ledger = new FileLedger(0, 1000);
        for (const sequence of sequences) {
          expect(ledger.claim({ file: 0, sequence, offset: sequence * 3, storedLength: 3 })).toBe("new");
          ledger.receive(sequence);
        }
        const all = ledger.receivedRanges(1000);
        for (const [index, [first, last]] of all.entries()) {
          expect(first).toBeLessThanOrEqual(last);
          const next = all[index + 1];
          if (next !== undefined) expect(next[0]).toBeGreaterThan(last + 1);
        }
        expect(ledger.receivedRanges(rangesMax)).toEqual(all.slice(0, rangesMax));
      },
    ),
  );
});

test("whatever a header says, the ledger answers or refuses with E_PROTOCOL", () => {
  const odd = fc.oneof(fc.integer(), fc.double(), fc.constantFrom(Number.MAX_SAFE_INTEGER, 2 ** 32, 2 ** 53, -1, 0, 1));
  fc.assert(
    fc.property(fc.array(fc.tuple(odd, odd, odd), { maxLength: 20 }), (places) => {
      const ledger = new FileLedger(1, 1 << 20);
      for (const [sequence, offset, length] of places) {
        expect(["new", "duplicate", "refused"]).toContain(claim(ledger, sequence, offset, length));
      }
      expect(ledger.durableBytes).toBe(0);
    }),
  );
});

test("chunks too many numbers above the durable point are refused, so that tiny ones cannot fill the memory", () => {
  for (const [windowBytes, chunksMax] of [
    [2 ** 20, 16_384],
    [2 ** 30, 16_384],
    [2 ** 32, 65_536],
    [2 ** 34, 131_072],
  ] as const) {
    const ledger = new FileLedger(0, windowBytes, { chunks: 10, bytes: 1000 });
    const last = 10 + chunksMax - 1;
    expect(claim(ledger, last, 1000 + last - 10, 1)).toBe("new");
    expect(claim(ledger, last + 1, 1000 + last - 9, 1)).toBe("refused");
  }
});

test("a file that begins at a durable point goes on from there", () => {
  const ledger = new FileLedger(0, 100, { chunks: 2, bytes: 50 });
  expect(claim(ledger, 1, 30, 20)).toBe("duplicate");
  expect(claim(ledger, 1, 30, 21)).toBe("refused");
  expect(claim(ledger, 2, 51, 10)).toBe("refused");
  expect(claim(ledger, 2, 50, 10)).toBe("new");
  expect([ledger.receivedChunks, ledger.receivedBytes, ledger.claimedChunks, ledger.gapless]).toEqual([2, 50, 1, true]);
});
