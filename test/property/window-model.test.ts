/**
 * The send window against a naive model: a list of chunks with a state each. Random appends, streams that take chunks
 * and die, a server that receives, makes durable, loses and restarts. After every step both say the same.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { FileNumber } from "#base/chunk.ts";
import type { WindowChunk } from "#window/held-chunk.ts";
import { SendWindow } from "#window/send-window.ts";

const CAPACITY = 4096;
const RESERVE = 512;

interface ModelChunk {
  readonly file: FileNumber;
  readonly sequence: number;
  readonly bytes: Uint8Array;
  readonly order: number;
  carriers: Set<number>;
  everSent: boolean;
  server: "missing" | "received" | "durable";
  /** What the agent was last told. */
  told: "missing" | "received" | "durable";
}

type Step =
  | { readonly kind: "append"; readonly file: FileNumber; readonly length: number }
  | { readonly kind: "take"; readonly carrier: number }
  | { readonly kind: "arrive"; readonly pick: number }
  | { readonly kind: "sync" }
  | { readonly kind: "sack" }
  | { readonly kind: "lose"; readonly pick: number }
  | { readonly kind: "die"; readonly carrier: number }
  | { readonly kind: "resume" }
  | { readonly kind: "restart" }
  /** A Sack that was sent long ago is read now. */
  | { readonly kind: "late"; readonly pick: number }
  | { readonly kind: "late welcome"; readonly pick: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      file: fc.constantFrom<FileNumber>(0, 0, 0, 1),
      length: fc.integer({ min: 1, max: RESERVE }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("take" as const), carrier: fc.integer({ min: 0, max: 2 }) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("arrive" as const), pick: fc.nat(1000) }) },
  { weight: 2, arbitrary: fc.constant({ kind: "sync" as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: "sack" as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose" as const), pick: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("die" as const), carrier: fc.integer({ min: 0, max: 2 }) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "resume" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("late" as const), pick: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("late welcome" as const), pick: fc.nat(1000) }) },
);

class Model {
  readonly chunks: ModelChunk[] = [];
  readonly lost: [FileNumber, number][] = [];
  boot = 1;
  generation = 1;
  /** Every Sack that was ever made, read or not. */
  readonly acks: Parameters<SendWindow["acknowledge"]>[0][] = [];

  ofFile(file: FileNumber): ModelChunk[] {
    return this.chunks.filter((c) => c.file === file);
  }

  /** Chunks that are queued by the rules: not told received, on no living stream. */
  queued(): ModelChunk[] {
    return this.chunks.filter((c) => c.told === "missing" && c.carriers.size === 0);
  }

  ack(): Parameters<SendWindow["acknowledge"]>[0] {
    const files = ([0, 1] as const).map((file) => {
      const all = this.ofFile(file);
      const durable = all.findIndex((c) => c.server !== "durable");
      const durableChunks = durable === -1 ? all.length : durable;
      const received = all
        .slice(durableChunks)
        .filter((c) => c.server === "received")
        .map((c): [number, number] => [c.sequence, c.sequence]);
      return {
        file,
        durableChunks,
        durableBytes: all.slice(0, durableChunks).reduce((sum, c) => sum + c.bytes.length, 0),
        received,
      };
    });
    const ack = { boot: String(this.boot), generation: this.generation, files, lost: this.lost.splice(0) };
    this.acks.push(ack);
    return ack;
  }

  isOld({ boot, generation }: Parameters<SendWindow["acknowledge"]>[0]): boolean {
    return boot !== String(this.boot) || generation < this.generation;
  }

  told(ack: ReturnType<Model["ack"]>): void {
    for (const [file, sequence] of ack.lost) {
      const chunk = this.ofFile(file)[sequence];
      if (chunk !== undefined) chunk.carriers.clear();
    }
    for (const c of this.chunks) {
      if (c.told !== "durable") c.told = c.server;
    }
  }
}

function allBytes(window: SendWindow, chunk: WindowChunk): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < chunk.storedLength;) {
    const view = window.bytes(chunk, at, chunk.storedLength);
    parts.push(view.slice());
    at += view.length;
  }
  return Buffer.concat(parts);
}

function run(steps: readonly Step[]): void {
  const window = new SendWindow(CAPACITY);
  const model = new Model();
  expect(window.welcome("1", 1)).toBe("same");
  for (const s of steps) apply(s, window, model);
  // Heal: everything is sent, arrives and becomes durable; nothing may be left.
  for (;;) {
    const chunk = window.next(9, 0);
    if (chunk === undefined) break;
    const mine = model.ofFile(chunk.file)[chunk.sequence];
    expect(mine).toBeDefined();
    if (mine !== undefined) mine.everSent = true;
  }
  for (const c of model.chunks) c.server = "durable";
  window.acknowledge(model.ack(), 0);
  expect(window.heldChunks).toBe(0);
  expect(window.usedBytes).toBe(0);
  expect(window.allReceived).toBe(true);
}

