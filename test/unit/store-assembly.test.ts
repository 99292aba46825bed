/** Staged chunks through crashes: what a power loss before any call leaves, and how the assembly goes on from it. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Random } from "#base/random.ts";
import type { FileExtent } from "#store/chunk-placement.ts";
import { ASSEMBLY_SPACE_BYTES, BATCH_BYTES } from "#store/assembly.ts";
import { shardOf, stagedName } from "#store/staging.ts";
import { type Resumed, resume, type Staging, STAGINGS } from "#test/support/lazy-kit.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { settle } from "#test/support/sim-clock.ts";
import {
  listen,
  openKit,
  request,
  seededRandom,
  send,
  SESSION_A,
  shuffled,
  type TestFile,
  testFile,
} from "#test/support/store-kit.ts";

const DIRECTORY = `/srv/backup/.nbackup/sessions/${SESSION_A}`;
const BATCH = 9000;
const quiet = { check: () => undefined, progress: () => undefined };

/** An archive and its index. */
type Files = readonly [TestFile, TestFile];

const FEW: Files = [
  testFile(seededRandom(21), [7000, 1, 3000, 8000, 2000, 6000, 500, 4000]),
  testFile(seededRandom(22), [5000, 3000, 5000], 1),
];
const MANY: Files = [
  testFile(
    seededRandom(23),
    Array.from({ length: 90 }, (_, number) => 1 + ((number * 977) % 2400)),
  ),
  FEW[1],
];

function totalOf(files: Files): number {
  return files[0].bytes.length + files[1].bytes.length;
}

function extentsOf(files: Files): FileExtent[] {
  return files.map(({ chunks, bytes }) => ({ chunks: chunks.length, bytes: bytes.length }));
}

/** Sends everything into a new session on the disk; what was acknowledged stands in the result, also after a crash. */
async function receive(
  disk: MemoryDisk,
  staging: Staging,
  files: Files,
  acknowledged: [number, number] = [0, 0],
): Promise<void> {
  const kit = await openKit({ disk, staging });
  const { heard, events } = listen();
  const store = await kit.storage.createSession(request(), {
    ...events,
    durable: () => {
      for (const { file, durableChunks } of store.acknowledgement(0)) acknowledged[file] = durableChunks;
    },
  });
  for (const chunk of shuffled([...files[0].chunks, ...files[1].chunks], seededRandom(3))) {
    send(store, chunk);
    if (chunk.sequence % 3 === 0) store.push();
    await settle();
  }
  store.push();
  await settle();
  expect(heard.failed).toEqual([]);
}

/** A disk that crashes before its call number `call`, counted from now; `crashed` resolves then. */
function crashBefore(disk: MemoryDisk, call: number): Promise<"crashed"> {
  const { promise, resolve } = Promise.withResolvers<"crashed">();
  const first = disk.calls;
  disk.hook = ({ index: number }) => {
    if (number < first + call) return;
    disk.crash();
    resolve("crashed");
  };
  return promise;
}

function survivors(seed: number): Random | undefined {
  return seed === 0 ? undefined : seededRandom(seed);
}

/** Every chunk that the journal names reads as it was sent. */
async function expectWhole({ placement, chunks }: Resumed, files: Files): Promise<void> {
  for (const chunk of chunks) {
    const sent = files[chunk.file].chunks[chunk.sequence];
    const into = Buffer.alloc(chunk.storedLength + 1);
    const got = await placement.read(chunk, into.subarray(0, chunk.storedLength), chunk.offset);
    expect([chunk.file, chunk.sequence, await placement.holds(chunk), got]).toEqual([
      ...[chunk.file, chunk.sequence, true, chunk.storedLength],
    ]);
    expect(into.subarray(0, got).equals(sent?.bytes ?? Buffer.alloc(0))).toBeTrue();
  }
}

function staged(disk: MemoryDisk): string[] {
  const paths = [...disk.tree(DIRECTORY).keys()];
  return paths.filter((path) => path.startsWith("chunks/") && !path.endsWith("/"));
}

