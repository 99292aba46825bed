/** The simulated connection keeps the contract of connection.ts, and its faults are what they say. */
import { describe, expect, test } from "bun:test";
import type { Failure } from "#base/errors.ts";
import type { Connection } from "#net/connection.ts";
import { type MemoryLink, memoryLink, type MemoryLinkOptions } from "#test/support/memory-net.ts";
import { SimClock } from "#test/support/sim-clock.ts";

/** One end with all that it saw. */
class Watcher {
  text = "";
  bytes = 0;
  drains = 0;
  readonly closed: (Failure | undefined)[] = [];
  /** Inside a call of ours nothing may happen. */
  inCall = false;
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
    connection.attach({
      data: (bytes) => {
        this.#outside();
        this.bytes += bytes.length;
        if (bytes.length < 100) this.text += Buffer.from(bytes).toString();
      },
      drain: () => {
        this.#outside();
        this.drains += 1;
      },
      closed: (failure) => {
        this.#outside();
        this.closed.push(failure);
      },
    });
  }

  call<T>(fn: (connection: Connection) => T): T {
    this.inCall = true;
    const result = fn(this.connection);
    this.inCall = false;
    return result;
  }

  write(text: string): number {
    return this.call((c) => c.write(Buffer.from(text)));
  }

  #outside(): void {
    if (this.inCall) throw new Error("an event came inside a call");
    if (this.closed.length > 0) throw new Error("an event came after closed");
  }
}

function setup(options: Partial<MemoryLinkOptions> = {}): {
  clock: SimClock;
  link: MemoryLink;
  client: Watcher;
  server: Watcher;
} {
  const clock = new SimClock();
  const link = memoryLink({ clock, latencyMs: 10, ...options });
  return { clock, link, client: new Watcher(link.client), server: new Watcher(link.server) };
}

describe("a connection in memory", () => {
  test("delivers bytes in order after its latency, and says where they come from", async () => {
    const { clock, client, server, link } = setup();
    client.write("hello ");
    client.write("world");
    await clock.advance(9);
    expect(server.text).toBe("");
    await clock.advance(1);
    expect(server.text).toBe("hello world");
    expect([link.client.localPort, link.server.remoteAddress]).toEqual([40000, "192.0.2.7:40000"]);
  });

  test("takes no more than its buffer holds, and says when there is room again", async () => {
    const { clock, client, server } = setup({ bufferBytes: 1000 });
    server.connection.pause();
    expect(client.call((c) => c.write(new Uint8Array(700)))).toBe(700);
    expect(client.call((c) => c.write(new Uint8Array(700)))).toBe(300);
    expect(client.call((c) => c.write(new Uint8Array(700)))).toBe(0);
    await clock.advance(100);
    expect([server.bytes, client.drains]).toEqual([0, 0]);
    server.connection.resume();
    await clock.advance(100);
    expect([server.bytes, client.drains]).toEqual([1000, 1]);
  });

  test("carries no more than its rate", async () => {
    const { clock, client, server } = setup({ bytesPerSecond: 64 * 1024, latencyMs: 0 });
    client.call((c) => c.write(new Uint8Array(128 * 1024)));
    await clock.advance(1500);
    expect(server.bytes).toBe(64 * 1024);
    await clock.advance(600);
    expect(server.bytes).toBe(128 * 1024);
  });

  test("end delivers what was taken, then closes both ends without a failure", async () => {
    const { clock, client, server, link } = setup();
    client.write("last words");
    client.call((c) => c.end());
    expect(client.write("too late")).toBe(0);
    await clock.advance(10);
    expect([server.text, server.closed]).toEqual(["last words", [undefined]]);
    await clock.advance(10);
    expect([client.closed, link.over, clock.pendingCount]).toEqual([[undefined], true, 0]);
  });

  test("a paused end sees the bytes before the end when it reads again", async () => {
    const { clock, client, server } = setup();
    server.connection.pause();
    client.write("before");
    client.call((c) => c.end());
    await clock.advance(100);
    expect([server.text, server.closed]).toEqual(["", []]);
    server.connection.resume();
    await clock.advance(100);
    expect([server.text, server.closed]).toEqual(["before", [undefined]]);
  });

  test("destroy closes this end without a failure and breaks the other, paused or not", async () => {
    const { clock, client, server } = setup();
    client.write("dropped");
    server.connection.pause();
    client.call((c) => c.destroy());
    await clock.advance(50);
    expect([client.closed, server.text]).toEqual([[undefined], ""]);
    expect(server.closed.map((f) => f?.code)).toEqual(["E_DISCONNECTED"]);
    expect(clock.pendingCount).toBe(0);
  });

  test("an end that the peer never answers is cut off after a while", async () => {
    const { clock, client, link } = setup();
    link.lose("fromClient");
    client.call((c) => c.end());
    await clock.advance(60_000);
    expect([client.closed, clock.pendingCount]).toEqual([[undefined], 0]);
  });
});

describe("faults", () => {
  test("cut breaks both ends, with a failure, once", async () => {
    const { clock, client, server, link } = setup();
    client.write("lost");
    link.cut();
    link.cut();
    await clock.advance(50);
    expect([...client.closed, ...server.closed].map((f) => f?.code)).toEqual(["E_DISCONNECTED", "E_DISCONNECTED"]);
    expect(server.text).toBe("");
  });

  test("cutAfter breaks at exactly that byte", async () => {
    for (const bytes of [1, 4, 5]) {
      const { clock, client, server, link } = setup();
      link.cutAfter("fromClient", bytes);
      client.write("hello");
      client.write(" world");
      await clock.advance(100);
      expect(server.text).toBe("hello world".slice(0, bytes));
      expect([link.over, link.deliveredBytes("fromClient")]).toEqual([true, bytes]);
    }
  });

  test("a stalled way fills up and goes on when it is released, the other way works", async () => {
    const { clock, client, server, link } = setup({ bufferBytes: 8 });
    link.stall("fromClient");
    expect(client.write("0123456789")).toBe(8);
    server.write("still");
    await clock.advance(1000);
    expect([server.text, client.text]).toEqual(["", "still"]);
    link.release("fromClient");
    await clock.advance(100);
    expect([server.text, client.drains]).toEqual(["01234567", 1]);
  });

  test("a reset waits where its way is stalled", async () => {
    const { clock, client, server, link } = setup();
    link.stall("fromClient");
    client.call((c) => c.destroy());
    await clock.advance(1000);
    expect(server.closed).toEqual([]);
    link.release("fromClient");
    await clock.advance(100);
    expect(server.closed.map((f) => f?.code)).toEqual(["E_DISCONNECTED"]);
  });

  test("what is lost one way is never acknowledged, and nobody is told", async () => {
    const { clock, client, server, link } = setup({ bufferBytes: 6 });
    link.lose("fromClient");
    expect(client.write("hello")).toBe(5);
    server.write("can you hear me");
    client.call((c) => c.destroy());
    await clock.advance(10_000);
    expect([server.text, server.closed, server.drains]).toEqual(["", [], 0]);
  });
});
