/** The agent's stock of archives: against a real server in memory over lines that are long and break, and against servers that lie. */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import { BLOCK_BYTES, ReadAhead } from "#agent/read-ahead.ts";
import { RemoteDiskError } from "#agent/read-link.ts";
import { SimNetwork } from "#test/support/agent-world.ts";
import { diskError } from "#test/support/memory-file.ts";
import { ARCHIVE, INDEX, plant, readStock, rowOf, someBytes } from "#test/support/read-kit.ts";
import { type ServedLink, ScriptServer, type Script } from "#test/support/script-server.ts";
import { ServerWorld } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { encodeBytesHeader } from "#wire/encode.ts";

const archive = someBytes(3 * MiB + 777);
const index = someBytes(300_000, 2);

async function planted(): Promise<{ readonly world: ServerWorld; readonly network: SimNetwork }> {
  const world = await ServerWorld.start();
  await world.wait(plant(world.disk, `web-1/home/${ARCHIVE}`, archive));
  await world.wait(plant(world.disk, `web-1/home/${INDEX}`, index));
  return { world, network: new SimNetwork(world) };
}

/** Reads a file of that length in pieces, in order. */
async function readAll(
  access: { read(into: Uint8Array, offset: number): Promise<number> },
  length: number,
  step = 100_000,
): Promise<Buffer> {
  const whole = Buffer.alloc(length);
  for (let at = 0; at < length; at += step) await access.read(whole.subarray(at, at + step), at);
  return whole;
}

