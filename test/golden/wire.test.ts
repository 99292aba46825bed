/**
 * The vectors of test/golden/wire, which were made from PROTOCOL.md without the code under test: each is decoded to what
 * it says, and encoded again to the same bytes; or refused with what it says. Another implementation can use them too.
 */
import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { must } from "#base/assert.ts";
import { Failure } from "#base/errors.ts";
import { FrameRecorder } from "#test/support/wire-recorder.ts";
import { encodeBytesHeader, encodeDataFrame, encodeMessage } from "#wire/encode.ts";
import { FLAG_PUSH } from "#wire/frame.ts";
import { MESSAGES, type MessageType } from "#wire/messages.ts";
import { RECEIVE_STATES, type ReceiveState } from "#wire/states.ts";

const DIR = path.join(import.meta.dir, "wire");

interface Vector {
  readonly name: string;
  readonly title: string;
  readonly state: ReceiveState;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly bytes: Uint8Array;
}

/** `# title`, `#! key: JSON`, then lines of hex with a comment behind. Byte strings in JSON are {"$hex": …}. */
function read(name: string): Vector {
  const lines = fs.readFileSync(path.join(DIR, name), "utf8").split("\n");
  const facts: Record<string, unknown> = {};
  let hex = "";
  for (const line of lines) {
    const fact = /^#! (\w+): (.*)$/.exec(line);
    if (fact !== null) facts[fact[1] ?? ""] = JSON.parse(fact[2] ?? "", bytesOfHex);
    else hex += line.replace(/#.*$/, "").replaceAll(" ", "");
  }
  const state = String(facts["state"]);
  if (!isReceiveState(state)) throw new Error(`${name}: no state ${state}`);
  return { name, title: (lines[0] ?? "").slice(2), state, facts, bytes: Uint8Array.fromHex(hex) };
}

function bytesOfHex(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("$hex" in value)) return value;
  return Uint8Array.fromHex(String(value.$hex));
}

function isReceiveState(text: string): text is ReceiveState {
  return Object.hasOwn(RECEIVE_STATES, text);
}

function isMessageType(text: unknown): text is MessageType {
  return typeof text === "string" && Object.hasOwn(MESSAGES, text);
}

const vectors = fs.readdirSync(DIR).sort().map(read);
const messages = vectors.filter(({ facts }) => isMessageType(facts["type"]));
const data = vectors.filter(({ facts }) => facts["type"] === "data");
const bytes = vectors.filter(({ facts }) => facts["type"] === "bytes");
const refused = vectors.filter(({ facts }) => facts["code"] !== undefined);

test("there is a vector for every message, for Data and Bytes, and every vector is of one of four kinds", () => {
  const types = new Set(messages.map(({ facts }) => facts["type"]));
  expect([...types].sort()).toEqual(Object.keys(MESSAGES).sort());
  expect(data.length).toBeGreaterThan(2);
  expect(bytes.length).toBe(2);
  expect(messages.length + data.length + bytes.length + refused.length).toBe(vectors.length);
});

describe("a control frame is decoded to the message it says and encoded to the same bytes", () => {
  for (const { name, title, state, facts, bytes } of messages) {
    test(`${name}: ${title}`, () => {
      const recorder = new FrameRecorder(state);
      recorder.decoder.push(bytes);
      const event = must(recorder.events[0], "event");
      if (event.kind !== "message") throw new Error("not a message");
      expect(recorder.events.length).toBe(1);
      expect(event.message as unknown).toEqual({ type: facts["type"], body: facts["body"] });
      expect(event.header.generation).toBe(Number(facts["generation"]));
      const { type, body } = event.message;
      expect(encodeMessage(type, body, { generation: event.header.generation }).toHex()).toBe(bytes.toHex());
    });
  }
});

describe("a Data frame is handed through as it says and encoded to the same bytes", () => {
  for (const { name, title, state, facts, bytes } of data) {
    test(`${name}: ${title}`, () => {
      const recorder = new FrameRecorder(state);
      recorder.decoder.push(bytes);
      const event = must(recorder.events[0], "event");
      if (event.kind !== "data") throw new Error("not data");
      if (facts["damaged"] === true) {
        expect(event.tail).toBeUndefined();
        return;
      }
      const tail = must(event.tail, "tail");
      const { rawLength, kind, digest } = tail;
      expect({ rawLength, kind, digest: digest.toHex() } as unknown).toEqual(facts["tail"]);
      const { type, crc, ...header } = event.header;
      expect(type).toBe("data");
      expect(header as unknown).toEqual(facts["header"]);
      expect(event.stored).toBe(String(facts["stored"]));
      expect(event.storedCrc).toBe(Number(facts["storedCrc"]));
      const stored = Uint8Array.fromHex(event.stored);
      const parts = encodeDataFrame({
        ...{ slot: header.slot, file: header.file, generation: header.generation },
        ...{ sequence: header.sequence, offset: header.offset, push: header.flags === FLAG_PUSH },
        ...{ storedLength: stored.length, storedCrc: event.storedCrc, ...tail },
      });
      expect(parts.head.toHex() + stored.toHex() + parts.tail.toHex()).toBe(bytes.toHex());
      expect(crc).toBe(new DataView(bytes.buffer).getUint32(20));
    });
  }
});

describe("a Bytes frame is handed through as it says and encoded to the same bytes", () => {
  for (const { name, title, state, facts, bytes: frame } of bytes) {
    test(`${name}: ${title}`, () => {
      const recorder = new FrameRecorder(state);
      recorder.decoder.push(frame);
      const event = must(recorder.events[0], "event");
      if (event.kind !== "bytes") throw new Error("not bytes");
      expect(event.crcOk).toBe(facts["damaged"] !== true);
      if (!event.crcOk) return;
      const { type, crc, ...header } = event.header;
      expect([type, crc]).toEqual(["bytes", new DataView(frame.buffer).getUint32(20)]);
      expect(header as unknown).toEqual(facts["header"]);
      expect(event.bytes).toBe(String(facts["bytes"]));
      const again = Uint8Array.from(frame);
      again.fill(0, 0, 32);
      encodeBytesHeader({ request: header.sequence, file: header.file, offset: header.offset }, again);
      expect(again.toHex()).toBe(frame.toHex());
    });
  }
});

describe("what breaks the protocol is refused with its code and a sentence that says what was found", () => {
  for (const { name, title, state, facts, bytes } of refused) {
    test(`${name}: ${title}`, () => {
      const recorder = new FrameRecorder(state);
      const failure = failureOf(() => recorder.decoder.push(bytes));
      expect(String(failure.code)).toBe(String(facts["code"]));
      expect(failure.message).toContain(String(facts["says"]));
      expect(recorder.events).toEqual([]);
      expect(failureOf(() => recorder.decoder.push(bytes))).toBe(failure);
    });
  }
});

function failureOf(call: () => void): Failure {
  try {
    call();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}
