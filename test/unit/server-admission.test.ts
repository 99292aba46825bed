/** Admission, names, slots and the waiting line as functions of values. */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { GiB, KiB, MiB } from "#base/units.ts";
import { agreeChunkBytes, assertFits, expectedBytes, hasRoom, missingBytes, promisedBytes } from "#server/admission.ts";
import { globMatches } from "#base/name-glob.ts";
import { agentAllowed } from "#server/agent-globs.ts";
import { FrameBudget } from "#server/frame-budget.ts";
import { CONTROL_FRAMES_BURST, CONTROL_FRAMES_PER_SECOND } from "#server/limits.ts";
import { Shares } from "#server/shares.ts";
import { SlotTable } from "#server/slots.ts";
import { WaitingLine } from "#server/waiting-line.ts";
import type { Message } from "#wire/messages.ts";

const begin = (fields: Partial<Message<"begin">>): Message<"begin"> => ({
  backup: "home",
  storage: "main",
  estimateBytes: 0,
  chunkBytes: 0,
  windowBytes: 256 * MiB,
  parallels: 0,
  ...fields,
});

function codeOf(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
  return "none";
}

describe("room for a session", () => {
  const limits = { sessionsMax: 2, memoryBytesMax: 100 };

  test("a session may run while there are fewer than max_sessions and its memory fits", () => {
    expect(hasRoom(limits, { sessionCount: 1, memoryBytes: 50 }, 50)).toBe(true);
    expect(hasRoom(limits, { sessionCount: 1, memoryBytes: 51 }, 50)).toBe(false);
    expect(hasRoom(limits, { sessionCount: 2, memoryBytes: 0 }, 1)).toBe(false);
  });

  test("the first session may always run, however small memory_limit is", () => {
    expect(hasRoom({ sessionsMax: 1, memoryBytesMax: 1 }, { sessionCount: 0, memoryBytes: 0 }, 50)).toBe(true);
  });

  test("what the agent announces can only raise the estimate of the last archive", () => {
    expect(expectedBytes(100, 0)).toBe(100);
    expect(expectedBytes(100, 300)).toBe(300);
  });

  test("a session that outgrew its estimate takes no room from the others twice", () => {
    const running = [
      { expectedBytes: 100, storedBytes: 30 },
      { expectedBytes: 100, storedBytes: 500 },
    ];
    expect(promisedBytes(running)).toBe(70);
  });

  test("a session fits to the last byte beside reserve and promises", () => {
    const room = { freeBytes: 100, reserveBytes: 20, promisedBytes: 30 };
    expect(missingBytes(room, 50)).toBe(0);
    expect(missingBytes(room, 51)).toBe(1);
  });

  test("E_FULL names the missing bytes and prune in its hint", () => {
    const room = { freeBytes: GiB, reserveBytes: 0, promisedBytes: 0 };
    let failure: unknown;
    try {
      assertFits("main", room, 3 * GiB);
    } catch (error) {
      failure = error;
    }
    expect(failure).toBeInstanceOf(Failure);
    if (!(failure instanceof Failure)) return;
    expect(failure.code).toBe("E_FULL");
    expect(failure.hint).toContain(String(2 * GiB));
    expect(failure.hint).toContain("nbackup-server prune");
    expect(failure.retryable).toBe(false);
  });

  test("shares count sessions, memory, and promises of the same disk only", () => {
    const shares = new Shares();
    const first = shares.take("main", 10);
    const second = shares.take("other", 20);
    let stored = 0;
    first.promise("disk-a", 100);
    first.fill(() => stored);
    second.promise("disk-b", 1000);
    expect(shares.taken).toEqual({ sessionCount: 2, memoryBytes: 30 });
    expect([...shares.storages]).toEqual(["main", "other"]);
    stored = 40;
    expect(shares.promisedOn("disk-a")).toBe(60);
    shares.release(first);
    expect(shares.promisedOn("disk-a")).toBe(0);
    expect(shares.taken).toEqual({ sessionCount: 1, memoryBytes: 20 });
  });
});

