/** One run of an entry with all around it: hooks, sources that changed, what is remembered, who is told. */
import { describe, expect, test } from "bun:test";
import { runEntry } from "#agent/entry-run.ts";
import { parseState, withHandled } from "#agent/entry-state.ts";
import type { HookOutcome } from "#agent/hooks.ts";
import type { BackupPlan } from "#agent/backup-run.ts";
import type { BackupResult } from "#agent/result.ts";
import type { SourceFacts } from "#archive/source-facts.ts";
import { Failure } from "#base/errors.ts";
import type { BackupEntryConfig } from "#config/types.ts";
import { agentParts, agentPlan, MadeUpProducer } from "#test/support/agent-world.ts";
import { EntryWorld } from "#test/support/entry-world.ts";
import { type Script, ScriptServer } from "#test/support/script-server.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const DUE_MS = Date.UTC(2026, 1, 1, 2);
const TRIGGER = { kind: "schedule", dueMs: DUE_MS } as const;
const HOOKS = { before: "dump", after: "tidy", onFailure: "cry", timeoutMs: 60_000 };
const NOTIFY = {
  url: "https://hc.example.com/secret",
  failureUrl: "https://hc.example.com/secret/fail",
  on: { failure: true, success: true },
};

interface World extends EntryWorld {
  readonly clock: SimClock;
  readonly logged: readonly string[];
  readonly server: ScriptServer;
  run(stop?: AbortController): Promise<BackupResult>;
}

function worldOf(entry: Partial<BackupEntryConfig>, script?: Script): World {
  const clock = new SimClock(DUE_MS + 1000);
  const server = new ScriptServer(clock, script);
  const { deps, logged } = agentParts(clock, server, () => new MadeUpProducer(clock, [100, 200]));
  const plan = agentPlan();
  const plans: BackupPlan = { ...plan, entry: { ...plan.entry, ...entry } };
  const world = new EntryWorld(deps);
  const run = async (stop = new AbortController()): Promise<BackupResult> => {
    const done = runEntry(world.deps, { plan: plans, trigger: TRIGGER, signal: stop.signal, onStage: () => undefined });
    const result = await clock.until(done, 3_600_000);
    await clock.until(world.deps.notifier.settled(), 3_600_000);
    return result;
  };
  return Object.assign(world, { clock, logged, server, run });
}

/** Resolves with how long that took. */
async function untilStopped(clock: SimClock, signal: AbortSignal): Promise<number> {
  const fromMs = clock.now();
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  return clock.now() - fromMs;
}

const refusing: Script = (link, arrived, server) => {
  if (arrived.type !== "begin") return false;
  server.refuse(link, "E_FULL", { retry: false });
  return true;
};

