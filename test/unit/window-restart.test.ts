/** What the first word of a server that was started anew takes back. */
import { crc32 } from "node:zlib";
import { expect, test } from "bun:test";
import type { FileNumber } from "#base/chunk.ts";
import { Failure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { SendWindow } from "#window/send-window.ts";

function windowWith(files: readonly FileNumber[]): SendWindow {
  const window = new SendWindow(12 * MiB);
  window.welcome("first", 1);
  const next: Record<FileNumber, number> = { 0: 0, 1: 0 };
  for (const file of files) {
    const stored = Buffer.alloc(100, file);
    window.reserve(stored.length);
    const digest = new Uint8Array(32);
    window.append({ file, sequence: next[file], kind: "data", rawLength: 1, stored, crc: crc32(stored), digest });
    next[file] += 1;
    window.next(0, 0);
  }
  return window;
}

const fileOf = (file: FileNumber, received: [number, number][], durableChunks = 0) => ({
  ...{ file, durableChunks, durableBytes: durableChunks * 100 },
  received,
});

test("a file that the first Sack of a new start does not name was not received at all", () => {
  const window = windowWith([0, 1, 0]);
  window.acknowledge({ boot: "first", generation: 1, files: [fileOf(0, [[0, 1]]), fileOf(1, [[0, 0]])], lost: [] }, 0);
  expect(window.allReceived).toBe(true);
  window.welcome("second", 2);
  window.carrierLost(0);
  const first = window.acknowledge({ boot: "second", generation: 2, files: [fileOf(0, [[1, 1]], 1)], lost: [] }, 0);
  expect(first.requeuedChunks).toBe(1);
  expect(window.allReceived).toBe(false);
  expect(window.next(0, 0)).toMatchObject({ file: 1, sequence: 0 });
  // What is said later is about the files it names.
  window.acknowledge({ boot: "second", generation: 2, files: [fileOf(1, [[0, 0]])], lost: [] }, 0);
  window.acknowledge({ boot: "second", generation: 2, files: [fileOf(0, [], 2)], lost: [] }, 0);
  expect(window.allReceived).toBe(true);
});

test("a new start that does not name a file of which chunks were durable has lost them", () => {
  const window = windowWith([0, 1]);
  window.acknowledge({ boot: "first", generation: 1, files: [fileOf(0, [[0, 0]]), fileOf(1, [], 1)], lost: [] }, 0);
  window.welcome("second", 2);
  const word = { boot: "second", generation: 2, files: [fileOf(0, [])], lost: [] };
  const thrown = ((): unknown => {
    try {
      return window.acknowledge(word, 0);
    } catch (error) {
      return error;
    }
  })();
  expect(thrown).toBeInstanceOf(Failure);
  expect(String(thrown)).toContain("E_SESSION_GONE");
});

test("what an earlier start had received is not all received until the new one has said so", () => {
  const window = windowWith([0, 0]);
  window.acknowledge({ boot: "first", generation: 1, files: [fileOf(0, [[0, 1]])], lost: [] }, 0);
  expect(window.allReceived).toBe(true);
  window.welcome("second", 1);
  window.welcome("second", 2);
  expect(window.allReceived).toBe(false);
  // Sent to a stream that joined before the session connection was there: an older generation, which says nothing of it.
  const late = { boot: "second", generation: 1, files: [fileOf(0, [[1, 1]], 1)], lost: [] };
  expect(window.acknowledge(late, 0).requeuedChunks).toBe(0);
  expect(window.allReceived).toBe(false);
  window.acknowledge({ boot: "second", generation: 2, files: [fileOf(0, [], 1)], lost: [] }, 0);
  expect(window.allReceived).toBe(false);
  window.next(0, 0);
  window.acknowledge({ boot: "second", generation: 2, files: [fileOf(0, [], 2)], lost: [] }, 0);
  expect(window.allReceived).toBe(true);
  // What is durable stays so, whoever is started anew.
  window.welcome("third", 3);
  expect(window.allReceived).toBe(true);
});