function apply(s: Step, window: SendWindow, model: Model): void {
  const open = model.chunks.filter((c) => c.everSent && c.server === "missing" && c.carriers.size > 0);
  switch (s.kind) {
    case "append": {
      const held = model.chunks.filter((c) => c.told !== "durable");
      const fits = window.reserve(RESERVE);
      if (held.length === 0) expect(fits).toBe(true);
      if (!fits) return;
      const bytes = new Uint8Array(s.length).fill(model.chunks.length & 0xff);
      const sequence = model.ofFile(s.file).length;
      window.append({
        file: s.file,
        sequence,
        kind: "entries",
        rawLength: 1,
        stored: bytes,
        crc: 0,
        digest: new Uint8Array(32),
      });
      model.chunks.push({
        file: s.file,
        sequence,
        bytes,
        order: model.chunks.length,
        carriers: new Set(),
        everSent: false,
        server: "missing",
        told: "missing",
      });
      break;
    }
    case "take": {
      const expected = model.queued();
      // What was sent before goes first, then the oldest: both lists by order.
      const again = expected.filter((c) => c.everSent);
      const want = again[0] ?? expected[0];
      expect(window.hasQueued).toBe(want !== undefined);
      const chunk = window.next(s.carrier, 0);
      expect(chunk?.order).toBe(want?.order as number);
      if (chunk === undefined || want === undefined) return;
      expect(allBytes(window, chunk)).toEqual(Buffer.from(want.bytes));
      want.carriers.add(s.carrier);
      want.everSent = true;
      break;
    }
    case "arrive": {
      const chunk = open[s.pick % Math.max(1, open.length)];
      if (chunk !== undefined) chunk.server = "received";
      break;
    }
    case "sync":
      for (const file of [0, 1] as const) {
        for (const c of model.ofFile(file)) {
          if (c.server === "missing") break;
          c.server = "durable";
        }
      }
      break;
    case "sack": {
      const ack = model.ack();
      window.acknowledge(ack, 0);
      model.told(ack);
      break;
    }
    case "lose": {
      const sent = model.chunks.filter((c) => c.everSent && c.server !== "durable" && c.told !== "durable");
      const chunk = sent[s.pick % Math.max(1, sent.length)];
      if (chunk === undefined) return;
      chunk.server = "missing";
      model.lost.push([chunk.file, chunk.sequence]);
      break;
    }
    case "die":
      window.carrierLost(s.carrier);
      for (const c of model.chunks) c.carriers.delete(s.carrier);
      break;
    case "resume":
      // A new session connection: what the server has received it says again.
      model.generation += 1;
      expect(window.welcome(String(model.boot), model.generation)).toBe("same");
      apply({ kind: "sack" }, window, model);
      break;
    case "late": {
      const old = model.acks.filter((ack) => model.isOld(ack));
      const ack = old[s.pick % Math.max(1, old.length)];
      if (ack === undefined) return;
      const result = window.acknowledge(ack, 0);
      expect([result.requeuedChunks, result.lost.length]).toEqual([0, 0]);
      // Nothing but what is durable, and that for ever.
      for (const { file, durableChunks } of ack.files) {
        for (const c of model.ofFile(file).slice(0, durableChunks)) c.told = "durable";
      }
      break;
    }
    case "late welcome":
      if (model.boot > 1) expect(window.welcome(String(1 + (s.pick % (model.boot - 1))), 99)).toBe("late");
      break;
    case "restart":
      // Every connection is gone, what was only received is void; the next Welcome and Sack say the new boot.
      model.boot += 1;
      model.generation += 1;
      model.lost.length = 0;
      expect(window.welcome(String(model.boot), model.generation)).toBe("restarted");
      for (const carrier of [0, 1, 2]) apply({ kind: "die", carrier }, window, model);
      for (const c of model.chunks) if (c.server === "received") c.server = "missing";
      apply({ kind: "sack" }, window, model);
      break;
  }
}

test("the window says the same as a naive list of chunks, whatever streams and server do", () => {
  fc.assert(fc.property(fc.array(step, { minLength: 1, maxLength: 120 }), run), { numRuns: 400 });
});

function oneReceived(): SendWindow {
  const window = new SendWindow(CAPACITY);
  window.welcome("old", 3);
  expect(window.reserve(RESERVE)).toBe(true);
  const chunk = { file: 0, sequence: 0, kind: "entries", rawLength: 1, crc: 0 } as const;
  window.append({ ...chunk, stored: new Uint8Array(7), digest: new Uint8Array(32) });
  window.next(0, 0);
  window.acknowledge(ackOf("old", 3, [[0, 0]]), 0);
  expect(window.allReceived).toBe(true);
  return window;
}

function ackOf(boot: string, generation: number, received: [number, number][]): ReturnType<Model["ack"]> {
  return { boot, generation, files: [{ file: 0, durableChunks: 0, durableBytes: 0, received }], lost: [] };
}

test("after a restart of the server all above the durable point goes out again, whatever its last start still says", () => {
  const window = oneReceived();
  expect(window.welcome("new", 4)).toBe("restarted");
  // Read after the Welcome of the new one, before and after its first Sack.
  window.acknowledge(ackOf("old", 3, [[0, 0]]), 0);
  expect(window.acknowledge(ackOf("new", 4, []), 0)).toMatchObject({ requeuedChunks: 1, receivedChunks: 0 });
  expect(window.allReceived).toBe(false);
  window.acknowledge(ackOf("old", 3, [[0, 0]]), 0);
  window.acknowledge(ackOf("old", 99, [[0, 0]]), 0);
  expect(window.allReceived).toBe(false);
  expect(window.next(1, 0)?.sequence).toBe(0);
  expect(window.acknowledge(ackOf("new", 4, [[0, 0]]), 0)).toMatchObject({ receivedChunks: 1, newChunks: 0 });
});

test("a generation that a Sack says before its Welcome is read counts", () => {
  const window = oneReceived();
  expect(window.acknowledge(ackOf("old", 4, []), 0).requeuedChunks).toBe(1);
  expect(window.welcome("old", 4)).toBe("same");
  window.acknowledge(ackOf("old", 3, [[0, 0]]), 0);
  expect(window.allReceived).toBe(false);
});

test("regression: a chunk that was lost and came again before the Sack is received", () => {
  run([
    { kind: "append", file: 0, length: 1 },
    { kind: "take", carrier: 0 },
    { kind: "lose", pick: 0 },
    { kind: "arrive", pick: 0 },
    { kind: "sack" },
    { kind: "take", carrier: 0 },
  ]);
});
