/** Agent and server together: what becomes of the chunks when they are damaged, limited, or belong to the index. */
import { expect, test } from "bun:test";
import { crc32 } from "node:zlib";
import { type FileNumber, NO_SOCKETS } from "#base/chunk.ts";
import { KiB, MiB } from "#base/units.ts";
import { runBackup } from "#agent/backup-run.ts";
import type { Producer, ProducerSink } from "#agent/producer.ts";
import { agentParts, agentPlan, agentWorld, MadeUpProducer, type PlanFields } from "#test/support/agent-world.ts";
import { ScriptServer } from "#test/support/script-server.ts";
import { ServerWorld } from "#test/support/server-world.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { type Tap, TappedDialer } from "#test/support/tapped-dialer.ts";

const HOUR_MS = 3_600_000;

/** Flips a bit in the middle of the first large piece that `when` allows. */
function damageOnce(when: (index: number) => boolean): Tap & { readonly done: () => boolean } {
  let done = false;
  const tap: Tap = (index, bytes) => {
    if (done || bytes.length < 20 * KiB || !when(index)) return bytes;
    done = true;
    const at = bytes.length >> 1;
    bytes[at] = (bytes[at] ?? 0) ^ 0x10;
    return bytes;
  };
  return Object.assign(tap, { done: () => done });
}

for (const parallels of [0, 1, 4]) {
  test(`a chunk that is damaged on its way over ${parallels} streams is named as lost, sent again, and the archive is right`, async () => {
    const world = await ServerWorld.start();
    const producer = new MadeUpProducer(world.clock, Array<number>(40).fill(100 * KiB), 20);
    const agent = agentWorld(world, () => producer);
    const tap = damageOnce(() => producer.made.length > 5);
    const deps = { ...agent.deps, dialer: new TappedDialer(agent.network, tap) };
    const run = runBackup(deps, agentPlan({ parallels }), new AbortController().signal, () => undefined);
    const result = await world.clock.until(run, HOUR_MS);
    expect(tap.done()).toBe(true);
    expect(result.failure?.toString()).toBeUndefined();
    expect(world.content(result.archive ?? "").equals(Buffer.concat(producer.made))).toBe(true);
    expect(result.resentBytes).toBe(100 * KiB);
    expect(result.reconnects).toBe(0);
    expect(world.eventsOf("session.chunk-damaged")).toHaveLength(1);
    expect(agent.logged.filter((line) => line.includes("the server asks for chunks again"))).toHaveLength(1);
    await world.close();
  });
}

test("when the word that a chunk was lost is lost too, the only stream sends it again by itself", async () => {
  const world = await ServerWorld.start();
  const producer = new MadeUpProducer(world.clock, Array<number>(40).fill(100 * KiB), 20);
  const agent = agentWorld(world, () => producer);
  let armed = false;
  const tap = damageOnce(() => armed);
  const deps = { ...agent.deps, dialer: new TappedDialer(agent.network, tap) };
  const run = runBackup(deps, agentPlan({ parallels: 1 }), new AbortController().signal, () => undefined);
  await world.clock.advance(200);
  // The session connection is dead, and the server does not know it yet when it names the damaged chunk there.
  agent.network.stall(0);
  armed = true;
  const result = await world.clock.until(run, 120_000);
  expect(tap.done()).toBe(true);
  expect(result.failure?.toString()).toBeUndefined();
  expect(world.content(result.archive ?? "").equals(Buffer.concat(producer.made))).toBe(true);
  expect(result.durationMs).toBeLessThan(60_000);
  await world.close();
});

/** Makes chunks of file 1 beside those of file 0, as a reader that writes the index does: the last one at the end. */
class IndexingProducer implements Producer {
  readonly made: readonly [Buffer[], Buffer[]] = [[], []];
  readonly #clock: SimClock;
  readonly #count: number;
  #sink: ProducerSink | undefined;

  constructor(clock: SimClock, count: number) {
    this.#clock = clock;
    this.#count = count;
  }

  start(sink: ProducerSink): void {
    this.#sink = sink;
    this.#later();
  }

  poke(): void {
    // It asks again by itself.
  }

  progress(): ReturnType<Producer["progress"]> {
    return { entries: 0, rawBytes: 0, currentPath: new Uint8Array(0) };
  }

  stop(): Promise<void> {
    this.#sink = undefined;
    return Promise.resolve();
  }

  #later(): void {
    this.#clock.after(5, () => this.#make());
  }

  #make(): void {
    const sink = this.#sink;
    if (sink === undefined) return;
    const done = this.made[0].length + this.made[1].length;
    const file: FileNumber = done % 4 === 3 || done === this.#count - 1 ? 1 : 0;
    const sequence = this.made[file].length;
    const stored = Buffer.alloc(file === 0 ? 90_001 : 1_203, `${file}:${sequence};`);
    if (!sink.reserve(stored.length)) {
      this.#later();
      return;
    }
    this.made[file].push(stored);
    const digest = new Uint8Array(new Bun.CryptoHasher("sha256").update(stored).digest());
    const kind = file === 1 ? "index" : done === this.#count - 2 ? "end" : "entries";
    sink.chunk({ file, sequence, kind, rawLength: stored.length, stored, crc: crc32(stored), digest });
    if (done + 1 === this.#count)
      sink.end({ entries: 1, rawBytes: 1, problemCount: 0, sockets: NO_SOCKETS, unread: [] });
    else this.#later();
  }
}