describe("hooks", () => {
  test("run before and after, with the facts of the run in their environment", async () => {
    const world = worldOf({ hooks: HOOKS });
    const result = await world.run();
    expect(world.hooks.map(({ command }) => command)).toEqual(["dump", "tidy"]);
    expect(world.hooks[0]?.env).toMatchObject({
      ...{ NBACKUP_HOOK: "before", NBACKUP_AGENT: "web-1", NBACKUP_BACKUP: "home", NBACKUP_STORAGE: "main" },
      ...{ NBACKUP_TRIGGER: "schedule", NBACKUP_RESULT: "", NBACKUP_ARCHIVE: "" },
    });
    expect(world.hooks[1]?.env).toMatchObject({
      ...{ NBACKUP_RESULT: "committed", NBACKUP_ARCHIVE: result.archive, NBACKUP_SESSION: result.session },
      ...{ NBACKUP_SHA256: result.sha256, NBACKUP_ARCHIVE_BYTES: "300", NBACKUP_PROBLEMS: "0", NBACKUP_ERROR_CODE: "" },
    });
  });

  const failures: readonly [HookOutcome, string][] = [
    [{ kind: "exited", code: 3 }, "hooks.before of home exited with 3: no space\\u{1b}"],
    [{ kind: "killed", signal: "SIGSEGV" }, "hooks.before of home was ended by SIGSEGV: no space\\u{1b}"],
    [{ kind: "timeout" }, "hooks.before of home took longer than 1m 00s: no space\\u{1b}"],
    [{ kind: "unstartable", reason: "ENOMEM" }, "hooks.before of home could not be started (ENOMEM): no space\\u{1b}"],
  ];
  for (const [outcome, message] of failures) {
    test(`before: a failure (${outcome.kind}) cancels the run with E_HOOK before the server hears of it`, async () => {
      const world = worldOf({ hooks: HOOKS });
      world.onHook = (hook) => {
        hook.line("no space\u001b");
        return hook.command === "dump" ? outcome : { kind: "exited", code: 0 };
      };
      const result = await world.run();
      expect(String(result.failure)).toBe(`E_HOOK: ${message}`);
      expect(result.failure?.exitCode).toBe(1);
      expect(world.server.dialled).toBe(0);
      expect(world.hooks.map(({ command, env }) => [command, env["NBACKUP_ERROR_CODE"]])).toEqual([
        ["dump", ""],
        ["cry", "E_HOOK"],
      ]);
    });
  }

  test("on_failure runs after `after` when there is no archive", async () => {
    const world = worldOf({ hooks: HOOKS }, refusing);
    await world.run();
    expect(world.hooks.map(({ command, env }) => [command, env["NBACKUP_RESULT"], env["NBACKUP_ERROR_CODE"]])).toEqual([
      ["dump", "", ""],
      ["tidy", "failed", "E_FULL"],
      ["cry", "failed", "E_FULL"],
    ]);
  });

  test("after and on_failure cannot spoil a run", async () => {
    const world = worldOf({ hooks: HOOKS });
    world.onHook = ({ command }) => ({ kind: "exited", code: command === "tidy" ? 1 : 0 });
    expect((await world.run()).result).toBe("committed");
    expect(world.logged.join("\n")).toContain("a hook after the run failed");
  });

  test("an interruption ends the hook that runs and the run; what tidies up gets a short while", async () => {
    const world = worldOf({ hooks: HOOKS });
    const stop = new AbortController();
    let tookMs: number | undefined;
    world.onHook = async ({ command, signal }) => {
      if (command === "dump") {
        stop.abort();
        return { kind: signal.aborted ? "stopped" : "timeout" };
      }
      tookMs = await untilStopped(world.clock, signal);
      return { kind: "stopped" };
    };
    const result = await world.run(stop);
    expect(result.failure?.code).toBe("E_INTERRUPTED");
    expect(world.hooks.map(({ command }) => command)).toEqual(["dump", "cry"]);
    expect(tookMs).toBe(15_000);
  });

  test("an interruption leaves a hook that tidies up already the same short while, and no timer", async () => {
    for (const script of [undefined, refusing]) {
      const world = worldOf({ hooks: script === undefined ? HOOKS : { ...HOOKS, after: undefined } }, script);
      const stop = new AbortController();
      let tookMs: number | undefined;
      world.onHook = async ({ command, signal }) => {
        if (command === "dump") return { kind: "exited", code: 0 };
        stop.abort();
        tookMs = await untilStopped(world.clock, signal);
        return { kind: "stopped" };
      };
      const result = await world.run(stop);
      expect(result.result).toBe(script === undefined ? "committed" : "failed");
      expect(tookMs).toBe(15_000);
      expect(world.clock.pendingCount).toBe(0);
    }
  });

  test("of a hook that prints without end the log has two hundred lines, and how many more there were", async () => {
    const world = worldOf({ hooks: { ...HOOKS, after: undefined } });
    world.onHook = (hook) => {
      for (let line = 0; line < 5000; line += 1) hook.line(`line ${line} ${"x".repeat(5000)}`);
      return { kind: "exited", code: 0 };
    };
    await world.run();
    const lines = world.logged.filter((line) => line.includes(" info line "));
    expect(lines).toHaveLength(200);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(1100);
    expect(world.logged.join("\n")).toContain('more output of the hook is left out {"lines":4800}');
  });
});

