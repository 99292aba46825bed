import { describe, expect, test } from "bun:test";
import type { LinesDisk } from "#observe/lines-file.ts";
import { RecordStore, type RecordStoreOptions } from "#observe/record-store.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { memoryLogger } from "#test/support/memory-logger.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const PATH = "/state/events.jsonl";

interface Note {
  readonly n: number;
  readonly text?: string;
}

const parse = (value: unknown): Note | undefined =>
  typeof value === "object" && value !== null && "n" in value && typeof value.n === "number"
    ? { n: value.n }
    : undefined;

interface Kit {
  readonly disk: MemoryDisk;
  readonly clock: SimClock;
  readonly log: ReturnType<typeof memoryLogger>;
  open(changes?: Partial<RecordStoreOptions<Note>>): Promise<RecordStore<Note>>;
}

async function kit(): Promise<Kit> {
  const [disk, clock, log] = [new MemoryDisk(), new SimClock(), memoryLogger()];
  await disk.mkdir("/state", 0o700);
  return {
    disk,
    clock,
    log,
    open: (more) => RecordStore.open({ disk, path: PATH, linesMax: 100, clock, log, parse, ...more }),
  };
}

const close = async ({ clock }: Kit, store: RecordStore<Note>): Promise<void> => {
  await clock.until(store.close(), 60_000);
  expect(clock.pendingCount).toBe(0);
};

const linesOf = ({ disk }: Kit): string[] =>
  String(disk.tree("/state").get("events.jsonl") ?? "")
    .split("\n")
    .slice(0, -1);

describe("a store of records", () => {
  test("has them again after the next start, the newest first, at most as many as asked for", async () => {
    const k = await kit();
    const store = await k.open();
    for (let n = 1; n <= 5; n += 1) store.add({ n });
    await close(k, store);
    const again = await k.open();
    expect(again.newest(3)).toEqual([{ n: 5 }, { n: 4 }, { n: 3 }]);
    expect(again.newest(10, ({ n }) => n % 2 === 1).map(({ n }) => n)).toEqual([5, 3, 1]);
    await close(k, again);
    expect(k.disk.openFiles).toBe(0);
    expect(k.log.lines).toEqual([]);
  });

  test("syncs at most once a second, however many come", async () => {
    const k = await kit();
    const syncs: number[] = [];
    k.disk.hook = ({ call }) => {
      if (call === "fdatasync") syncs.push(k.clock.now());
    };
    const store = await k.open();
    for (let n = 0; n < 200; n += 1) {
      store.add({ n });
      await k.clock.advance(50);
    }
    await close(k, store);
    expect(syncs.length).toBeWithin(9, 14);
    expect(syncs.slice(1, -1).every((at, i) => at - (syncs[i] ?? 0) >= 1000)).toBe(true);
  });

  test("writes the first record of a while at once", async () => {
    const k = await kit();
    const store = await k.open();
    store.add({ n: 1 });
    await k.clock.advance(0);
    expect(linesOf(k)).toEqual(['{"n":1}']);
    await close(k, store);
  });

  test("keeps no more lines than allowed, in the file and in memory", async () => {
    const k = await kit();
    const store = await k.open({ linesMax: 10 });
    for (let n = 0; n < 35; n += 1) {
      store.add({ n });
      await k.clock.advance(1000);
      expect(linesOf(k).length).toBeLessThanOrEqual(10);
    }
    expect(store.newest(100).map(({ n }) => n)).toEqual([34, 33, 32, 31, 30, 29, 28, 27, 26, 25]);
    await close(k, store);
  });

  test("drops a torn last line and lines that are no records, and says so", async () => {
    const k = await kit();
    k.disk.plant(PATH, Buffer.from(`{"n":1}\nnonsense\n{"m":2}\n${"y".repeat(200_000)}\n{"n":3}\n{"n":4`));
    const store = await k.open();
    expect(store.newest(10)).toEqual([{ n: 3 }, { n: 1 }]);
    expect(k.log.lines).toMatchObject([{ level: "warn", fields: { file: PATH, tornBytes: 6, unreadableLines: 3 } }]);
    store.add({ n: 5 });
    await close(k, store);
    expect(linesOf(k).at(-1)).toBe('{"n":5}');
  });
});

