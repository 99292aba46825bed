/**
 * Bytes that no right peer sends, against the whole server and the whole agent in memory: recorded conversations and running
 * ones, spoiled in every way. The server goes on and carries the backup beside it; the agent's run ends in an archive that
 * is right or in a failure of the catalogue. Nothing is left, and nobody finds a bug.
 */
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { must } from "#base/assert.ts";
import { isErrorCode } from "#base/catalogue.ts";
import { toFailure } from "#base/errors.ts";
import type { Connection, Dialer } from "#net/connection.ts";
import { runBackup } from "#agent/backup-run.ts";
import { RemoteDiskError } from "#agent/read-link.ts";
import type { BackupResult } from "#agent/result.ts";
import { agentParts, agentPlan, MadeUpProducer, SimNetwork } from "#test/support/agent-world.ts";
import { ARCHIVE, plant, readStock, rowOf, someBytes } from "#test/support/read-kit.ts";
import { scriptPipe } from "#test/support/script-pipe.ts";
import { ServerWorld } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import {
  anySpoiling,
  type Capture,
  framesOf,
  lengths,
  recordCaptures,
  spoil,
  type Spoiling,
  subtleSpoiling,
  tapped,
} from "#test/support/wire-captures.ts";

setDefaultTimeout(60_000);
const HOUR_MS = 3_600_000;
/** Often few: who is spoiled too much is found out at once. */
const spoilings = fc.array(anySpoiling, { maxLength: 4 });

/** What passes on one connection of a running session, in the order of dialling, piece by piece. */
const liveFault = fc.record({
  index: fc.nat(1000),
  /** Spoiled are this piece and those that follow as many pieces behind each other as `every` says. */
  first: fc.oneof(fc.nat(5), fc.nat(40)),
  every: fc.integer({ min: 1, max: 12 }),
  times: fc.integer({ min: 1, max: 6 }),
  changes: fc.array(fc.oneof({ weight: 3, arbitrary: subtleSpoiling }, { weight: 1, arbitrary: anySpoiling }), {
    minLength: 1,
    maxLength: 2,
  }),
});

let captures: readonly Capture[];
let strange: readonly Uint8Array[];

beforeAll(async () => {
  captures = await recordCaptures();
  strange = captures.flatMap(({ up, down }) => [...up, ...down]);
});

/** A bug of ours shows as an internal error, or as a broken invariant that somebody logged. */
function expectNoBug(logged: readonly string[]): void {
  expect(logged.filter((line) => /E_INTERNAL|handler failed|AssertionError|internal error/.test(line))).toEqual([]);
}

function expectRight(world: ServerWorld, result: BackupResult, producer: MadeUpProducer): void {
  expect(result.failure?.toString()).toBeUndefined();
  const wanted = Buffer.concat(producer.made);
  expect(result.archiveBytes).toBe(wanted.length);
  expect(result.sha256).toBe(new Bun.CryptoHasher("sha256").update(wanted).digest("hex"));
  expect(world.content(must(result.archive, "archive")).equals(wanted)).toBe(true);
}

/** Committed and right, or a failure that a person can understand. */
function expectEnd(world: ServerWorld, result: BackupResult, producer: MadeUpProducer | undefined): void {
  if (result.result === "committed") expectRight(world, result, must(producer, "producer"));
  else expect(isErrorCode(must(result.failure, "failure").code)).toBe(true);
  expect(result.failure?.code).not.toBe("E_INTERNAL");
}