describe("sources that are not what they were", () => {
  const facts: SourceFacts = {
    ...{ path: "/home", kind: "directory", empty: false, device: "2049", filesystem: "aa" },
    mount: { point: "/home", type: "ext4", source: "/dev/sdb1" },
  };

  test("are an event, and the server is asked to hold its rotation for that run only", async () => {
    const begun: (string | undefined)[] = [];
    const world = worldOf({}, (_link, arrived) => {
      if (arrived.type === "begin") begun.push(arrived.body.holdRotation);
      return false;
    });
    const empty: SourceFacts = { ...facts, empty: true };
    for (const now of [facts, facts, empty, empty]) {
      world.facts = [now];
      expect((await world.run()).result).toBe("committed");
    }
    expect(begun).toEqual([undefined, undefined, "source /home became empty", undefined]);
    expect(world.events.map(({ kind, level, message }) => [kind, level, message])).toEqual([
      ["source_changed", "warn", "source /home became empty; no archive is removed for this run of home"],
    ]);
  });

  test("fail the run when nothing more can be opened to look at them, and no other way", async () => {
    const world = worldOf({});
    world.lookFailure = new Failure("E_EXHAUSTED", "too many open files");
    expect((await world.run()).failure?.code).toBe("E_EXHAUSTED");
    world.lookFailure = new Failure("E_SOURCE_MISSING", "there is no /home");
    expect((await world.run()).result).toBe("committed");
  });

  test("are looked at again when the run waited for long to be admitted, and it asks anew when they changed", async () => {
    const begun: (string | undefined)[] = [];
    let refusals = 0;
    const world = worldOf({}, (link, arrived, server) => {
      if (arrived.type !== "begin") return false;
      begun.push(arrived.body.holdRotation);
      if (begun.length < 2 || refusals > 0) return false;
      refusals += 1;
      server.refuse(link, "E_BUSY", { retry: true, retryAfterMs: 120_000 });
      world.facts = [{ ...facts, empty: true }];
      return true;
    });
    world.facts = [facts];
    await world.run();
    expect((await world.run()).result).toBe("committed");
    expect(begun).toEqual([undefined, undefined, undefined, "source /home became empty"]);
    expect(world.events.map(({ kind }) => kind)).toEqual(["source_changed"]);
  });

  test("stay remembered as they were until a run is committed", async () => {
    let refuse = false;
    const world = worldOf({}, (link, arrived, server) => (refuse ? refusing(link, arrived, server) : false));
    world.facts = [facts];
    await world.run();
    refuse = true;
    world.facts = [
      { ...facts, device: "2050", filesystem: "bb", mount: { point: "/", type: "ext4", source: "/dev/sda1" } },
    ];
    await world.run();
    refuse = false;
    await world.run();
    const message =
      "source /home lies on another device: /dev/sda1 (ext4) mounted at /, before /dev/sdb1 (ext4) mounted at /home";
    expect(world.events.map((event) => event.message)).toEqual(
      Array<string>(2).fill(`${message}; no archive is removed for this run of home`),
    );
  });
});

describe("what is remembered", () => {
  const stateOf = (world: World): ReturnType<typeof parseState> => {
    const bytes = world.disk.files.get("/state/entries/home.json") ?? new Uint8Array(0);
    return parseState(JSON.parse(Buffer.from(bytes).toString()), "home");
  };

  test("a run that is under way is on the disk before its first hook", async () => {
    const world = worldOf({ hooks: HOOKS });
    const seen: unknown[] = [];
    world.onHook = () => {
      seen.push(stateOf(world)?.running);
      return { kind: "exited", code: 0 };
    };
    await world.run();
    expect(seen[0]).toEqual({ trigger: "schedule", dueWallMs: DUE_MS, startedWallMs: DUE_MS + 1000 });
  });

  test("the last result and the last archive, whatever failed since", async () => {
    let refuse = false;
    const world = worldOf({}, (link, arrived, server) => (refuse ? refusing(link, arrived, server) : false));
    const first = await world.run();
    refuse = true;
    await world.run();
    expect(stateOf(world)).toMatchObject({
      running: null,
      last: { result: "failed", code: "E_FULL", trigger: "schedule" },
      lastCommitted: { result: "committed", archive: first.archive, archiveBytes: 300, code: null },
    });
  });

  test("a disk that refuses costs the run nothing, is told once, and knows all when it takes something again", async () => {
    const world = worldOf({});
    world.disk.refusing = "ENOSPC";
    expect((await world.run()).result).toBe("committed");
    expect((await world.states.read("home")).last?.result).toBe("committed");
    expect(world.logged.filter((line) => line.includes("cannot be written"))).toHaveLength(1);
    world.disk.refusing = undefined;
    await world.states.update("home", (state) => state);
    expect(stateOf(world)?.last?.result).toBe("committed");
    expect(world.states.failing).toBe(false);
  });

  test("a file that cannot be read for now goes on from what was known of it", async () => {
    const world = worldOf({});
    await world.states.update("home", (state) => withHandled(state, "0 2 * * *", 5000));
    world.disk.unreadable = "EIO";
    expect((await world.run()).result).toBe("committed");
    expect(stateOf(world)).toMatchObject({ schedule: { handledWallMs: 5000 }, last: { result: "committed" } });
  });

  test("a file that cannot be read, or not be understood, is told once and not at each look", async () => {
    for (const trouble of ["EIO", "damaged"]) {
      const world = worldOf({});
      const told = (): number => world.logged.filter((line) => line.includes("the state of an entry")).length;
      const trip = async (): Promise<void> => {
        if (trouble === "EIO") world.disk.unreadable = trouble;
        else world.disk.files.set("/state/entries/home.json", Buffer.from("{"));
        await world.states.read("home");
        await world.states.read("home");
      };
      await trip();
      expect(told()).toBe(1);
      world.disk.unreadable = undefined;
      await world.states.update("home", (state) => state);
      await world.states.read("home");
      expect(told()).toBe(1);
      await trip();
      expect(told()).toBe(2);
    }
  });

  test("a file that could never be read is not replaced by a state built from nothing, and has all changes later", async () => {
    const world = worldOf({});
    await world.states.update("home", (state) => withHandled(state, "0 2 * * *", 5000));
    const before = world.disk.files.get("/state/entries/home.json");
    const { states } = new EntryWorld(world.deps.backup, world.disk);
    world.disk.unreadable = "EIO";
    const interrupted = { trigger: "schedule", dueWallMs: 1, startedWallMs: 2 } as const;
    await states.update("home", (state) => ({ ...state, running: interrupted }));
    expect(world.disk.files.get("/state/entries/home.json")).toBe(before);
    expect(states.failing).toBe(true);
    expect((await states.read("home")).running).toEqual(interrupted);
    world.disk.unreadable = undefined;
    expect((await states.read("home")).running).toEqual(interrupted);
    world.disk.unreadable = "EIO";
    expect((await states.read("home")).running).toEqual(interrupted);
    await states.update("home", (state) => ({ ...state, stopped: { dueWallMs: 7 } }));
    expect(stateOf(world)).toMatchObject({
      ...{ schedule: { handledWallMs: 5000 }, running: interrupted, stopped: { dueWallMs: 7 } },
    });
    expect(states.failing).toBe(false);
  });

  for (const [what, text] of [
    ["cut short", '{"version":1,"backup":"ho'],
    [
      "of another entry",
      '{"version":1,"backup":"x","schedule":null,"running":null,"stopped":null,"last":null,"lastCommitted":null,"sources":[]}',
    ],
    ["of another shape", '{"version":1,"backup":"home","schedule":7}'],
    ["no text", "\u0000\ufffd"],
  ] as const) {
    test(`a file that is ${what} counts as none, and is told`, async () => {
      const world = worldOf({});
      world.disk.files.set("/state/entries/home.json", Buffer.from(text));
      expect((await world.run()).result).toBe("committed");
      expect(stateOf(world)?.last?.result).toBe("committed");
      expect(world.logged.join("\n")).toContain("begins anew");
    });
  }
});

