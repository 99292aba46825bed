/** From the agent's side: acknowledgements that are wrong, a server that makes no progress, Finish and its answers. The server is a script. */
import { expect, test } from "bun:test";
import { every } from "#base/clock.ts";
import { KiB } from "#base/units.ts";
import { MadeUpProducer } from "#test/support/agent-world.ts";
import { ScriptRun } from "#test/support/script-run.ts";
import { BOOT } from "#test/support/script-server.ts";

const HOUR_MS = 3_600_000;

test("what the server acknowledges and never got ends the session, and the server is told", async () => {
  for (const files of [
    [{ file: 0, durableChunks: 50, durableBytes: 50, received: [] }],
    [{ file: 0, durableChunks: 0, durableBytes: 0, received: [[40, 41]] }],
    [{ file: 1, durableChunks: 1, durableBytes: 7, received: [] }],
    [{ file: 0, durableChunks: 1, durableBytes: 99, received: [] }],
  ] as const) {
    for (const parallels of [0, 2]) {
      const run = new ScriptRun({
        parallels,
        script: (link, arrived, server) => {
          if (arrived.type !== "data") return false;
          server.sack(link, {
            files: files.map((file) => ({ ...file, received: file.received.map(([a, b]) => [a, b]) })),
          });
          return true;
        },
      });
      const result = await run.result();
      expect(result.failure?.code).toBe("E_PROTOCOL");
      expect(run.server.links[0]?.received.at(-1)).toMatchObject({ type: "disown", body: { code: "E_PROTOCOL" } });
    }
  }
});

test("a server that takes back what it called durable has lost the session: the backup begins again", async () => {
  let broken = false;
  const run = new ScriptRun({
    producer: (clock) => new MadeUpProducer(clock, Array<number>(20).fill(1000), 100),
    script: (link, arrived, server) => {
      if (arrived.type !== "data" || arrived.body.sequence !== 10 || broken) return false;
      broken = true;
      const none = { file: 0, durableChunks: 0, durableBytes: 0, received: [] } as const;
      server.sack(link, { generation: 9, files: [{ ...none, received: [] }] });
      return true;
    },
  });
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(run.producers).toHaveLength(2);
  expect(run.server.links[0]?.received.at(-1)).toMatchObject({ type: "disown", body: { code: "E_SESSION_GONE" } });
});

test("a late Sack of an older generation takes nothing back", async () => {
  const run = new ScriptRun({
    parallels: 1,
    producer: (clock) => new MadeUpProducer(clock, Array<number>(20).fill(1000), 100),
    script: (link, arrived, server) => {
      if (arrived.type !== "data") return false;
      server.hold(arrived.body);
      server.sack(link);
      server.sack(link, {
        generation: 0,
        files: [{ file: 0, durableChunks: 0, durableBytes: 0, received: [] }],
        lost: [[0, arrived.body.sequence]],
      });
      return true;
    },
  });
  const result = await run.result();
  expect(result.result).toBe("committed");
  expect(result.resentBytes).toBe(0);
});

test("without progress for resume.give_up_after the agent gives the session up and begins again, retry.max_attempts times", async () => {
  const run = new ScriptRun({ giveUpAfterMs: HOUR_MS, script: (_link, arrived) => arrived.type === "data" });
  const result = await run.result(10 * HOUR_MS);
  expect(result.failure).toMatchObject({ code: "E_GIVE_UP", exitCode: 1 });
  expect(run.producers).toHaveLength(5);
  expect(run.server.links).toHaveLength(5);
  for (const link of run.server.links) expect(link.count("disown")).toBe(1);
  expect(result.durationMs).toBeGreaterThan(5 * HOUR_MS);
  expect(result.durationMs).toBeLessThan(5.1 * HOUR_MS);
});

test("a server that repeats its phase without getting on makes no progress, one that gets on does", async () => {
  for (const gettingOn of [true, false]) {
    const run = new ScriptRun({
      giveUpAfterMs: HOUR_MS,
      plan: (plan) => ({ ...plan, retry: { ...plan.retry, maxAttempts: 1 } }),
      script: (link, arrived, server) => {
        if (arrived.type !== "finish") return false;
        let minute = 0;
        const telling = every(run.clock, 60_000, () => {
          minute += 1;
          if (minute === 180 && !link.closed) server.commit(link);
          if (minute === 180 || link.closed) telling.cancel();
          else link.send("phase", { phase: "hashing", done: gettingOn ? minute : 0, total: 600 });
        });
        return true;
      },
    });
    const result = await run.result(10 * HOUR_MS);
    expect(result.failure?.code).toBe(gettingOn ? undefined : "E_GIVE_UP");
  }
});