for (const parallels of [0, 4]) {
  test(`a producer that makes an index beside the archive ends with both files, whatever breaks, over ${parallels} streams`, async () => {
    const world = await ServerWorld.start();
    const producer = new IndexingProducer(world.clock, 202);
    const agent = agentWorld(world, () => producer);
    // Smaller than all chunks together: memory of both files is freed in the order in which it was taken.
    const plan = agentPlan({ parallels, windowBytes: 12 * MiB });
    const run = runBackup(agent.deps, plan, new AbortController().signal, () => undefined);
    for (let cut = 0; cut < 5; cut += 1) {
      await world.clock.advance(170);
      agent.network.cut();
    }
    const result = await world.clock.until(run, HOUR_MS);
    expect(result.failure?.toString()).toBeUndefined();
    const archive = result.archive ?? "";
    expect(archive).toEndWith(".tar.gz");
    expect(world.content(archive).equals(Buffer.concat(producer.made[0]))).toBe(true);
    expect(world.content(archive.replace(/\.tar\.gz$/, ".idx")).equals(Buffer.concat(producer.made[1]))).toBe(true);
    expect(result.archiveBytes).toBe(Buffer.concat(producer.made[0]).length);
    expect(world.unfinished()).toEqual([]);
    await world.close();
  });
}

interface Sent {
  readonly atMs: number;
  readonly bytes: number;
}

/** What a run under a limit puts on all its connections together, until it is interrupted after `forMs`. */
async function sentUnderLimit(fields: PlanFields, chunkBytes: number, forMs: number): Promise<readonly Sent[]> {
  const clock = new SimClock();
  const server = new ScriptServer(clock);
  const producer = new MadeUpProducer(clock, Array<number>(100_000).fill(chunkBytes), 1);
  const sent: Sent[] = [];
  const dialer = new TappedDialer(server, (_index, bytes) => {
    sent.push({ atMs: clock.now(), bytes: bytes.length });
    return bytes;
  });
  const { deps } = agentParts(clock, dialer, () => producer);
  const stop = new AbortController();
  const run = runBackup(deps, agentPlan({ windowBytes: 12 * MiB, ...fields }), stop.signal, () => undefined);
  await clock.advance(forMs / 2);
  // All streams break in the middle: what they would have sent meanwhile may not come as a burst.
  for (const link of server.open) link.pipe.cut();
  await clock.advance(forMs / 2);
  stop.abort();
  await clock.until(run, HOUR_MS);
  return sent.filter(({ atMs }) => atMs < forMs);
}

/** The most and the least that any window of `windowMs` carries, begun in steps of 50 ms. */
function extremes(
  sent: readonly Sent[],
  fromMs: number,
  toMs: number,
  windowMs: number,
): { most: number; least: number } {
  const perStep: number[] = Array<number>(Math.ceil(toMs / 50)).fill(0);
  for (const { atMs, bytes } of sent) perStep[Math.floor(atMs / 50)] = (perStep[Math.floor(atMs / 50)] ?? 0) + bytes;
  const sums: number[] = [];
  for (let first = fromMs / 50; first + windowMs / 50 <= toMs / 50; first += 1) {
    sums.push(perStep.slice(first, first + windowMs / 50).reduce((sum, bytes) => sum + bytes, 0));
  }
  return { most: Math.max(...sums), least: Math.min(...sums) };
}

for (const [limit, parallels, chunkBytes] of [
  [64 * KiB, 4, 64 * KiB],
  [64 * KiB, 0, 300 * KiB],
  [MiB, 4, 300 * KiB],
  [10 * MiB, 1, MiB],
] as const) {
  test(`a limit of ${limit / KiB} kB/s over ${parallels} streams holds within 3 % over any 10 s, without bursts`, async () => {
    const sent = await sentUnderLimit({ parallels, limitBytesPerSecond: limit }, chunkBytes, 40_000);
    const undisturbed = extremes(sent, 1000, 20_000, 10_000);
    expect(undisturbed.most / (10 * limit)).toBeLessThan(1.03);
    expect(undisturbed.least / (10 * limit)).toBeGreaterThan(0.97);
    expect(extremes(sent, 0, 40_000, 10_000).most / (10 * limit)).toBeLessThan(1.03);
    expect(extremes(sent, 0, 40_000, 1000).most / limit).toBeLessThan(1.3);
    expect(extremes(sent, 0, 40_000, 250).most / limit).toBeLessThan(0.6);
  });
}

for (const parallels of [4, 60]) {
  test(`a limit of 64 kB/s is shared fairly by ${parallels} streams: none falls silent, none is taken for dead`, async () => {
    const world = await ServerWorld.start();
    const producer = new MadeUpProducer(world.clock, Array<number>(80).fill(150 * KiB), 1);
    const agent = agentWorld(world, () => producer);
    const bytesOf = new Map<number, number>();
    const dialer = new TappedDialer(agent.network, (index, bytes) => {
      bytesOf.set(index, (bytesOf.get(index) ?? 0) + bytes.length);
      return bytes;
    });
    const stop = new AbortController();
    const plan = agentPlan({ parallels, limitBytesPerSecond: 64 * KiB });
    const run = runBackup({ ...agent.deps, dialer }, plan, stop.signal, () => undefined);
    await world.clock.advance(60_000);
    const streams = [...bytesOf].filter(([index]) => index > 0).map(([, bytes]) => bytes);
    expect(streams).toHaveLength(parallels);
    expect(Math.max(...streams) - Math.min(...streams)).toBeLessThan(40 * KiB);
    const result = await world.clock.until(run, HOUR_MS);
    expect(result.failure?.toString()).toBeUndefined();
    expect(result.reconnects).toBe(0);
    expect(result.resentBytes).toBe(0);
    await world.close();
  });
}