describe("notifications", () => {
  test("go to the URL after a success and to /fail after a failure, with a few lines", async () => {
    const success = worldOf({ notify: NOTIFY });
    await success.run();
    expect(success.posts.map(({ url }) => url)).toEqual(["https://hc.example.com/secret"]);
    expect(success.posts[0]?.body).toMatch(/^home → main: committed in \d+ms\na\/b\/c.tar.gz, 300 B of /);
    const failure = worldOf({ notify: NOTIFY }, refusing);
    await failure.run();
    expect(failure.posts.map(({ url }) => url)).toEqual(["https://hc.example.com/secret/fail"]);
    expect(failure.posts[0]?.body).toContain("E_FULL: ");
  });

  test("are tried three times, never fail the run, and the log has nothing of the URL but its host", async () => {
    const world = worldOf({ notify: NOTIFY });
    const outcomes: (() => number | Promise<number>)[] = [
      () => 503,
      () =>
        Promise.reject(
          Object.assign(new Error("https://hc.example.com/secret is not there"), { code: "ConnectionRefused" }),
        ),
      () => new Promise<number>(() => undefined),
    ];
    world.onPost = (request) => {
      const outcome = outcomes.shift();
      const answer = outcome?.() ?? 200;
      return Promise.race([
        answer,
        new Promise<number>((_, reject) =>
          request.signal.addEventListener("abort", () => reject(new Error("secret aborted"))),
        ),
      ]);
    };
    expect((await world.run()).result).toBe("committed");
    expect(world.posts).toHaveLength(3);
    const told = world.logged.filter((line) => line.includes("could not be told"));
    expect(told).toEqual([
      expect.stringContaining('{"backup":"home","host":"hc.example.com","reason":"no answer within 10.0s"}'),
    ]);
    expect(world.logged.join("\n")).not.toContain("secret");
    expect(world.clock.pendingCount).toBe(0);
  });

  test("are not sent for results nobody asked for, nor for an interruption", async () => {
    const world = worldOf({ notify: { ...NOTIFY, on: { failure: true, success: false } } });
    await world.run();
    const stop = new AbortController();
    stop.abort();
    expect((await world.run(stop)).failure?.code).toBe("E_INTERRUPTED");
    expect(world.posts).toEqual([]);
  });
});