describe("a server", () => {
  test("that is told spoiled conversations on several connections carries a right backup beside them", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(1000), spoilings), { minLength: 1, maxLength: 5 }),
        fc.nat(3),
        async (hostile, parallels) => {
          const world = await ServerWorld.start({ sessionIdleTimeoutMs: 60_000 });
          const producer = new MadeUpProducer(world.clock, lengths(30), 10);
          // The recorded agent is web-1; the right one is another.
          const { deps } = agentParts(world.clock, new SimNetwork(world, "web-2"), () => producer);
          const right = { ...deps, identity: { ...deps.identity, agent: "web-2" } };
          const run = runBackup(right, agentPlan({ parallels }), new AbortController().signal, () => undefined);
          const links = hostile.map(([pick, changes]) => {
            const { link } = world.connect("web-1");
            link.raw(spoil(must(captures[pick % captures.length], "capture").up, changes, strange));
            return link;
          });
          expectRight(world, await world.clock.until(run, HOUR_MS), producer);
          for (const link of links) link.destroy();
          await world.clock.advance(180_000);
          expectNoBug(world.logged);
          await world.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  test("that hears a running session spoiled ends it in order, or takes it up again, and serves the next one", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(3), liveFault, async (parallels, fault) => {
        const world = await ServerWorld.start({ sessionIdleTimeoutMs: 60_000 });
        const { result, producers } = await liveRun(world, parallels, { ...fault, way: "up" });
        expectEnd(world, result, producers.at(-1));
        await world.clock.advance(180_000);
        expectNoBug(world.logged);
        const next = new MadeUpProducer(world.clock, lengths(5), 1);
        const { deps } = agentParts(world.clock, new SimNetwork(world), () => next);
        const run = runBackup(deps, agentPlan(), new AbortController().signal, () => undefined);
        expectRight(world, await world.clock.until(run, HOUR_MS), next);
        await world.close();
      }),
      { numRuns: 250 },
    );
  });
});

describe("an agent", () => {
  test("that is told spoiled conversations on every connection ends with a failure of the catalogue, and leaves nothing", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), spoilings, fc.nat(2), async (pick, changes, parallels) => {
        const clock = new SimClock();
        const dialer = new ReplayDialer(clock, (dialled) => {
          const capture = must(captures[(pick + dialled) % captures.length], "capture");
          return spoil(capture.down, changes, strange);
        });
        const producers: MadeUpProducer[] = [];
        const { deps, logged } = agentParts(clock, dialer, () => {
          const producer = new MadeUpProducer(clock, lengths(30), 10);
          producers.push(producer);
          return producer;
        });
        const plan = agentPlan({ parallels, giveUpAfterMs: 600_000 });
        const quick = { ...plan, retry: { ...plan.retry, maxAttempts: 2, maxDelayMs: 20_000 } };
        const run = runBackup(deps, quick, new AbortController().signal, () => undefined);
        const result = await clock.until(run, 10 * HOUR_MS);
        expect(result.failure?.code).not.toBe("E_INTERNAL");
        expect(isErrorCode(result.failure?.code ?? "none")).toBe(true);
        await clock.advance(60_000);
        expect([dialer.openCount, clock.pendingCount]).toEqual([0, 0]);
        for (const producer of producers) expect(producer.stopped).toBeGreaterThan(0);
        expectNoBug(logged);
      }),
      { numRuns: 150 },
    );
  });

  test("whose server's words are spoiled while its session runs ends with an archive that is right, or a failure of the catalogue", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(3), liveFault, async (parallels, fault) => {
        const world = await ServerWorld.start({ sessionIdleTimeoutMs: 60_000 });
        const { result, producers, logged } = await liveRun(world, parallels, { ...fault, way: "down" });
        expectEnd(world, result, producers.at(-1));
        await world.clock.advance(180_000);
        expectNoBug([...world.logged, ...logged]);
        await world.close();
      }),
      { numRuns: 250 },
    );
  });
});

const bytes = someBytes(300_000);

describe("an agent that reads its archives", () => {
  test("over a connection that is spoiled, either way, ends with what it asked for or a failure of the catalogue, and leaves nothing", async () => {
    await fc.assert(
      fc.asyncProperty(fc.boolean(), liveFault, async (up, fault) => {
        const world = await ServerWorld.start();
        await world.wait(plant(world.disk, `web-1/home/${ARCHIVE}`, bytes));
        const dialer = new SpoilingDialer(new SimNetwork(world), { ...fault, index: 0, way: up ? "up" : "down" });
        const { stock } = readStock(world.clock, dialer, { giveUpAfterMs: 60_000 });
        const errors: unknown[] = [];
        try {
          const { rows } = await world.clock.until(stock.list({ facts: true }), HOUR_MS);
          const opened = await world.clock.until(stock.open(rows[0] ?? rowOf()), HOUR_MS);
          const size = Math.min(opened.archive.size, bytes.length);
          for (let at = 0; at < size; at += 50_000) {
            const into = new Uint8Array(Math.min(50_000, size - at));
            await world.clock.until(opened.archive.read(into, at), HOUR_MS);
          }
          await opened.close();
        } catch (error) {
          errors.push(error);
        }
        await stock.close();
        await world.clock.advance(60_000);
        for (const error of errors) {
          expect(error instanceof RemoteDiskError || isErrorCode(toFailure(error).code)).toBe(true);
          expect(toFailure(error).code === "E_INTERNAL" && !(error instanceof RemoteDiskError)).toBe(false);
        }
        expectNoBug(world.logged);
        await world.close();
      }),
      { numRuns: 100 },
    );
  });
});