describe("a disk that does not take records", () => {
  test("is told once; they wait in memory and are written when it takes them again", async () => {
    const k = await kit();
    const store = await k.open();
    k.disk.hook = ({ call }) => {
      if (call === "write") throw diskError("ENOSPC");
    };
    for (let n = 0; n < 100; n += 1) {
      store.add({ n });
      await k.clock.advance(500);
    }
    expect(store.failing).toBe(true);
    expect(store.newest(1)).toEqual([{ n: 99 }]);
    expect(k.log.lines).toMatchObject([{ level: "error", fields: { file: PATH, reason: "ENOSPC" } }]);
    k.disk.hook = () => undefined;
    await k.clock.advance(11_000);
    expect(linesOf(k)).toHaveLength(100);
    expect({ failing: store.failing, dropped: store.droppedLines }).toEqual({ failing: false, dropped: 0 });
    expect(k.log.lines[1]).toMatchObject({ level: "info", fields: { droppedLines: 0 } });
    await close(k, store);
  });

  test("has no half of a new file left on it meanwhile", async () => {
    const k = await kit();
    const store = await k.open({ linesMax: 10 });
    for (let n = 0; n < 10; n += 1) store.add({ n });
    await k.clock.advance(1_000);
    let syncs = 0;
    k.disk.hook = ({ call }) => {
      if (call !== "fdatasync") return;
      syncs += 1;
      throw diskError("ENOSPC");
    };
    store.add({ n: 10 });
    await k.clock.advance(5_000);
    expect([syncs, store.failing]).toEqual([1, true]);
    expect([...k.disk.tree("/state").keys()]).toEqual(["events.jsonl"]);
    k.disk.hook = () => undefined;
    await k.clock.advance(11_000);
    expect(linesOf(k).at(-1)).toBe('{"n":10}');
    await close(k, store);
  });

  test("costs the oldest of those that wait, which are counted, and nothing else", async () => {
    const k = await kit();
    const store = await k.open({ linesMax: 10_000 });
    k.disk.hook = () => {
      throw diskError("EIO");
    };
    for (let n = 0; n < 2500; n += 1) store.add({ n });
    await k.clock.advance(60_000);
    expect(store.droppedLines).toBe(500);
    k.disk.hook = () => undefined;
    await k.clock.advance(60_000);
    expect(linesOf(k)[0]).toBe('{"n":500}');
    expect(linesOf(k)).toHaveLength(2000);
    expect(k.log.lines.at(-1)).toMatchObject({ level: "info", fields: { droppedLines: 500 } });
    await close(k, store);
  });

  test("does not keep the program from ending, and what was lost is said", async () => {
    const k = await kit();
    const store = await k.open();
    k.disk.hook = () => {
      throw diskError("ENOSPC");
    };
    store.add({ n: 1 });
    store.add({ n: 2 });
    await close(k, store);
    expect(store.droppedLines).toBe(2);
    expect(k.log.lines.at(-1)).toMatchObject({ level: "warn", fields: { droppedLines: 2 } });
  });

  test("but hangs does not either", async () => {
    const k = await kit();
    const store = await k.open();
    k.disk.hook = ({ call }) => (call === "fdatasync" ? new Promise(() => undefined) : undefined);
    store.add({ n: 1 });
    await k.clock.advance(10);
    store.add({ n: 2 });
    const startedAtMs = k.clock.now();
    await k.clock.until(store.close(), 60_000);
    expect(k.clock.now() - startedAtMs).toBe(5000);
  });

  test("at the start: what the file holds is there once it can be read, before what came since", async () => {
    const k = await kit();
    k.disk.plant(PATH, Buffer.from('{"n":1}\n'));
    let broken = true;
    k.disk.hook = () => {
      if (broken) throw diskError("EIO");
    };
    const store = await k.open();
    store.add({ n: 2 });
    await k.clock.advance(1000);
    expect(store.newest(5)).toEqual([{ n: 2 }]);
    broken = false;
    await k.clock.advance(15_000);
    expect(store.newest(5)).toEqual([{ n: 2 }, { n: 1 }]);
    expect(linesOf(k)).toEqual(['{"n":1}', '{"n":2}']);
    await close(k, store);
  });
});

