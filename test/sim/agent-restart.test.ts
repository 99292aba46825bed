/** From the agent's side: the server dies and comes back, with the session or without it. The server is a script. */
import { describe, expect, test } from "bun:test";
import { must } from "#base/assert.ts";
import { KiB } from "#base/units.ts";
import { MadeUpProducer } from "#test/support/agent-world.ts";
import { ScriptRun } from "#test/support/script-run.ts";
import type { Arrived, ScriptServer, ServedLink } from "#test/support/script-server.ts";
import type { SimClock } from "#test/support/sim-clock.ts";

const CHUNK_BYTES = 64 * KiB;

/** Chunks of 64 KiB, one each 100 ms. */
function steady(count: number): (clock: SimClock) => MadeUpProducer {
  return (clock) => new MadeUpProducer(clock, Array<number>(count).fill(CHUNK_BYTES), 100);
}

/** A server that makes the first `durable` chunks durable and has received all that came. */
function ackReceived(link: ServedLink, server: ScriptServer, durable: number, last: number): void {
  const received: [number, number][] = last >= durable ? [[durable, last]] : [];
  const durableChunks = Math.min(durable, last + 1);
  server.sack(link, {
    files: [{ file: 0, durableChunks, durableBytes: durableChunks * CHUNK_BYTES, received }],
  });
}

const sequences = (links: readonly ServedLink[]): number[] =>
  links.flatMap((link) => link.received.flatMap((what) => (what.type === "data" ? [what.body.sequence] : [])));

describe("a server that was started anew", () => {
  for (const parallels of [0, 3]) {
    test(`and has the session still gets all above the durable point again, and no more (${parallels} streams)`, async () => {
      let restarted = false;
      const run = new ScriptRun({
        parallels,
        producer: steady(60),
        script: (_link, arrived: Arrived, server) => {
          if (arrived.type !== "data" || restarted) return false;
          server.hold(arrived.body);
          const session = server.sessionLink;
          if (session !== undefined) ackReceived(session, server, 10, arrived.body.sequence);
          return true;
        },
      });
      await run.advance(3050);
      const before = [...run.server.links];
      const sent = new Set(sequences(before));
      expect(sent.size).toBe(30);
      restarted = true;
      run.server.restart(10);
      for (const link of run.server.open) link.pipe.cut();
      const result = await run.result();
      expect(result.failure?.toString()).toBeUndefined();
      expect(run.producers).toHaveLength(1);
      const after = run.server.links.filter((link) => !before.includes(link));
      expect(sequences(after).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => 10 + n));
      expect(result.resentBytes).toBe(20 * CHUNK_BYTES);
    });
  }

  test("and has less of the session than it had acknowledged has lost it: the backup begins again", async () => {
    const run = new ScriptRun({ producer: steady(40) });
    await run.advance(2050);
    run.server.restart(5);
    for (const link of run.server.open) link.pipe.cut();
    const result = await run.result();
    expect(result.result).toBe("committed");
    expect(run.producers).toHaveLength(2);
    expect(run.words.find((word) => word.startsWith("retrying"))).toMatch(/^retrying E_SESSION_GONE/);
  });

  test("finds all its old connections closed at once, although nobody told the agent that they are dead", async () => {
    const run = new ScriptRun({ parallels: 3, producer: steady(200) });
    await run.advance(3050);
    // The machine lost its power: the session connection was noticed first, the streams say nothing.
    const streams = run.server.open.filter((link) => !link.isSession);
    for (const link of streams) link.freeze();
    run.server.restart(30);
    must(run.server.sessionLink, "session connection").pipe.cut();
    await run.advance(1000);
    expect(run.server.open).toHaveLength(4);
    for (const slot of [0, 1, 2]) expect(run.server.streamLinks(slot)).toHaveLength(2);
    const result = await run.result();
    expect(result.result).toBe("committed");
    expect(run.producers).toHaveLength(1);
  });

  test("gets nothing out of a word of its last start that is read late", async () => {
    let restarted = false;
    const run = new ScriptRun({
      parallels: 1,
      producer: steady(40),
      script: (link, arrived, server) => {
        if (arrived.type !== "data") return false;
        if (restarted) return false;
        server.hold(arrived.body);
        ackReceived(server.sessionLink ?? link, server, 0, arrived.body.sequence);
        return true;
      },
    });
    await run.advance(1050);
    const oldBoot = run.server.boot;
    restarted = true;
    run.server.restart(0);
    for (const link of run.server.open) link.pipe.cut();
    while (run.server.open.length < 2) await run.advance(50);
    // The connection is the new start's, the word is the old one's.
    const session = must(run.server.sessionLink, "session connection");
    const [first, last] = [0, 9];
    const files = [
      { file: 0 as const, durableChunks: 0, durableBytes: 0, received: [[first, last] as [number, number]] },
    ];
    for (let time = 0; time < 3; time += 1) run.server.sack(session, { boot: oldBoot, files });
    const result = await run.result();
    expect(result.failure?.toString()).toBeUndefined();
    expect(result.resentBytes).toBe(10 * CHUNK_BYTES);
  });
});

test("chunks that a server receives again and again without keeping them are no progress: the agent gives up", async () => {
  const HOUR_MS = 3_600_000;
  const run = new ScriptRun({
    giveUpAfterMs: HOUR_MS,
    plan: (plan) => ({ ...plan, retry: { ...plan.retry, maxAttempts: 1, maxDelayMs: 60_000 } }),
    script: (link, arrived, server) => {
      if (arrived.type === "finish") return true;
      if (arrived.type !== "data") return false;
      ackReceived(link, server, 0, arrived.body.sequence);
      // It dies as soon as it has said so, and what it had received is gone.
      run.clock.after(10, () => {
        server.restart(0);
        link.pipe.cut();
      });
      return true;
    },
    producer: (clock) => new MadeUpProducer(clock, [CHUNK_BYTES, CHUNK_BYTES], 1),
  });
  const result = await run.result(10 * HOUR_MS);
  expect(result.failure?.code).toBe("E_GIVE_UP");
  // Ever more rarely: once a minute in the end.
  expect(run.server.links.length).toBeLessThan(150);
});

test("the log names what the server asks for again by file, number and place", async () => {
  let asked = false;
  const run = new ScriptRun({
    producer: steady(20),
    script: (link, arrived, server) => {
      if (arrived.type !== "data" || arrived.body.sequence !== 4 || asked) return false;
      asked = true;
      server.sack(link, { lost: [[0, 4]] });
      return true;
    },
  });
  expect((await run.result()).result).toBe("committed");
  const line = must(
    run.logged.find((text) => text.includes("asks for chunks again")),
    "line",
  );
  expect(line).toContain(
    `"chunks":[{"file":0,"sequence":4,"offset":${4 * CHUNK_BYTES},"storedLength":${CHUNK_BYTES}}]`,
  );
});
