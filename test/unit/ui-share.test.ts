import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { shared } from "#ui/share.ts";

describe("an answer that comes again", () => {
  test("is the same object when it is equal, and equal whatever was before", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (before, after) => {
        expect(shared(before, structuredClone(after))).toEqual(after);
        const again = shared(after, structuredClone(after));
        expect(Object.is(again, after)).toBe(true);
      }),
    );
  });
  test("keeps the rows that did not change, and has new ones where they did", () => {
    const before = {
      now: 1,
      rows: [
        { name: "a", sizes: [1, 2] },
        { name: "b", sizes: [] },
        { name: "c", sizes: [3] },
      ],
    };
    const after = shared(before, {
      now: 2,
      rows: [
        { name: "a", sizes: [1, 2] },
        { name: "b", sizes: [9] },
        { name: "c", sizes: [3] },
      ],
    });
    expect(after).not.toBe(before);
    expect(after.rows[0]).toBe(before.rows[0]);
    expect(after.rows[1]).toEqual({ name: "b", sizes: [9] });
    expect(after.rows[2]).toBe(before.rows[2]);
    expect(shared(before, { now: 2, rows: structuredClone(before.rows) }).rows).toBe(before.rows);
  });
  test("does not take a list for a record, nor one with more or fewer names for the same", () => {
    expect(shared<unknown>([], {})).toEqual({});
    expect(shared<unknown>({ a: 1, b: 2 }, { a: 1 })).toEqual({ a: 1 });
    expect(shared<unknown>({ a: 1 }, { a: 1, b: null })).toEqual({ a: 1, b: null });
    expect(shared<unknown>(null, { a: [1] })).toEqual({ a: [1] });
  });
});
