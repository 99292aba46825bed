/** From the agent's side: connections of a running session that break, are refused, stall or come back. The server is a script. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import { MadeUpProducer } from "#test/support/agent-world.ts";
import { ScriptRun } from "#test/support/script-run.ts";
import { SESSION } from "#test/support/script-server.ts";
import type { SimClock } from "#test/support/sim-clock.ts";

/** Chunks of 64 KiB, one each 100 ms. */
function steady(count: number): (clock: SimClock) => MadeUpProducer {
  return (clock) => new MadeUpProducer(clock, Array<number>(count).fill(64 * KiB), 100);
}

test("a connection that the server refuses for a limit is opened again: the session goes on, nothing is read again", async () => {
  let refused = false;
  const run = new ScriptRun({
    producer: steady(50),
    script: (link, arrived, server) => {
      if (arrived.type !== "data" || arrived.body.sequence !== 10 || refused) return false;
      refused = true;
      server.refuse(link, "E_LIMIT");
      return true;
    },
  });
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(result.reconnects).toBe(1);
  expect(run.producers).toHaveLength(1);
});

for (const code of ["E_INTERNAL", "E_SESSION_GONE", "E_LIMIT"]) {
  test(`a stream that is refused with ${code} while the session lives comes back later`, async () => {
    let refused = 0;
    const run = new ScriptRun({
      parallels: 1,
      producer: steady(30),
      script: (link, arrived, server) => {
        if (arrived.type !== "hello" || arrived.body.role !== "stream" || refused === 3) return false;
        refused += 1;
        server.refuse(link, code);
        return true;
      },
    });
    const result = await run.result();
    expect(result.failure?.toString()).toBeUndefined();
    expect(refused).toBe(3);
    expect(result.durationMs).toBeLessThan(10_000);
  });
}

test("a stream that is refused for ever is asked for ever more rarely, however well the others do", async () => {
  const run = new ScriptRun({
    parallels: 4,
    producer: steady(6000),
    script: (link, arrived, server) => {
      if (arrived.type !== "hello" || arrived.body.slot !== 3) return false;
      server.refuse(link, "E_LIMIT");
      return true;
    },
  });
  expect((await run.result()).result).toBe("committed");
  // 10 minutes of 1, 2, 4 … 300 s.
  expect(run.server.streamLinks(3).length).toBeLessThan(12);
});

test("when the session connection is back after an outage the streams do not wait for their turn to try", async () => {
  const run = new ScriptRun({ parallels: 4, producer: steady(18_000) });
  await run.advance(2000);
  run.server.down = true;
  for (const link of run.server.open) link.pipe.cut();
  await run.advance(20 * 60_000);
  run.server.down = false;
  while (run.server.sessionLink === undefined) await run.advance(100);
  await run.advance(100);
  expect(run.server.open.length).toBe(5);
  run.interrupt();
  expect((await run.result()).failure?.code).toBe("E_INTERRUPTED");
});

test("a stream that comes back takes the session connection with it", async () => {
  const run = new ScriptRun({ parallels: 1, producer: steady(18_000) });
  await run.advance(2000);
  run.server.down = true;
  for (const link of run.server.open) link.pipe.cut();
  await run.advance(20 * 60_000);
  run.server.down = false;
  while (run.server.open.every((link) => link.isSession)) await run.advance(100);
  await run.advance(100);
  expect(run.server.open.length).toBe(2);
  run.interrupt();
  expect((await run.result()).failure?.code).toBe("E_INTERRUPTED");
});

test("a run that fails while its session connection is down leaves no stream behind that would keep its session alive", async () => {
  let fail: () => void = () => undefined;
  const run = new ScriptRun({
    parallels: 3,
    producer: (clock) => {
      const producer = steady(1000)(clock);
      const { start } = producer;
      producer.start = (sink) => {
        fail = () => sink.failed(new Failure("E_DISK", "the source's disk is gone"));
        start.call(producer, sink);
      };
      return producer;
    },
    script: (link, arrived, server) => {
      if (arrived.type !== "hello" || arrived.body.role !== "session" || arrived.body.session === undefined)
        return false;
      server.refuse(link, "E_BUSY");
      return true;
    },
  });
  await run.advance(1000);
  run.server.sessionLink?.pipe.cut();
  await run.advance(5000);
  expect(run.server.open.filter((link) => !link.isSession)).toHaveLength(3);
  fail();
  await run.advance(10);
  expect(run.server.open).toEqual([]);
  expect((await run.result()).failure?.code).toBe("E_DISK");
});

test("a stream that was welcomed and told nothing yet is closed with its session", async () => {
  const run = new ScriptRun({
    parallels: 1,
    producer: steady(1000),
    script: (link, arrived, server) => {
      if (arrived.type !== "hello" || arrived.body.role !== "stream") return false;
      server.welcome(link);
      return true;
    },
  });
  await run.advance(1000);
  run.interrupt();
  await run.advance(10);
  expect(run.server.open).toEqual([]);
  expect((await run.result()).failure?.code).toBe("E_INTERRUPTED");
});