describe("window and chunk size", () => {
  test("an agent that leaves the chunk size open gets the default of the compression", () => {
    expect(agreeChunkBytes(begin({}), "gzip")).toBe(MiB);
    expect(agreeChunkBytes(begin({}), "zst")).toBe(4 * MiB);
  });

  test("a chunk size is a multiple of 64 KiB from 64 KiB to 16 MiB", () => {
    expect(agreeChunkBytes(begin({ chunkBytes: 64 * KiB }), "gzip")).toBe(64 * KiB);
    for (const chunkBytes of [1, 64 * KiB + 1, 17 * MiB]) {
      expect(codeOf(() => agreeChunkBytes(begin({ chunkBytes }), "gzip"))).toBe("E_PROTOCOL");
    }
  });

  test("a window that cannot hold its chunks, or is larger than any ledger, is E_WINDOW_SIZE", () => {
    expect(codeOf(() => agreeChunkBytes(begin({ windowBytes: 10 * MiB - 1 }), "gzip"))).toBe("E_WINDOW_SIZE");
    expect(codeOf(() => agreeChunkBytes(begin({ windowBytes: 10 * MiB }), "gzip"))).toBe("none");
    expect(codeOf(() => agreeChunkBytes(begin({ windowBytes: 17 * GiB }), "gzip"))).toBe("E_WINDOW_SIZE");
  });
});

describe("allow_agents", () => {
  test("without globs every agent is allowed", () => {
    expect(agentAllowed(undefined, "web-1")).toBe(true);
    expect(agentAllowed([], "web-1")).toBe(false);
  });

  test.each([
    ["web-*", "web-1", true],
    ["web-*", "db-1", false],
    ["web-?", "web-1", true],
    ["web-?", "web-12", false],
    ["*.example.org", "a.example.org", true],
    ["*.example.org", "aXexample.org", false],
    ["a*b*c", "a-b-b-c", true],
    ["a*b*c", "a-b-c-d", false],
    ["*", "anything", true],
    ["web-1", "web-1", true],
    ["web-1", "web-11", false],
    ["", "web-1", false],
  ])("%p matches %p: %p", (glob, name, matches) => {
    expect(globMatches(glob, name)).toBe(matches);
  });

  test("a glob of many stars costs no more than the name is long for each", () => {
    expect(globMatches("*a".repeat(500), "a".repeat(64))).toBe(false);
    expect(globMatches(`${"*a".repeat(30)}*b`, "a".repeat(64))).toBe(false);
  });
});

describe("the slot table", () => {
  test("each connection of a slot has a new generation, and the slot knows how the last one left", () => {
    const slots = new SlotTable(2);
    expect(slots.state(1)).toBe("idle");
    expect(slots.join(1)).toBe(1);
    expect(slots.state(1)).toBe("receiving");
    expect(slots.leave(1, 1, "broke")).toBe(true);
    expect(slots.state(1)).toBe("disconnected");
    expect(slots.join(1)).toBe(2);
    expect(slots.leave(1, 2, "goodbye")).toBe(true);
    expect(slots.view()).toEqual([
      { slot: 0, state: "idle", generation: 0, reconnects: 0, rotations: 0 },
      { slot: 1, state: "idle", generation: 2, reconnects: 1, rotations: 0 },
    ]);
  });

  test("the end of an older connection changes nothing", () => {
    const slots = new SlotTable(1);
    slots.join(0);
    slots.join(0);
    expect(slots.leave(0, 1, "broke")).toBe(false);
    expect(slots.state(0)).toBe("receiving");
    expect(slots.receivingCount).toBe(1);
  });

  test("a disabled slot takes no connection until it is enabled", () => {
    const slots = new SlotTable(1);
    slots.disable(0);
    expect(slots.join(0)).toBeUndefined();
    slots.enable(0);
    expect(slots.join(0)).toBe(1);
  });
});

describe("the waiting line", () => {
  test("positions count from 1 in order of arrival and close up when somebody leaves", () => {
    const line = new WaitingLine<string>();
    expect([line.join("a"), line.join("b"), line.join("c")]).toEqual([1, 2, 3]);
    expect(line.leave("b")).toBe(true);
    expect(line.leave("b")).toBe(false);
    expect([...line.positions()]).toEqual([
      ["a", 1],
      ["c", 2],
    ]);
    expect(line.first()).toBe("a");
  });
});

describe("limits on what a peer may say", () => {
  test("control frames are a burst and then a steady rate", () => {
    const budget = new FrameBudget(0);
    for (let i = 0; i < CONTROL_FRAMES_BURST; i += 1) expect(budget.take(0, 0)).toBe(true);
    expect(budget.take(0, 0)).toBe(false);
    let taken = 0;
    for (let ms = 1; ms <= 10_000; ms += 1) if (budget.take(ms, 0)) taken += 1;
    expect(taken).toBe(10 * CONTROL_FRAMES_PER_SECOND);
  });
});
