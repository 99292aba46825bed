/** The byte ring under the send window. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { MiB } from "#base/units.ts";
import { ByteRing } from "#window/ring.ts";

/** All bytes at [position, position + length), put together from the views. */
function collect(ring: ByteRing, position: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const view = ring.view(position + done, length - done);
    expect(view.length).toBeGreaterThan(0);
    out.set(view, done);
    done += view.length;
  }
  return out;
}

test("what was appended is read back until it is freed, across segments and reuse", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 3 * MiB }), { maxLength: 12 }), (lengths) => {
      const ring = new ByteRing(10 * MiB);
      const held: { position: number; length: number; fill: number }[] = [];
      lengths.forEach((length, i) => {
        while (ring.usedBytes + length > 10 * MiB) {
          const oldest = held.shift();
          if (oldest !== undefined) ring.freeTo(oldest.position + oldest.length);
        }
        const fill = (i * 37 + 1) & 0xff;
        held.push({ position: ring.append(new Uint8Array(length).fill(fill)), length, fill });
        for (const item of held) {
          const bytes = collect(ring, item.position, item.length);
          expect(bytes[0]).toBe(item.fill);
          expect(bytes[item.length - 1]).toBe(item.fill);
          expect(bytes.indexOf(item.fill === 0 ? 1 : 0)).toBe(-1);
        }
      });
      expect(ring.usedBytes).toBe(held.reduce((sum, item) => sum + item.length, 0));
    }),
    { numRuns: 20 },
  );
});

test("bytes beyond the capacity, and views of freed bytes, are assertion failures", () => {
  const ring = new ByteRing(100);
  const position = ring.append(new Uint8Array(60));
  expect(() => ring.append(new Uint8Array(41))).toThrow("cannot take 41");
  ring.freeTo(position + 10);
  expect(() => ring.view(position, 5)).toThrow("asked for");
  expect(ring.usedBytes).toBe(50);
});