test("at the end a stream that takes nothing more is cut off after a while", async () => {
  const run = new ScriptRun({
    parallels: 2,
    producer: (clock) => new MadeUpProducer(clock, Array<number>(12).fill(300 * KiB), 50),
    script: (link, arrived) => {
      // The first chunk of slot 0 is taken, and then nothing is read: its socket fills up.
      if (arrived.type === "data" && link.hello?.slot === 0) link.pause();
      return false;
    },
  });
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(result.resentBytes).toBeGreaterThan(0);
  expect(run.server.streamLinks(1)[0]?.count("goodbye")).toBe(1);
});

test("idle streams do not send what the server has not read because its disk is late", async () => {
  const run = new ScriptRun({
    parallels: 4,
    producer: (clock) => new MadeUpProducer(clock, [1000, 1000, 1000], 50),
    script: (link, arrived, server) => {
      if (arrived.type !== "data" || arrived.body.sequence === 0) return false;
      // Its disk is late for a minute.
      server.sack(link, { stalled: true });
      run.clock.after(60_000, () => {
        server.hold(arrived.body);
        const session = server.sessionLink;
        if (session !== undefined) server.sack(session);
      });
      return true;
    },
  });
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(result.durationMs).toBeGreaterThan(60_000);
  expect(result.resentBytes).toBe(0);
});

test("an interruption reaches the server although a slow chunk stands before it on a limited connection", async () => {
  const run = new ScriptRun({
    limitBytesPerSecond: 64 * KiB,
    producer: (clock) => new MadeUpProducer(clock, Array<number>(20).fill(200 * KiB), 10),
  });
  await run.advance(10_000);
  run.interrupt();
  await run.advance(100);
  expect(run.server.links[0]?.received.at(-1)).toMatchObject({ type: "disown", body: { code: "E_INTERRUPTED" } });
  expect((await run.result()).failure?.code).toBe("E_INTERRUPTED");
});

test("connections that vanish without a word are found dead within 25 s and opened again", async () => {
  const run = new ScriptRun({ parallels: 2, producer: steady(1000) });
  await run.advance(3000);
  for (const link of run.server.open) link.freeze();
  await run.advance(26_000);
  expect(run.server.open).toHaveLength(3);
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(result.reconnects).toBe(3);
});

test("an agent that was stopped for a minute and goes on does not take its connections for dead", async () => {
  const run = new ScriptRun({ parallels: 2, producer: steady(100) });
  await run.advance(3000);
  run.clock.stall(60_000);
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(result.reconnects).toBe(0);
});

test("a session that the server ended is over, and the reason counts: not to be retried is said, else the backup begins again", async () => {
  for (const [code, retry, sessions] of [
    ["E_DISK_FULL", false, 1],
    ["E_SHUTDOWN", true, 2],
    ["E_MISMATCH", true, 2],
  ] as const) {
    let ended = false;
    const run = new ScriptRun({
      parallels: 1,
      producer: steady(20),
      script: (_link, arrived, server) => {
        if (arrived.type !== "data" || arrived.body.sequence !== 10 || ended) return false;
        ended = true;
        const session = server.sessionLink;
        if (session !== undefined) server.refuse(session, code, { as: "ended", retry });
        return true;
      },
    });
    const result = await run.result();
    expect(run.producers).toHaveLength(sessions);
    expect(result.failure?.code).toBe(retry ? undefined : code);
    expect(run.server.links.some((link) => link.count("disown") > 0)).toBe(false);
  }
});

test("a session that the server does not know any more is begun again, and what read for it has stopped before", async () => {
  const made: MadeUpProducer[] = [];
  const run = new ScriptRun({
    producer: (clock) => {
      const producer = steady(made.length === 0 ? 1000 : 10)(clock);
      made.push(producer);
      return producer;
    },
    script: (link, arrived, server) => {
      if (arrived.type !== "hello" || arrived.body.session !== SESSION) return false;
      server.refuse(link, "E_SESSION_GONE");
      return true;
    },
  });
  await run.advance(3000);
  run.server.sessionLink?.pipe.cut();
  await run.advance(400);
  expect(run.words.at(-1)).toMatch(/^retrying E_SESSION_GONE/);
  expect(made.map((producer) => producer.stopped)).toEqual([1]);
  const count = made[0]?.made.length;
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(made[0]?.made.length).toBe(count);
  expect(made).toHaveLength(2);
  expect(run.words).toEqual(["connecting", "running", expect.stringMatching(/^retrying/), "connecting", "running"]);
});

test("a session that is lost again and again is begun retry.max_attempts times", async () => {
  const run = new ScriptRun({
    script: (link, arrived, server) => {
      if (arrived.type !== "finish") return false;
      server.refuse(link, "E_MISMATCH", { as: "ended" });
      return true;
    },
  });
  const result = await run.result();
  expect(result.failure).toMatchObject({ code: "E_MISMATCH", exitCode: 1 });
  expect(run.producers).toHaveLength(5);
});
