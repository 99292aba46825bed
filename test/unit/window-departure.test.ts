/** What the send window makes of streams that were closed in order. */
import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";
import { MiB } from "#base/units.ts";
import { SendWindow } from "#window/send-window.ts";

function windowOf(count: number): SendWindow {
  const window = new SendWindow(64 * MiB);
  window.welcome("b", 1);
  for (let sequence = 0; sequence < count; sequence += 1) {
    const stored = new Uint8Array(1000).fill(sequence);
    window.reserve(stored.length);
    const digest = new Uint8Array(new Bun.CryptoHasher("sha256").update(stored).digest());
    window.append({ file: 0, sequence, kind: "data", rawLength: 1000, stored, crc: crc32(stored), digest });
  }
  return window;
}

function received(window: SendWindow, boot: string, last: number): void {
  const files = [{ file: 0 as const, durableChunks: 0, durableBytes: 0, received: [[0, last] as const] }];
  window.acknowledge({ boot, generation: 1, files, lost: [] }, 50);
}

test("what a stream carried that left in order is not queued, and may be acknowledged later", () => {
  const window = windowOf(2);
  window.next(3, 0);
  window.next(3, 0);
  window.carrierLeft(3);
  expect(window.hasQueued).toBe(false);
  // The slot's next connection breaks: that was not its chunk.
  expect(window.carrierLost(3)).toBe(0);
  received(window, "b", 1);
  expect(window).toMatchObject({ allReceived: true, resentBytes: 0, receivedBytes: 2000 });
});

test("it can become overdue, as nobody's who is there", () => {
  const window = windowOf(1);
  window.next(3, 0);
  window.carrierLeft(3);
  const oldest = window.oldestUnreceived();
  expect(oldest?.carriers.has(3)).toBe(false);
  expect(oldest?.carriers.size).toBe(1);
});

test("it goes back to the queue when the server was started anew, which has none of it", () => {
  const window = windowOf(2);
  window.next(3, 0);
  window.carrierLeft(3);
  expect(window.welcome("c", 1)).toBe("restarted");
  expect(window.next(4, 100)?.sequence).toBe(0);
  expect(window.next(4, 100)?.sequence).toBe(1);
});

test("a chunk that a stream was given as well and did not begin is given back, and its other carrier keeps it", () => {
  const window = windowOf(1);
  const chunk = window.next(0, 0);
  if (chunk === undefined) throw new Error("nothing to send");
  window.sendAlso(chunk, 1, 10);
  window.takeBack(chunk, 1);
  expect(window.hasQueued).toBe(false);
  window.takeBack(chunk, 0);
  expect(window.next(2, 20)).toBe(chunk);
});

test("freshBytes are those that no stream was given yet", () => {
  const window = windowOf(3);
  expect(window.freshBytes).toBe(3000);
  window.next(0, 0);
  expect(window.freshBytes).toBe(2000);
  window.carrierLost(0);
  expect(window.freshBytes).toBe(2000);
});