test("a record too long for a line is not written, and counted", async () => {
  const k = await kit();
  const disk: LinesDisk = k.disk;
  const store = await k.open({ disk });
  store.add({ n: 1, text: "x".repeat(70_000) });
  expect(store.droppedLines).toBe(1);
  await close(k, store);
  expect(linesOf(k)).toEqual([]);
});

test("what is written to a file that a killed process put in its place survives a power loss", async () => {
  const k = await kit();
  await k.disk.syncDirectory("/");
  const store = await k.open({ linesMax: 10 });
  for (let n = 1; n <= 10; n += 1) store.add({ n });
  await k.clock.advance(1_000);
  const killed = Promise.withResolvers<void>();
  k.disk.hook = ({ call }) => {
    if (call !== "syncDirectory") return;
    k.disk.crash();
    killed.resolve();
  };
  store.add({ n: 11 });
  await k.clock.until(killed.promise, 10_000);
  const disk = k.disk.restart();
  const next = await k.open({ disk, linesMax: 10 });
  expect(next.newest(1)).toEqual([{ n: 11 }]);
  next.add({ n: 12 });
  await k.clock.until(next.close(), 10_000);
  const last = await k.open({ disk: disk.reboot(), linesMax: 10 });
  expect(last.newest(1)).toEqual([{ n: 12 }]);
  await k.clock.until(last.close(), 10_000);
});

for (const [how, length, left] of [
  ["to nothing", 0, []],
  ["in the middle of a line", 12, ['{"n":1}']],
] as const) {
  test(`a file that somebody cuts ${how} goes on from what is left of it, and it is said`, async () => {
    const k = await kit();
    const store = await k.open({ linesMax: 4 });
    for (let n = 1; n <= 4; n += 1) store.add({ n });
    await k.clock.advance(1_000);
    const file = await k.disk.open(PATH, "read-write");
    await file.truncate(length);
    await file.close();
    store.add({ n: 5 });
    await k.clock.advance(1_000);
    expect(linesOf(k)).toEqual([...left, '{"n":5}']);
    expect(k.log.lines).toMatchObject([{ level: "warn", fields: { file: PATH, missingBytes: 32 - length } }]);
    expect([store.failing, store.droppedLines]).toEqual([false, 0]);
    await close(k, store);
  });
}

for (const [how, left] of [
  ["away", []],
  ["away and puts another one there", ['{"n":9}']],
] as const) {
  test(`a file that somebody takes ${how} is made or gone on with, and it is said`, async () => {
    const k = await kit();
    const store = await k.open({ linesMax: 4 });
    for (let n = 1; n <= 3; n += 1) store.add({ n });
    await k.clock.advance(1_000);
    await k.disk.unlink(PATH);
    if (left.length > 0) {
      const other = await k.disk.create(PATH, 0o600);
      await other.write(Buffer.from('{"n":9}\n'), 0);
      await other.close();
    }
    store.add({ n: 4 });
    await k.clock.advance(1_000);
    expect(linesOf(k)).toEqual([...left, '{"n":4}']);
    expect(k.log.lines).toMatchObject([{ level: "warn", fields: { file: PATH, missingBytes: 24 - 8 * left.length } }]);
    expect(store.newest(9).map(({ n }) => n)).toEqual([4, 3, 2, 1]);
    for (let n = 5; n <= 9; n += 1) store.add({ n });
    await k.clock.advance(1_000);
    expect(linesOf(k)).toHaveLength(4);
    expect([store.failing, store.droppedLines, k.log.lines.length]).toEqual([false, 0, 1]);
    await close(k, store);
  });
}

test("records that are long take no more memory than many short ones, and the file has them all", async () => {
  const k = await kit();
  const store = await k.open({ linesMax: 5_000 });
  const text = "x".repeat(60_000);
  for (let n = 0; n < 800; n += 1) {
    store.add({ n, text });
    await k.clock.advance(10);
  }
  const kept = store.newest(5_000);
  expect(kept.length).toBeWithin(500, 560);
  expect(kept[0]?.n).toBe(799);
  await k.clock.advance(10_000);
  expect(linesOf(k)).toHaveLength(800);
  await close(k, store);
  const again = await k.open({ linesMax: 5_000 });
  expect(again.newest(5_000).length).toBeWithin(500, 560);
  await close(k, again);
});