interface LiveFault {
  readonly way: "up" | "down";
  readonly index: number;
  readonly first: number;
  readonly every: number;
  readonly times: number;
  readonly changes: readonly Spoiling[];
}

interface LiveRun {
  readonly result: BackupResult;
  readonly producers: readonly MadeUpProducer[];
  readonly logged: readonly string[];
}

async function liveRun(world: ServerWorld, parallels: number, { index, ...fault }: LiveFault): Promise<LiveRun> {
  const producers: MadeUpProducer[] = [];
  const dialer = new SpoilingDialer(new SimNetwork(world), { ...fault, index: index % (1 + parallels) });
  const { deps, logged } = agentParts(world.clock, dialer, () => {
    const producer = new MadeUpProducer(world.clock, lengths(40), 10);
    producers.push(producer);
    return producer;
  });
  const plan = agentPlan({ parallels, giveUpAfterMs: HOUR_MS });
  const run = runBackup(deps, plan, new AbortController().signal, () => undefined);
  return { result: await world.clock.until(run, 30 * HOUR_MS), producers, logged };
}

/** Spoils some pieces of what passes on one connection, a piece being a frame or a few. */
class SpoilingDialer implements Dialer {
  readonly #inner: Dialer;
  readonly #fault: LiveFault;
  #dialled = 0;

  constructor(inner: Dialer, fault: LiveFault) {
    this.#inner = inner;
    this.#fault = fault;
  }

  async dial(signal?: AbortSignal): Promise<Connection> {
    const { way, index } = this.#fault;
    const connection = await this.#inner.dial(signal);
    const mine = this.#dialled === index;
    this.#dialled += 1;
    if (!mine) return connection;
    const spoiler = this.#spoiler();
    return tapped(connection, {
      up: (bytes) => {
        if (way === "down") return connection.write(bytes);
        const spoiled = spoiler(bytes);
        if (spoiled === bytes) return connection.write(bytes);
        // Whatever of it was taken: the writer must believe that all was.
        connection.write(spoiled);
        return bytes.length;
      },
      down: (bytes, pass) => pass(way === "down" ? spoiler(bytes) : bytes),
    });
  }

  #spoiler(): (bytes: Uint8Array) => Uint8Array {
    const { first, every, times, changes } = this.#fault;
    let piece = -1;
    return (bytes) => {
      piece += 1;
      const behind = piece - first;
      if (behind < 0 || behind % every !== 0 || behind / every >= times) return bytes;
      return spoil(framesOf(bytes), changes, strange);
    };
  }
}

/** A server that says what it was told to on each connection, and hears nothing. */
class ReplayDialer implements Dialer {
  readonly #clock: SimClock;
  readonly #words: (dialled: number) => Uint8Array;
  #dialled = 0;
  openCount = 0;

  constructor(clock: SimClock, words: (dialled: number) => Uint8Array) {
    this.#clock = clock;
    this.#words = words;
  }

  dial(): Promise<Connection> {
    const words = this.#words(this.#dialled);
    this.#dialled += 1;
    this.openCount += 1;
    const pipe = scriptPipe(this.#clock, `192.0.2.7:${40_000 + this.#dialled}`, () => {
      throw new Error("the server of this test looks at no certificate");
    });
    pipe.server.attach({
      data: () => undefined,
      drain: () => undefined,
      closed: () => {
        this.openCount -= 1;
      },
    });
    // After Hello, as a server that answers it.
    this.#clock.after(5, () => void pipe.server.write(words));
    return Promise.resolve(pipe.client);
  }
}