test("a power loss before any call while chunks arrive loses none that was acknowledged", async () => {
  let [crashes, resumed] = [0, 0];
  for (const base of STAGINGS) {
    const staging = { ...base, batchBytes: BATCH };
    for (const seed of [0, 100]) {
      for (let call = 0; ; call += 1) {
        const disk = new MemoryDisk();
        const acknowledged: [number, number] = [0, 0];
        const crash = crashBefore(disk, call);
        const ended = await Promise.race([crash, receive(disk, staging, FEW, acknowledged)]);
        await settle();
        if (ended !== "crashed") break;
        crashes += 1;
        const after = disk.reboot(survivors(seed === 0 ? 0 : seed + call));
        const session = await resume(after, staging);
        if (session === undefined) {
          expect(acknowledged).toEqual([0, 0]);
          continue;
        }
        resumed += 1;
        await expectWhole(session, FEW);
        for (const file of [0, 1] as const) {
          const numbers = new Set(session.chunks.filter((chunk) => chunk.file === file).map((chunk) => chunk.sequence));
          for (let sequence = 0; sequence < acknowledged[file]; sequence += 1) expect(numbers.has(sequence)).toBeTrue();
        }
        await session.close();
        expect(after.openFiles).toBe(0);
      }
    }
  }
  expect(crashes).toBeGreaterThan(500);
  expect(resumed).toBeGreaterThan(400);
}, 60_000);

interface Ready {
  readonly disk: MemoryDisk;
  readonly staging: Staging;
  readonly files: Files;
}

/** A session of which everything is durable, on a disk that just started. */
async function ready(base: Staging, files = FEW): Promise<Ready> {
  const staging = { ...base, batchBytes: BATCH };
  const disk = new MemoryDisk();
  await receive(disk, staging, files);
  return { disk: disk.reboot(), staging, files };
}

/** Assembles what is on the disk, crashing before call number `call`; the disk that the crash leaves, or undefined. */
async function crashedAssembly(ready: Ready, call: number, seed: number): Promise<MemoryDisk | undefined> {
  const { disk, staging, files } = ready;
  const session = await resume(disk, staging);
  if (session === undefined) throw new Error("the session is gone");
  const crash = crashBefore(disk, call);
  const ended = await Promise.race([crash, session.placement.assemble(extentsOf(files), quiet)]);
  await settle();
  return ended === "crashed" ? disk.reboot(survivors(seed)) : undefined;
}

/** Takes the session up and assembles it to the end; the most bytes that lay on the disk meanwhile. */
async function assembleToTheEnd({ disk, staging, files }: Ready): Promise<number> {
  const session = await resume(disk, staging);
  if (session === undefined) throw new Error("the session is gone");
  expect(session.chunks).toHaveLength(files[0].chunks.length + files[1].chunks.length);
  await expectWhole(session, files);
  let most = 0;
  disk.hook = () => {
    most = Math.max(most, disk.usedBytes);
  };
  await session.placement.assemble(extentsOf(files), quiet);
  const tree = disk.reboot().tree(DIRECTORY);
  expect(tree.get("archive.part")).toEqual(files[0].bytes);
  expect(tree.get("index.part")).toEqual(files[1].bytes);
  expect(staged(disk)).toEqual([]);
  await expectWhole(session, files);
  await session.close();
  expect(disk.openFiles).toBe(0);
  return most;
}

test("a power loss before any call of the assembly loses nothing, and it goes on where it was", async () => {
  let crashes = 0;
  for (const base of STAGINGS) {
    const first = await ready(base);
    for (const seed of [0, 1, 2, 3]) {
      for (let call = 0; ; call += 1) {
        const start = { ...first, disk: first.disk.reboot() };
        const after = await crashedAssembly(start, call, seed === 0 ? 0 : seed * 1000 + call);
        if (after === undefined) break;
        crashes += 1;
        await assembleToTheEnd({ ...first, disk: after });
      }
    }
  }
  expect(crashes).toBeGreaterThan(800);
}, 60_000);

