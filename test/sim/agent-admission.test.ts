/** From the agent's side: asking for a session, waiting for it, being refused. The server is a script. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import { ScriptRun } from "#test/support/script-run.ts";
import { agentParts, agentPlan, MadeUpProducer } from "#test/support/agent-world.ts";
import { ScriptServer } from "#test/support/script-server.ts";
import { SimClock } from "#test/support/sim-clock.ts";

test("a place in the server's queue is shown as it changes, for as long as it takes, and is no failed attempt", async () => {
  const run = new ScriptRun({
    script: (link, arrived) => {
      if (arrived.type !== "begin") return false;
      link.send("queued", { position: 2 });
      return true;
    },
  });
  await run.advance(3 * 3_600_000);
  const link = run.server.sessionLink;
  if (link === undefined) throw new Error("the agent does not wait any more");
  link.send("queued", { position: 1 });
  await run.advance(3 * 3_600_000);
  run.server.admit(link);
  expect((await run.result()).result).toBe("committed");
  expect(run.words).toEqual(["connecting", "queued 2", "queued 1", "running"]);
  expect(run.server.dialled).toBe(1);
});

test("an agent that lost its connection in the queue asks again, as often as it takes", async () => {
  let begun = 0;
  const run = new ScriptRun({
    script: (link, arrived) => {
      if (arrived.type !== "begin") return false;
      begun += 1;
      if (begun > 12) return false;
      link.send("queued", { position: 1 });
      link.end();
      return true;
    },
  });
  expect((await run.result()).result).toBe("committed");
  expect(begun).toBe(13);
});

test("a server that is busy is asked again when it said, until retry.max_attempts", async () => {
  let begun = 0;
  const run = new ScriptRun({
    script: (link, arrived, server) => {
      if (arrived.type !== "begin") return false;
      begun += 1;
      if (begun > 2) return false;
      server.refuse(link, "E_BUSY", { retryAfterMs: 10_000 });
      return true;
    },
  });
  expect((await run.result()).result).toBe("committed");
  expect(run.words).toEqual(["connecting", "retrying E_BUSY in 10000", "retrying E_BUSY in 10000", "running"]);

  const never = new ScriptRun({
    script: (link, arrived, server) => {
      if (arrived.type !== "begin") return false;
      server.refuse(link, "E_BUSY");
      return true;
    },
  });
  const result = await never.result();
  expect(result.failure?.code).toBe("E_BUSY");
  expect(result.failure?.exitCode).toBe(1);
  expect(never.server.dialled).toBe(5);
});

for (const [code, exitCode] of [
  ["E_STORAGE_UNKNOWN", 1],
  ["E_STORAGE_DENIED", 1],
  ["E_FULL", 1],
  ["E_IDENTITY", 2],
  ["E_VERSION", 1],
] as const) {
  test(`a refusal with ${code} is final: its sentence and hint are the server's`, async () => {
    const run = new ScriptRun({
      script: (link, arrived, server) => {
        if (arrived.type !== "hello") return false;
        server.refuse(link, code, { retry: false });
        return true;
      },
    });
    const { failure, result, session } = await run.result();
    expect(result).toBe("failed");
    expect(session).toBeUndefined();
    expect(failure).toMatchObject({ code, message: `${code} by script`, hint: "Do as the script says.", exitCode });
    expect(run.server.dialled).toBe(1);
  });
}

test("whether to come again is the server's say, also with a code that this version does not know", async () => {
  for (const [retry, dialled] of [
    [true, 5],
    [false, 1],
  ] as const) {
    for (const code of ["E_FROM_THE_FUTURE", "E_FULL"]) {
      const run = new ScriptRun({
        script: (link, arrived, server) => {
          if (arrived.type !== "begin") return false;
          server.refuse(link, code, { retry });
          return true;
        },
      });
      const { failure } = await run.result();
      expect(failure?.code).toBe(code === "E_FULL" ? "E_FULL" : "E_PEER");
      expect(failure?.message).toContain(`${code} by script`);
      expect(run.server.dialled).toBe(dialled);
    }
  }
});

test("no server keeps an agent away for longer than an hour, or has it come back at once", async () => {
  for (const [asked, waited] of [
    [Number.MAX_SAFE_INTEGER, 3_600_000],
    [0, 1000],
  ] as const) {
    let begun = 0;
    const run = new ScriptRun({
      script: (link, arrived, server) => {
        if (arrived.type !== "begin") return false;
        begun += 1;
        if (begun > 1) return false;
        server.refuse(link, "E_BUSY", { retryAfterMs: asked });
        return true;
      },
    });
    expect((await run.result(2 * 3_600_000)).result).toBe("committed");
    expect(run.words[1]).toBe(`retrying E_BUSY in ${waited}`);
  }
});

test("a window too small for the chunks that the server chose is said at once, and the server is told", async () => {
  const run = new ScriptRun({
    windowBytes: 8 * MiB,
    script: (link, arrived, server) => {
      if (arrived.type !== "begin") return false;
      server.admit(link, { chunkBytes: 4 * MiB });
      return true;
    },
  });
  const { failure } = await run.result();
  expect(failure?.code).toBe("E_WINDOW_SIZE");
  expect(failure?.exitCode).toBe(2);
  expect(run.server.dialled).toBe(1);
  expect(run.server.links[0]?.received.find((what) => what.type === "disown")?.body).toMatchObject({
    code: "E_WINDOW_SIZE",
  });
});

test("a maintenance after hours in the server's queue is waited for like the first one", async () => {
  let begun = 0;
  const run = new ScriptRun({
    giveUpAfterMs: 3_600_000,
    script: (link, arrived, server) => {
      if (arrived.type !== "begin") return false;
      begun += 1;
      if (begun === 2) link.send("queued", { position: 1 });
      else if (begun < 20) server.refuse(link, "E_MAINTENANCE", { retryAfterMs: 30_000 });
      return begun < 20;
    },
  });
  await run.advance(2 * 3_600_000);
  const waiting = run.server.sessionLink;
  if (waiting === undefined) throw new Error("the agent does not wait any more");
  run.server.refuse(waiting, "E_MAINTENANCE", { retryAfterMs: 30_000 });
  expect((await run.result()).result).toBe("committed");
  expect(run.words.filter((word) => word.startsWith("retrying"))).toEqual([]);
});

test("each log of a session that is begun is ended, also when the session could not be", async () => {
  const open = new Set<string>();
  const sessionLogs = {
    begin: ({ session }: { readonly session: string }) => void open.add(session),
    end: (session: string) => void open.delete(session),
  };
  for (const windowBytes of [8 * MiB, 64 * MiB]) {
    const clock = new SimClock();
    const server = new ScriptServer(clock, (link, arrived, self) => {
      if (arrived.type !== "begin") return false;
      self.admit(link, { chunkBytes: 4 * MiB });
      return true;
    });
    const { deps } = agentParts(clock, server, () => new MadeUpProducer(clock, [100]));
    const { signal } = new AbortController();
    const run = runBackup({ ...deps, sessionLogs }, agentPlan({ windowBytes }), signal, () => undefined);
    expect((await clock.until(run, 3_600_000)).result).toBe(windowBytes === 8 * MiB ? "failed" : "committed");
    expect([...open]).toEqual([]);
  }
});

test("another chunk size than was asked for, or one that cannot be, is refused", async () => {
  for (const [asked, answered] of [
    [131_072, 65_536],
    [undefined, 1000],
    [undefined, 1_000_000_000_000],
  ] as const) {
    const run = new ScriptRun({
      plan: (plan) => ({ ...plan, resume: { ...plan.resume, chunkBytes: asked } }),
      script: (link, arrived, server) => {
        if (arrived.type !== "begin") return false;
        server.admit(link, { chunkBytes: answered });
        return true;
      },
    });
    const { failure } = await run.result();
    expect(failure?.code).toBe("E_PROTOCOL");
    expect(run.producers).toHaveLength(0);
  }
});

test("a run whose threads cannot be started fails and tells the server, and does not go on behind its back", async () => {
  const run = new ScriptRun({
    producer: (clock) => {
      const producer = new MadeUpProducer(clock, [1]);
      producer.start = () => {
        throw new Error("no threads left");
      };
      return producer;
    },
  });
  const { failure } = await run.result();
  expect(failure).toMatchObject({ code: "E_INTERNAL", message: "no threads left" });
  expect(run.server.dialled).toBe(1);
  expect(run.server.links[0]?.count("disown")).toBe(1);
});

for (const phase of ["dialling", "hello", "begin", "queue", "backoff"] as const) {
  test(`an interruption during ${phase} ends the run at once`, async () => {
    const run = new ScriptRun({
      script: (link, arrived, server) => {
        if (arrived.type === "hello") return phase === "hello";
        if (arrived.type !== "begin") return false;
        if (phase === "queue") link.send("queued", { position: 1 });
        if (phase === "backoff") server.refuse(link, "E_BUSY", { retryAfterMs: 60_000 });
        return true;
      },
    });
    if (phase !== "dialling") await run.advance(5_000);
    run.interrupt();
    const { failure, durationMs } = await run.result();
    expect(failure?.code).toBe("E_INTERRUPTED");
    expect(durationMs).toBeLessThan(5_100);
  });
}

test("a server that accepts connections and says nothing is given up after the attempts of retry", async () => {
  const run = new ScriptRun({ script: (_link, arrived) => arrived.type === "hello" });
  const { failure, durationMs } = await run.result();
  expect(failure?.code).toBe("E_TIMEOUT");
  expect(run.server.dialled).toBe(5);
  expect(durationMs).toBeLessThan(5 * 20_000 + 30_000);
});

test("a server that is alive and does not answer Begin for 10 minutes is asked again", async () => {
  let begun = 0;
  const run = new ScriptRun({
    script: (_link, arrived) => {
      if (arrived.type !== "begin") return false;
      begun += 1;
      return begun === 1;
    },
  });
  const { result, durationMs } = await run.result();
  expect(result).toBe("committed");
  expect(run.words[1]).toMatch(/^retrying E_TIMEOUT/);
  expect(Math.round(durationMs / 60_000)).toBe(10);
});

test("a server that falls silent in its queue is noticed within 25 s", async () => {
  let begun = 0;
  const run = new ScriptRun({
    script: (link, arrived) => {
      if (arrived.type !== "begin") return false;
      begun += 1;
      if (begun > 1) return false;
      link.send("queued", { position: 1 });
      link.freeze();
      return true;
    },
  });
  const { result, durationMs } = await run.result();
  expect(result).toBe("committed");
  expect(durationMs).toBeLessThan(27_000);
});

test("sources are checked before a server is asked for anything", async () => {
  const clock = new SimClock();
  const server = new ScriptServer(clock);
  const { deps } = agentParts(clock, server, () => new MadeUpProducer(clock, [1]));
  const checkSources = (): void => {
    throw new Failure("E_SOURCE_MISSING", "/home is not there");
  };
  const result = await runBackup({ ...deps, checkSources }, agentPlan(), new AbortController().signal, () => undefined);
  expect(result.failure?.code).toBe("E_SOURCE_MISSING");
  expect(server.dialled).toBe(0);
});

test("a server in maintenance is waited for as long as it takes, and that is no failed attempt", async () => {
  let begun = 0;
  const run = new ScriptRun({
    script: (link, arrived, server) => {
      if (arrived.type !== "begin") return false;
      begun += 1;
      if (begun > 20) return false;
      server.refuse(link, "E_MAINTENANCE", { retryAfterMs: 30_000 });
      return true;
    },
  });
  expect((await run.result()).result).toBe("committed");
  expect(run.words.slice(0, 3)).toEqual(["connecting", "deferred 30000", "deferred 30000"]);
  expect(run.words.filter((word) => word.startsWith("retrying"))).toEqual([]);
  expect(begun).toBe(21);
});

test("a server that is in maintenance for ever is given up after resume.give_up_after", async () => {
  let begun = 0;
  const run = new ScriptRun({
    script: (link, arrived, server) => {
      if (arrived.type !== "begin") return false;
      begun += 1;
      server.refuse(link, "E_MAINTENANCE", { retryAfterMs: 600_000 });
      return true;
    },
  });
  const result = await run.result(48 * 3_600_000);
  expect(result).toMatchObject({ result: "failed", failure: { code: "E_MAINTENANCE" } });
  const deferred = run.words.filter((word) => word.startsWith("deferred")).length;
  expect(deferred).toBe((24 * 3_600_000) / 600_000);
  expect(begun).toBeGreaterThan(deferred);
});

test("a session that the server ends for its maintenance is begun again with a single attempt allowed, as often as that is ordered", async () => {
  let ended = 0;
  const run = new ScriptRun({
    plan: (plan) => ({ ...plan, retry: { ...plan.retry, maxAttempts: 1 } }),
    script: (link, arrived, server) => {
      if (arrived.type !== "finish" || ended === 3) return false;
      ended += 1;
      server.refuse(link, "E_MAINTENANCE", { as: "ended", retryAfterMs: 30_000 });
      return true;
    },
  });
  expect((await run.result()).result).toBe("committed");
  expect(run.words).toEqual([
    ...["connecting", "running", "deferred 30000", "connecting", "running", "deferred 30000"],
    ...["connecting", "running", "deferred 30000", "connecting", "running"],
  ]);
});
