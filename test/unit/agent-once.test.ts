/** `--once`: several entries in order, and what a person sees of them while they run. */
import { expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { runOnce } from "#agent/once.ts";
import { OnceDisplay } from "#bin/once-display.ts";
import { agentParts, agentPlan, MadeUpProducer } from "#test/support/agent-world.ts";
import { EntryWorld } from "#test/support/entry-world.ts";
import { type Script, ScriptServer } from "#test/support/script-server.ts";
import { SimClock } from "#test/support/sim-clock.ts";

interface Ran {
  readonly results: readonly string[];
  readonly finished: readonly string[];
  readonly shown: string;
}

/** Runs entries of these names; `finishing` is called after each. */
async function ran(
  names: readonly string[],
  options: {
    readonly script?: Script;
    readonly progress?: boolean;
    readonly onFinished?: (stop: AbortController) => void;
  },
): Promise<Ran> {
  const clock = new SimClock();
  const server = new ScriptServer(clock, options.script);
  const { deps } = agentParts(clock, server, () => new MadeUpProducer(clock, [100, 200]));
  const stop = new AbortController();
  const written: string[] = [];
  const stderr = { write: (text: string) => void written.push(text) };
  const display = new OnceDisplay({ clock, stderr, progress: options.progress === true });
  const finished: string[] = [];
  const plan = agentPlan();
  const plans = names.map((name) => ({ ...plan, entry: { ...plan.entry, name } }));
  const run = runOnce(new EntryWorld(deps).deps, plans, stop.signal, {
    streamStats: true,
    stage: (_plan, stage) => display.stage(stage),
    finished: ({ entry }) => {
      display.finish();
      finished.push(entry.name);
      options.onFinished?.(stop);
    },
  });
  const results = await clock.until(run, 3_600_000);
  await clock.advance(60_000);
  expect(clock.pendingCount).toBe(0);
  return { results: results.map(({ backup, result }) => `${backup} ${result}`), finished, shown: written.join("") };
}

test("a run by hand has lines of figures in the log too, and those of its streams when they are asked for", async () => {
  const clock = new SimClock();
  const { deps, logged } = agentParts(clock, new ScriptServer(clock), () => new MadeUpProducer(clock, [9, 9], 70_000));
  const events = { streamStats: true, stage: () => undefined, finished: () => undefined };
  const run = runOnce(new EntryWorld(deps).deps, [agentPlan()], new AbortController().signal, events);
  await clock.until(run, 3_600_000);
  const count = (event: string): number => logged.filter((line) => line.includes(`"event":"${event}"`)).length;
  expect([count("agent.stats"), count("stream.stats")]).toEqual([2, 9]);
  await clock.advance(60_000);
  expect(clock.pendingCount).toBe(0);
});

test("the server hears how far the run is on the very connection that asked for the session", async () => {
  const clock = new SimClock();
  const server = new ScriptServer(clock);
  const { deps } = agentParts(clock, server, () => new MadeUpProducer(clock, [9, 9], 70_000));
  const events = { streamStats: false, stage: () => undefined, finished: () => undefined };
  await clock.until(runOnce(new EntryWorld(deps).deps, [agentPlan()], new AbortController().signal, events), 3_600_000);
  const told = server.links
    .filter(({ isSession }) => isSession)
    .flatMap(({ received }) => received.flatMap((what) => (what.type === "ping" ? [what.body.entries] : [])));
  expect(new Set(told)).toEqual(new Set([0, 1]));
  await clock.advance(60_000);
  expect(clock.pendingCount).toBe(0);
});

test("entries run in order, and one that fails does not keep the next from running", async () => {
  const { results, finished } = await ran(["a", "b", "c"], {
    script: (link, arrived, server) => {
      if (arrived.type !== "begin" || arrived.body.backup !== "b") return false;
      server.refuse(link, "E_FULL", { retry: false });
      return true;
    },
  });
  expect(results).toEqual(["a committed", "b failed", "c committed"]);
  expect(finished).toEqual(["a", "b", "c"]);
});

test("an interruption keeps the entries that have not begun from running", async () => {
  const { results } = await ran(["a", "b"], { onFinished: (stop) => stop.abort() });
  expect(results).toEqual(["a committed"]);
});

const queueing: Script = (link, arrived, server) => {
  if (arrived.type !== "begin") return false;
  link.send("queued", { position: 2 });
  link.send("queued", { position: 1 });
  server.admit(link);
  return true;
};

test("without --progress a person hears of the queue and of nothing else that goes on", async () => {
  const { shown } = await ran(["a"], { script: queueing });
  expect(shown).toBe("waiting in the server's queue, position 2\nwaiting in the server's queue, position 1\n");
});

test("with --progress each entry has its own lines, which begin when it does and end with it", async () => {
  const { shown } = await ran(["a", "b"], { progress: true });
  expect(shown.split("\n").filter((line) => line.startsWith("connecting"))).toHaveLength(2);
});

test("a server in maintenance is named once while it is waited for, also without --progress", async () => {
  let begun = 0;
  const { results, shown } = await ran(["home"], {
    script: (link, arrived, server) => {
      if (arrived.type !== "begin") return false;
      begun += 1;
      if (begun > 5) return false;
      server.refuse(link, "E_MAINTENANCE", { retryAfterMs: 30_000 });
      return true;
    },
  });
  expect(results).toEqual(["home committed"]);
  expect(shown).toMatch(/^[^\n]+: waiting until it has time\n$/);
});

test("a log line while nothing is shown is written as it is", () => {
  const written: string[] = [];
  const stderr = { write: (text: string) => void written.push(text) };
  const display = new OnceDisplay({ clock: new SimClock(), stderr, progress: true });
  display.note(`${String(new Failure("E_CONFIG", "before anything began"))}\n`);
  expect(written).toEqual(["E_CONFIG: before anything began\n"]);
});
