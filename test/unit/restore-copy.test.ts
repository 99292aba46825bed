/** --stdout-tar: what it keeps of a stream while nobody has decided about it, and that nothing of that gets lost. */
import { describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import path from "node:path";
import { MiB } from "#base/units.ts";
import { CopySink } from "#restore/copy-sink.ts";
import { HeldBytes } from "#restore/held-bytes.ts";
import { Output } from "#restore/output.ts";
import { Selection } from "#restore/selection.ts";
import { type EntrySink, TarFeed } from "#restore/tar-feed.ts";
import { writeCalls } from "#restore/write-calls.ts";
import { block, END, padded } from "#test/support/tar-blocks.ts";
import { makeTempDir, memoryDir, removeTree } from "#test/support/tree.ts";

const file = (name: string, data: string): Buffer =>
  Buffer.concat([block({ 0: name, 124: `${data.length.toString(8).padStart(11, "0")}\0` }), padded(data)]);

/** Bytes shown to the sink, and what it writes. */
function copied(
  push: (feed: TarFeed) => void,
  held = new HeldBytes(),
): { readonly shown: number; readonly output: Buffer } {
  const dir = makeTempDir(memoryDir());
  try {
    const name = path.join(dir, "output");
    const fd = fs.openSync(name, "w");
    const sink = new CopySink(new Selection([]), new Output(writeCalls(), fd), () => undefined, held);
    let shown = 0;
    const watched: EntrySink = {
      entry: (entry) => sink.entry(entry),
      data: () => sink.data(),
      lost: () => sink.lost(),
      entryEnd: () => sink.entryEnd(),
      incomplete: () => sink.incomplete(),
      raw: (bytes, at) => {
        shown += bytes.length;
        sink.raw(bytes, at);
      },
      taken: () => sink.taken(),
      rawMissing: (length) => sink.rawMissing(length),
    };
    const feed = new TarFeed(watched);
    push(feed);
    feed.endPass(false);
    sink.finish();
    fs.closeSync(fd);
    return { shown, output: fs.readFileSync(name) };
  } finally {
    removeTree(dir);
  }
}

describe("--stdout-tar", () => {
  const [one, two] = [file("one", "first"), file("two", "second")];
  test("looks at nothing behind the end blocks", () => {
    const { shown, output } = copied((feed) => {
      feed.push(Buffer.concat([one, END]), undefined);
      const behind = new Uint8Array(MiB);
      for (let i = 0; i < 50; i += 1) feed.push(behind, undefined);
    });
    expect(shown).toBe(one.length + END.length);
    expect(output.equals(Buffer.concat([one, new Uint8Array(output.length - one.length)]))).toBe(true);
  });
  test("finds the next entry behind much that is none, also when its header comes in two parts", () => {
    const held = new HeldBytes();
    const { output } = copied((feed) => {
      feed.push(one, undefined);
      const rubbish = new Uint8Array(MiB).fill(0x55);
      for (let i = 0; i < 80; i += 1) feed.push(rubbish, undefined);
      feed.push(two.subarray(0, 100), undefined);
      feed.push(two.subarray(100), undefined);
      feed.push(END, undefined);
    }, held);
    expect(held.capacity).toBeLessThan(40 * MiB);
    const entries = Buffer.concat([one, two]);
    expect(output.subarray(0, entries.length).equals(entries)).toBe(true);
    expect(output.subarray(entries.length).every((byte) => byte === 0)).toBe(true);
  });
});

describe("bytes that are held", () => {
  test("take no more memory than some times what is held, however many go through", () => {
    const held = new HeldBytes();
    const part = new Uint8Array(1000);
    let [next, first] = [0, 0];
    let most = 0;
    for (let i = 0; i < 5000; i += 1) {
      for (let at = 0; at < part.length; at += 1) part[at] = next++ % 251;
      held.append(part);
      if (held.length > 20_000) {
        expect(held.first(1)[0]).toBe(first % 251);
        held.drop(1500);
        first += 1500;
      }
      most = Math.max(most, held.capacity);
    }
    expect(most).toBeLessThan(4 * 22_000);
    const rest = held.first(held.length);
    expect([rest[0], rest.at(-1), rest.length]).toEqual([first % 251, (next - 1) % 251, next - first]);
  });
});