describe("an agent's stock", () => {
  test("lists, opens and reads an archive and its index", async () => {
    const { world, network } = await planted();
    const { stock } = readStock(world.clock, network);
    const { rows, failures } = await world.wait(stock.list({ facts: true }));
    expect(failures).toEqual([]);
    expect(rows).toMatchObject([
      { storage: "main", agent: "web-1", backup: "home", name: ARCHIVE, archiveBytes: archive.length, hasIndex: true },
    ]);
    expect(rows[0]?.timeMs).toBe(Date.UTC(2026, 1, 12, 2, 0, 0, 123));
    expect((await world.wait(stock.list({ backup: "other" }))).rows).toEqual([]);
    expect((await world.wait(stock.list({ agent: "web-2" }))).rows).toEqual([]);
    const opened = await world.wait(stock.open(rows[0] ?? rowOf()));
    expect([opened.archive.size, opened.index?.size]).toEqual([archive.length, index.length]);
    expect((await world.wait(readAll(opened.archive, archive.length))).equals(archive)).toBe(true);
    const tail = Buffer.alloc(100);
    expect(await world.wait(opened.archive.read(tail, archive.length - 10))).toBe(10);
    expect(await world.wait(opened.archive.read(tail, archive.length))).toBe(0);
    expect((await world.wait(readAll(opened.index ?? opened.archive, index.length))).equals(index)).toBe(true);
    await opened.close();
    const alone = await world.wait(stock.openIndex(rows[0] ?? rowOf()));
    expect(alone?.size).toBe(index.length);
    await alone?.close();
    await world.clock.advance(10);
    expect(world.disk.openFiles).toBe(1);
    await stock.close();
    await world.close();
  });

  test("reads in order over a long line as fast as the line, not as slow as its answers", async () => {
    const { world, network } = await planted();
    network.line = { latencyMs: 50, bufferBytes: 16 * MiB };
    const big = someBytes(32 * MiB, 4);
    await world.wait(plant(world.disk, `web-1/big/${ARCHIVE}`, big));
    const { stock } = readStock(world.clock, network);
    const opened = await world.wait(stock.open(rowOf({ backup: "big" })));
    const beganMs = world.clock.now();
    const got = await world.wait(readAll(opened.archive, big.length, MiB));
    // 32 answers one by one would take 3.2 s.
    expect(world.clock.now() - beganMs).toBeLessThan(1_200);
    expect(got.equals(big)).toBe(true);
    await stock.close();
    await world.close();
  });

  test("goes on where it was when the connection breaks, however often", async () => {
    const { world, network } = await planted();
    const { stock, troubles } = readStock(world.clock, network);
    const opened = await world.wait(stock.open(rowOf()));
    let reads = 0;
    const cutting = {
      read: (into: Uint8Array, offset: number) => {
        const reading = opened.archive.read(into, offset);
        reads += 1;
        if (reads % 9 === 0) network.cut();
        return reading;
      },
    };
    expect((await world.wait(readAll(cutting, archive.length, 50_000))).equals(archive)).toBe(true);
    expect(troubles.length).toBeGreaterThan(2);
    expect(troubles.every(({ code }) => code === "E_DISCONNECTED")).toBe(true);
    await stock.close();
    await world.close();
  });

  test("waits with growing patience for a server that is down, and gives up when nothing worked for too long", async () => {
    const { world, network } = await planted();
    const { stock, troubles } = readStock(world.clock, network, { giveUpAfterMs: 600_000 });
    const opened = await world.wait(stock.open(rowOf()));
    network.down = true;
    network.cut();
    const reading = opened.archive.read(new Uint8Array(1000), 2 * MiB);
    await world.clock.advance(60_000);
    expect(network.dialled).toBeWithin(5, 12);
    network.down = false;
    expect(await world.clock.until(reading, 120_000)).toBe(1000);
    expect(troubles.length).toBe(1);
    network.down = true;
    network.cut();
    const hopeless = opened.archive.read(new Uint8Array(1000), 0).then(
      () => undefined,
      (error: unknown) => error,
    );
    // What was read a moment ago is still here.
    expect(await world.clock.until(opened.archive.read(new Uint8Array(1000), 2 * MiB), 10)).toBe(1000);
    expect(await world.clock.until(hopeless, 2_000_000)).toMatchObject({ code: "E_CONNECT" });
    await stock.close();
    network.down = false;
    await world.close();
  });

  test("tells at once why it cannot begin", async () => {
    const { world, network } = await planted();
    network.down = true;
    const { stock } = readStock(world.clock, network);
    expect(await world.wait(stock.list({}).catch((error: unknown) => error))).toMatchObject({ code: "E_CONNECT" });
    expect(network.dialled).toBe(1);
    network.down = false;
    const { stock: other } = readStock(world.clock, network, { agent: "web-2" });
    expect(await world.wait(other.list({}).catch((error: unknown) => error))).toMatchObject({ code: "E_IDENTITY" });
    await other.close();
    await stock.close();
    await world.close();
  });

  test("stops at once when it is interrupted, whatever it waits for", async () => {
    const { world, network } = await planted();
    const stop = new AbortController();
    const { stock } = readStock(world.clock, network, { signal: stop.signal });
    const opened = await world.wait(stock.open(rowOf()));
    network.down = true;
    network.cut();
    const reading = opened.archive.read(new Uint8Array(1000), 0).catch((error: unknown) => error);
    await world.clock.advance(20_000);
    stop.abort();
    expect(await world.clock.until(reading, 10)).toMatchObject({ code: "E_INTERRUPTED" });
    await stock.close();
    await world.close();
  });

  test("notices that another archive stands in the place of the one it was reading", async () => {
    const { world, network } = await planted();
    const { stock } = readStock(world.clock, network);
    const opened = await world.wait(stock.open(rowOf()));
    await world.disk.unlink(`/srv/backups/web-1/home/${ARCHIVE}`);
    await world.wait(plant(world.disk, `web-1/home/${ARCHIVE}`, someBytes(1000)));
    network.cut();
    const read = opened.archive.read(new Uint8Array(1000), 0).catch((error: unknown) => error);
    expect(await world.wait(read)).toMatchObject({ code: "E_ARCHIVE_READ" });
    await stock.close();
    await world.close();
  });

  test("tells a bad sector by its errno, and reads all that lies around it", async () => {
    const { world, network } = await planted();
    const bad = 300_000;
    world.disk.hook = ({ call, path, offset = 0, length = 0 }) => {
      if (call === "read" && path.endsWith(ARCHIVE) && offset <= bad && bad < offset + length) throw diskError("EIO");
    };
    const { stock } = readStock(world.clock, network);
    const { archive: file } = await world.wait(stock.open(rowOf()));
    const error = await world.wait(file.read(new Uint8Array(10_000), 295_000).catch((caught: unknown) => caught));
    expect(error).toBeInstanceOf(RemoteDiskError);
    expect(error).toMatchObject({ code: "EIO" });
    const before = Buffer.alloc(10_000);
    expect(await world.wait(file.read(before, 290_000))).toBe(10_000);
    const behind = Buffer.alloc(100_000);
    expect(await world.wait(file.read(behind, 300_001))).toBe(100_000);
    expect(before.equals(archive.subarray(290_000, 300_000))).toBe(true);
    expect(behind.equals(archive.subarray(300_001, 400_001))).toBe(true);
    await stock.close();
    await world.close();
  });
});

