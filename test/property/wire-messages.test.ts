/** Laws of the control messages: what is encoded is decoded again, and no msgpack gets past the guard that could hurt. */
import { describe, expect, test } from "bun:test";
import { decode, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { Failure } from "#base/errors.ts";
import { anyBody } from "#test/support/wire-arbitraries.ts";
import { plainText } from "#test/support/naive-frames.ts";
import { decodeHeader, decodeMessage } from "#wire/decode.ts";
import { encodeMessage } from "#wire/encode.ts";
import { type Message, MESSAGES, type MessageType } from "#wire/messages.ts";
import { guardMsgpack, MESSAGE_DEPTH_MAX } from "#wire/msgpack-guard.ts";

const TYPES = Object.keys(MESSAGES) as MessageType[];

function checkType<T extends MessageType>(type: T): void {
  const body: fc.Arbitrary<Message<T>> = anyBody[type];
  fc.assert(
    fc.property(body, fc.integer({ min: 0, max: 0xffff_ffff }), (sent, generation) => {
      const frame = encodeMessage(type, sent, { generation });
      const header = decodeHeader(frame, 0);
      const got = decodeMessage(type, frame.subarray(32));
      expect(header.type).toBe(type);
      expect(header.generation).toBe(generation);
      expect(header.length).toBe(frame.length - 32);
      expect(plainText(got.body)).toBe(plainText(sent));
    }),
    { numRuns: 60 },
  );
}

describe("a message of every type is decoded as it was encoded", () => {
  for (const type of TYPES) test(type, () => checkType(type));
});

test("keys that this version does not know are ignored", () => {
  fc.assert(
    fc.property(
      // That one key is refused: it means something else to the language.
      fc.dictionary(
        fc.string({ minLength: 3 }).filter((key) => key !== "__proto__"),
        fc.oneof(fc.integer(), fc.string(), fc.boolean()),
      ),
      (more) => {
        const payload = encode({ ...more, id: 7 });
        expect(decodeMessage("ping", payload)).toEqual({ type: "ping", body: { id: 7 } });
      },
    ),
    { numRuns: 100, examples: [[{ constructor: 1, toString: "x" }]] },
  );
});

test("paths that were not read are few, short, and none is empty", () => {
  const finish = (unread: readonly number[]): (() => unknown) => {
    const file = { file: 0, chunks: 1, bytes: 1, sha256: new Uint8Array(32), root: new Uint8Array(32) };
    const body = { files: [{ ...file, trail: new Uint8Array(8) }], entries: 1, rawBytes: 1, problems: 1 };
    const payload = encode({ ...body, unread: unread.map((length) => new Uint8Array(length)) });
    return () => decodeMessage("finish", payload);
  };
  expect(finish([])).not.toThrow();
  expect(finish([2048])).not.toThrow();
  expect(finish(Array<number>(20).fill(100))).not.toThrow();
  for (const wrong of [[0], [2049], [1024, 1025], Array<number>(21).fill(1)]) expect(finish(wrong)).toThrow("unread");
});

test("the key __proto__ is refused wherever it stands", () => {
  const key = Buffer.from("__proto__");
  const map = Buffer.concat([
    Buffer.from([0x82, 0xa0 | key.length]),
    key,
    Buffer.from([0xc2, 0xa2]),
    Buffer.from("id"),
    Buffer.from([7]),
  ]);
  expect(() => decodeMessage("ping", map)).toThrow("ping payload is not msgpack");
});

function passes(bytes: Uint8Array): boolean {
  try {
    guardMsgpack(bytes);
    return true;
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}

describe("the guard in front of msgpack", () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: "small", maxDepth: MESSAGE_DEPTH_MAX - 1 },
      fc.oneof(
        fc.integer(),
        fc.double({ noNaN: true }),
        fc.string({ maxLength: 300 }),
        fc.boolean(),
        fc.constant(null),
        fc.uint8Array({ maxLength: 300 }),
      ),
      fc.array(tie("any"), { maxLength: 20 }),
      fc.dictionary(fc.string({ maxLength: 40 }), tie("any"), { maxKeys: 18 }),
    ),
  })).any;

  test("lets everything through that is as deep as messages may be", () => {
    fc.assert(
      fc.property(value, (v) => expect(passes(encode(v))).toBe(true)),
      { numRuns: 300 },
    );
  });

  test("refuses a value that anything was cut from or added to", () => {
    fc.assert(
      fc.property(value, fc.nat(), (v, n) => {
        const bytes = encode(v);
        expect(passes(bytes.subarray(0, n % bytes.length))).toBe(false);
        expect(passes(new Uint8Array([...bytes, 0xc0]))).toBe(false);
      }),
      { numRuns: 150 },
    );
  });

  test("lets nothing through in whose structure the library finds an error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
        if (!passes(bytes)) return;
        try {
          decode(bytes);
        } catch (error) {
          // Keys that are no text, or that would reach into prototypes: a matter of meaning, refused there.
          expect(String(error)).toMatch(/key/);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test("refuses 64 KiB of nested lists that announce a thousand elements each without allocating them", () => {
    // The library would allocate 21,000 arrays of 1,024: 170 MB.
    const bytes = new Uint8Array(65_535);
    for (let at = 0; at < bytes.length; at += 3) bytes.set([0xdc, 0x04, 0x00], at);
    const before = process.memoryUsage().rss;
    expect(passes(bytes)).toBe(false);
    expect(process.memoryUsage().rss - before).toBeLessThan(8 * 1024 * 1024);
  });
});