test("a reader that finds nothing for longer than resume.give_up_after is no reason to give up", async () => {
  const run = new ScriptRun({
    giveUpAfterMs: HOUR_MS,
    producer: (clock) => new MadeUpProducer(clock, [1000, 1000, 1000], 2 * HOUR_MS),
  });
  const result = await run.result(10 * HOUR_MS);
  expect(result.failure?.toString()).toBeUndefined();
});

test("Finish is asked again on the next connection when its answer was lost, and the same answer counts", async () => {
  for (const lostAnswers of [1, 3]) {
    let asked = 0;
    const run = new ScriptRun({
      parallels: 1,
      script: (link, arrived) => {
        if (arrived.type !== "finish") return false;
        asked += 1;
        if (asked > lostAnswers) return false;
        link.pipe.cut();
        return true;
      },
    });
    const result = await run.result();
    expect(result.result).toBe("committed");
    expect(asked).toBe(lostAnswers + 1);
    expect(run.producers).toHaveLength(1);
  }
});

test("an answer that was lost comes with the Welcome of the next connection", async () => {
  for (const committed of [true, false]) {
    const run = new ScriptRun({
      plan: (plan) => ({ ...plan, retry: { ...plan.retry, maxAttempts: 1 } }),
      script: (link, arrived, server) => {
        if (arrived.type === "finish") {
          link.pipe.cut();
          return true;
        }
        if (arrived.type !== "hello" || arrived.body.session === undefined) return false;
        server.welcome(link);
        if (committed) server.commit(link);
        else server.refuse(link, "E_DISK", { as: "ended", retry: false });
        return true;
      },
    });
    const result = await run.result();
    expect(result.failure?.code).toBe(committed ? undefined : "E_DISK");
  }
});

test("a Finish that is answered twice, or by Committed and Ended, counts once: by its first answer", async () => {
  for (const second of ["committed", "ended"] as const) {
    const run = new ScriptRun({
      script: (link, arrived, server) => {
        if (arrived.type !== "finish") return false;
        server.commit(link);
        if (second === "committed") server.commit(link, { archive: "another" });
        else server.refuse(link, "E_INTERNAL", { as: "ended" });
        return true;
      },
    });
    const result = await run.result();
    expect(result.result).toBe("committed");
    expect(result.archive).toBe("a/b/c.tar.gz");
  }
});

test("Finish is sent once on a connection, whatever else the server says before it answers", async () => {
  const run = new ScriptRun({
    script: (link, arrived, server) => {
      if (arrived.type !== "finish") return false;
      for (let i = 0; i < 5; i += 1) server.sack(link);
      link.send("phase", { phase: "hashing", done: 1, total: 2 });
      run.clock.after(30_000, () => server.commit(link));
      return true;
    },
  });
  expect((await run.result()).result).toBe("committed");
  expect(run.server.links[0]?.count("finish")).toBe(1);
});

test("what the server committed must be what was sent", async () => {
  for (const wrong of [{ bytes: 1 }, { sha256: new Uint8Array(32) }, { session: BOOT }]) {
    const run = new ScriptRun({
      script: (link, arrived, server) => {
        if (arrived.type !== "finish") return false;
        server.commit(link, wrong);
        return true;
      },
    });
    expect((await run.result()).failure?.code).toBe("E_MISMATCH");
  }
});

test("a server that commits before it was asked to breaks the protocol", async () => {
  const run = new ScriptRun({
    producer: (clock) => new MadeUpProducer(clock, Array<number>(20).fill(64 * KiB), 100),
    script: (link, arrived) => {
      if (arrived.type !== "data") return false;
      link.send("committed", { session: BOOT, archive: "x", bytes: 1, sha256: new Uint8Array(32), removed: [] });
      return true;
    },
  });
  expect((await run.result()).failure?.code).toBe("E_PROTOCOL");
});

for (const phase of ["reading", "sending", "finishing", "parked"] as const) {
  test(`an interruption while ${phase} ends the run at once, and the server is told if it can be`, async () => {
    const run = new ScriptRun({
      parallels: 2,
      producer: (clock) =>
        new MadeUpProducer(clock, Array<number>(phase === "reading" || phase === "parked" ? 1000 : 3).fill(1000), 100),
      script: (_link, arrived) =>
        (arrived.type === "finish" && phase === "finishing") || (arrived.type === "data" && phase === "sending"),
    });
    await run.advance(5000);
    if (phase === "parked") {
      run.server.down = true;
      for (const link of run.server.open) link.pipe.cut();
    }
    const stage = run.stages.at(-1);
    if (phase !== "parked") expect(stage?.stage === "running" && stage.progress().phase).toBe(phase);
    const startedAtMs = run.clock.now();
    run.interrupt();
    const result = await run.result();
    expect(result.failure?.code).toBe("E_INTERRUPTED");
    expect(result.durationMs).toBe(startedAtMs);
    expect(run.server.links[0]?.count("disown")).toBe(phase === "parked" ? 0 : 1);
  });
}