/** A server that answers a Read with these frames; to Open it says that there is a megabyte. */
function lying(answer: (link: ServedLink, request: number) => void): Script {
  return (link, arrived, server) => {
    if (arrived.type === "hello") server.welcome(link);
    if (arrived.type === "open") link.send("opened", { request: arrived.body.request, archiveBytes: MiB });
    if (arrived.type === "read") answer(link, arrived.body.request);
    return true;
  };
}

function bytesFrame(request: number, offset: number, length: number, file: 0 | 1 = 0): Uint8Array {
  const frame = new Uint8Array(32 + length);
  encodeBytesHeader({ request, file, offset }, frame);
  return frame;
}

describe("a server that answers what was not asked", () => {
  const lies: readonly (readonly [string, (link: ServedLink, request: number) => void, RegExp])[] = [
    ["another request", (l, r) => l.raw(bytesFrame(r + 1, 0, 100)), /^E_PROTOCOL: .*answered request/],
    ["another file", (l, r) => l.raw(bytesFrame(r, 0, 100, 1)), /^E_PROTOCOL: .*file 1/],
    ["another place", (l, r) => l.raw(bytesFrame(r, 1, 100)), /^E_PROTOCOL: .*from 1, due was 0/],
    [
      "more than was asked for",
      (l, r) => {
        l.raw(bytesFrame(r, 0, BLOCK_BYTES - 10));
        l.raw(bytesFrame(r, BLOCK_BYTES - 10, 11));
      },
      /^E_PROTOCOL: .*sent 11 bytes/,
    ],
    ["another kind of answer", (l, r) => l.send("opened", { request: r }), /^E_PROTOCOL: .*opened to request/],
    ["a list", (l, r) => l.send("archives", { request: r, rows: [], last: true }), /^E_PROTOCOL: .*archives/],
    [
      "the same twice",
      (l, r) => {
        l.raw(bytesFrame(r, 0, BLOCK_BYTES));
        l.raw(bytesFrame(r, 0, BLOCK_BYTES));
      },
      /^E_PROTOCOL/,
    ],
    [
      "a failure with the name of a disk's error",
      (l, r) =>
        l.send("failed", { request: r, code: "E_ARCHIVE_READ", message: "x", hint: "", retry: false, errno: "EIO" }),
      /^RemoteDiskError: x/,
    ],
    [
      "a failure with the name of another one for lost bytes",
      (l, r) =>
        l.send("failed", {
          request: r,
          code: "E_ARCHIVE_READ",
          message: "x",
          hint: "",
          retry: false,
          errno: "EUCLEAN",
        }),
      /^RemoteDiskError: x/,
    ],
    [
      "a failure with the name of an error that says nothing of the bytes",
      (l, r) =>
        l.send("failed", { request: r, code: "E_ARCHIVE_READ", message: "x", hint: "", retry: false, errno: "ESTALE" }),
      /^E_ARCHIVE_READ: x/,
    ],
    [
      "a code that nobody knows",
      (l, r) => l.send("failed", { request: r, code: "E_NEW", message: "x", hint: "", retry: false }),
      /^E_PEER: E_NEW: x/,
    ],
  ];
  for (const [title, answer, says] of lies) {
    test(`is not believed: ${title}`, async () => {
      const clock = new SimClock();
      const server = new ScriptServer(clock, lying(answer));
      const { stock } = readStock(clock, server);
      const opened = await clock.until(stock.open(rowOf()), 10_000);
      const read = opened.archive.read(new Uint8Array(1000), 0);
      const second = opened.archive.read(new Uint8Array(1000), MiB - 1000);
      const errors = await clock.until(Promise.allSettled([read, second]), 10_000);
      expect(errors.map((one) => String(one.status === "rejected" ? one.reason : "")).join("\n")).toMatch(
        new RegExp(says.source, "m"),
      );
      await stock.close();
      await clock.advance(30_000);
      expect(clock.pendingCount).toBe(0);
    });
  }

  test("with damaged bytes is asked again on another connection", async () => {
    const clock = new SimClock();
    let times = 0;
    const server = new ScriptServer(
      clock,
      lying((link, request) => {
        const frame = bytesFrame(request, 0, BLOCK_BYTES);
        times += 1;
        if (times === 1) frame[100] = 1;
        link.raw(frame);
      }),
    );
    const { stock, troubles } = readStock(clock, server);
    const opened = await clock.until(stock.open(rowOf()), 10_000);
    expect(await clock.until(opened.archive.read(new Uint8Array(1000), 0), 10_000)).toBe(1000);
    expect([server.dialled, ...troubles.map(({ code }) => String(code))]).toEqual([2, "E_CHUNK_DAMAGED"]);
    await stock.close();
  });

  test("with names that are none is not believed", async () => {
    const clock = new SimClock();
    const server = new ScriptServer(clock, (link, arrived, script) => {
      if (arrived.type === "hello") script.welcome(link);
      if (arrived.type !== "list") return true;
      const row = { storage: "main", backup: "home", name: "../../x.tar.gz", bytes: 1, hasIndex: false };
      link.send("archives", { request: arrived.body.request, rows: [row], last: true });
      return true;
    });
    const { stock } = readStock(clock, server);
    const error = await clock.until(
      stock.list({}).catch((caught: unknown) => caught),
      10_000,
    );
    expect(String(error)).toBe('E_PROTOCOL: the server lists "../../x.tar.gz" as an archive');
    await stock.close();
  });
});