test("however often it crashes, it needs no more room than the limit says, and less when it does not", async () => {
  // Scaled down: the limit is to a batch here what it is to one in truth, and chunks are as long beside it.
  const limitBytes = (BATCH * ASSEMBLY_SPACE_BYTES) / BATCH_BYTES;
  expect(BATCH_BYTES).toBeLessThan(ASSEMBLY_SPACE_BYTES / 5);
  expect(totalOf(MANY)).toBeGreaterThan(2 * limitBytes);
  for (const base of STAGINGS) {
    const first = await ready(base, MANY);
    const journalBytes = (await first.disk.lstat(`${DIRECTORY}/journal`)).size + 40 * 28;
    const roomOf = (most: number): number => most - totalOf(MANY) - journalBytes;
    const undisturbed = await assembleToTheEnd({ ...first, disk: first.disk.reboot() });
    expect(roomOf(undisturbed)).toBeLessThanOrEqual(limitBytes * 0.8);
    for (let seed = 1; seed <= 25; seed += 1) {
      const random = seededRandom(seed);
      let disk = first.disk.reboot();
      for (let crash = 0; crash < 12; crash += 1) {
        const call = Math.floor(random.unit() * 90);
        const after = await crashedAssembly({ ...first, disk }, call, seed * 100 + crash);
        if (after === undefined) break;
        // What a crash brought back counts as well.
        expect(roomOf(Math.max(disk.usedBytes, after.usedBytes))).toBeLessThanOrEqual(limitBytes);
        disk = after;
      }
      expect(roomOf(await assembleToTheEnd({ ...first, disk: disk.reboot() }))).toBeLessThanOrEqual(limitBytes);
    }
  }
}, 60_000);

test("an assembly that was done is not done again", async () => {
  for (const base of STAGINGS) {
    const first = await ready(base);
    const { disk, staging } = first;
    await assembleToTheEnd(first);
    const session = await resume(disk, staging);
    const writes: string[] = [];
    disk.hook = ({ call }) => {
      if (call === "write" || call === "unlink") writes.push(call);
    };
    await session?.placement.assemble(extentsOf(FEW), quiet);
    // The files of the last batch may still lie there as far as the journal knows.
    expect(writes.filter((call) => call === "write")).toEqual([]);
    expect(session?.counters).toEqual({ stagedChunks: 0, assembledBytes: 0 });
    await session?.close();
  }
});

test("no two chunks share a staged file, 256 that follow one another share a directory, and of those there are few", () => {
  const sequence = fc.integer({ min: 0, max: 0xffff_ffff });
  const levels = fc.constantFrom(1 as const, 2 as const);
  fc.assert(
    fc.property(levels, sequence, sequence, fc.constantFrom(0 as const, 1 as const), (count, a, b, file) => {
      const pathOf = (number: number): string => `${shardOf(count, number)}/${stagedName(file, number)}`;
      expect(pathOf(a) === pathOf(b)).toBe(a === b);
      expect(`${shardOf(count, a)}/${stagedName(0, a)}`).not.toBe(`${shardOf(count, a)}/${stagedName(1, a)}`);
      expect(shardOf(count, a)).toMatch(count === 1 ? /^chunks\/[0-9a-f]{2}$/ : /^chunks\/[0-9a-f]{2}\/[0-9a-f]{2}$/);
      expect(stagedName(file, a)).toMatch(/^[01]-[0-9a-f]{8}$/);
      expect(shardOf(count, a)).toBe(shardOf(count, (a & ~0xff) >>> 0));
      expect(Number.parseInt(stagedName(file, a).slice(2), 16)).toBe(a);
    }),
  );
  const all = (count: 1 | 2): number =>
    new Set(Array.from({ length: 1 << 18 }, (_, n) => shardOf(count, n * 256))).size;
  expect([all(1), all(2)]).toEqual([256, 65_536]);
});