describe("reading ahead", () => {
  interface Asked {
    readonly offset: number;
    readonly length: number;
  }

  function ahead(size: number, bad: readonly number[] = []): { readonly reader: ReadAhead; readonly asked: Asked[] } {
    const asked: Asked[] = [];
    const reader = new ReadAhead(size, async (into, offset) => {
      asked.push({ offset, length: into.length });
      await Promise.resolve();
      for (let at = 0; at < into.length; at += 1) into[at] = valueAt(offset + at);
      if (bad.some((at) => at >= offset && at < offset + into.length)) throw diskError("EIO");
    });
    return { reader, asked };
  }

  const valueAt = (at: number): number => (at * 31 + (at >>> 9)) & 0xff;

  test("asks for the block around a single read, and for no more", async () => {
    const { reader, asked } = ahead(100 * MiB);
    await reader.read(new Uint8Array(40), 50 * MiB);
    await reader.read(new Uint8Array(1000), 50 * MiB + 100);
    await reader.read(new Uint8Array(100), 10 * MiB);
    expect(asked).toEqual([
      { offset: 50 * MiB, length: BLOCK_BYTES },
      { offset: 10 * MiB, length: BLOCK_BYTES },
    ]);
  });

  test("never asks for a byte twice when a file is read in order, though each is looked at twice", async () => {
    const { reader, asked } = ahead(20 * MiB);
    for (let at = 0; at < 20 * MiB; at += MiB) {
      await reader.read(new Uint8Array(MiB), at);
      if (at > 0) await reader.read(new Uint8Array(700_000), at - 600_000);
    }
    expect(asked.reduce((sum, { length }) => sum + length, 0)).toBe(20 * MiB);
    expect(Math.max(...asked.map(({ length }) => length))).toBeLessThanOrEqual(MiB);
  });

  test("shares line and memory with the other files that are open", async () => {
    const asked: number[] = [];
    const reader = new ReadAhead(
      4 * MiB,
      async (into) => {
        asked.push(into.length);
        await Promise.resolve();
      },
      () => 64,
    );
    for (let at = 0; at < 4 * MiB; at += 20_000) await reader.read(new Uint8Array(20_000), at);
    expect([Math.max(...asked), asked.reduce((sum, length) => sum + length, 0)]).toEqual([BLOCK_BYTES, 4 * MiB]);
  });

  test("gives the same bytes as the file, wherever and however it is read, at once and with bad places", async () => {
    const random = Array.from({ length: 300 }, (_, n) => (n * 7_919_777) % (9 * MiB));
    const { reader } = ahead(9 * MiB + 13, [5 * MiB + 5]);
    const results = await Promise.all(
      random.map(async (offset, n) => {
        const into = new Uint8Array(1 + ((n * 104_729) % (n % 7 === 0 ? 3 * MiB : 90 * KiB)));
        try {
          const length = await reader.read(into, offset);
          expect(length).toBe(Math.min(into.length, 9 * MiB + 13 - offset));
          return into.subarray(0, length).every((byte, at) => byte === valueAt(offset + at));
        } catch (error) {
          if (error instanceof Failure) throw error;
          return offset <= 5 * MiB + 5 && offset + into.length > 5 * MiB + 5 ? "EIO" : "wrong";
        }
      }),
    );
    expect(results).not.toContain(false);
    expect(results).not.toContain("wrong");
  });
});
