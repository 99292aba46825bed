/**
 * Whatever the connections do to a session's chunks, in whatever order the disk carries out its calls: what is committed
 * is what was read. One run is one seed, which decides everything.
 */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "#base/errors.ts";
import { KiB, MiB } from "#base/units.ts";
import type { Random } from "#base/random.ts";
import type { ChunkWriter } from "#store/session-types.ts";
import { settle } from "#test/support/sim-clock.ts";
import {
  type Kit,
  listen,
  openKit,
  proofOf,
  request,
  seededRandom,
  SESSION_B,
  type TestChunk,
  testFile,
} from "#test/support/store-kit.ts";

interface Carrier {
  readonly chunk: TestChunk;
  readonly writer: ChunkWriter;
  sent: number;
  readonly damaged: boolean;
}

const BYTES = seededRandom(1).bytes(1 << 20);

/** As seededRandom, but its bytes cost nothing. */
function quickRandom(seed: number): Random {
  const { unit } = seededRandom(seed);
  const bytes = (length: number): Uint8Array => {
    const start = Math.floor(unit() * (BYTES.length - length));
    return BYTES.subarray(start, start + length);
  };
  return { unit, bytes };
}

/** Calls that take their time. */
const SLOW: ReadonlySet<string> = new Set(["write", "read", "create", "truncate", "syncFilesystem"]);

interface Counts {
  received: number;
  damaged: number;
  aborted: number;
  superseded: number;
}

async function run(seed: number, counts: Counts): Promise<void> {
  const random = quickRandom(seed);
  const below = (limit: number): number => Math.floor(random.unit() * limit);
  const staging =
    below(2) === 0
      ? undefined
      : {
          shardLevels: below(2) === 0 ? (1 as const) : (2 as const),
          chunkFsync: below(2) === 0,
          batchBytes: 1 + below(MiB),
        };
  const kit = await openKit({ pendingBytesMax: below(3) * 256 * KiB, staging });
  const longest = [200, 40 * KiB, 600 * KiB][below(3)] ?? 1;
  const file = testFile(
    random,
    Array.from({ length: 3 + below(12) }, () => 1 + below(longest)),
  );
  const { heard, events } = listen();
  const store = await kit.storage.createSession(request({ windowBytes: 16 << 20 }), events);
  kit.disk.hook = async ({ call }) => {
    if (!SLOW.has(call)) return;
    for (let turns = below(5); turns > 0; turns -= 1) await settle();
  };
  const missing = new Map(file.chunks.map((chunk) => [chunk.sequence, chunk]));
  const carriers: Carrier[] = [];
  const start = (chunk: TestChunk): void => {
    const { sequence, offset, bytes } = chunk;
    const placing = store.beginChunk({ file: 0, sequence, offset, storedLength: bytes.length });
    if (placing.verdict === "duplicate") {
      expect(missing.has(sequence)).toBeFalse();
      return;
    }
    carriers.push({ chunk, writer: placing.writer, sent: 0, damaged: below(6) === 0 });
  };
  const go = (carrier: Carrier): void => {
    const { chunk, writer, damaged } = carrier;
    if (below(20) === 0) {
      carriers.splice(carriers.indexOf(carrier), 1);
      writer.abort();
      counts.aborted += 1;
      return;
    }
    if (carrier.sent < chunk.bytes.length) {
      const end = Math.min(chunk.bytes.length, carrier.sent + 1 + below(longest));
      const bytes = Uint8Array.from(chunk.bytes.subarray(carrier.sent, end));
      if (damaged) bytes[0] = (bytes[0] ?? 0) ^ 1;
      writer.write(bytes);
      bytes.fill(0xee);
      carrier.sent = end;
      return;
    }
    carriers.splice(carriers.indexOf(carrier), 1);
    const { kind, digest } = chunk;
    const fate = writer.finish({ rawLength: 1, kind, digest, payloadIntact: true });
    counts[fate] += 1;
    if (fate !== "superseded") expect(fate).toBe(damaged ? "damaged" : "received");
    if (fate === "received") missing.delete(chunk.sequence);
  };
  while (missing.size > 0) {
    const chunks = [...missing.values()];
    const carrier = carriers[below(carriers.length)];
    if (carrier !== undefined && below(8) > 0) go(carrier);
    else start(chunks[below(chunks.length)] ?? chunks[0] ?? never());
    if (below(3) === 0) await settle();
    if (below(20) === 0) await kit.clock.advance(1000);
  }
  // Copies that are still arriving have all been superseded or are copies of what is here.
  for (const carrier of carriers) carrier.writer.abort();
  const answer = await patiently(
    kit,
    store.finish(proofOf(file), () => undefined),
  );
  const there = kit.disk.reboot().tree("/srv/backup").get(answer.archive);
  expect(typeof there === "object" && there.equals(file.bytes)).toBeTrue();
  expect([store.backlogBytes, heard.failed]).toEqual([0, []]);
  expect(kit.log.lines.filter((line) => line.level === "error")).toEqual([]);
  await kit.storage.close();
  expect([kit.disk.openFiles, kit.clock.pendingCount]).toEqual([0, 0]);
}

/** Waits for it while time passes and the slow disk has its turns. */
async function patiently<T>(kit: Kit, promise: Promise<T>): Promise<T> {
  let settled = false;
  const mark = (): void => {
    settled = true;
  };
  promise.then(mark, mark);
  for (let turn = 0; !settled; turn += 1) {
    if (turn > 10_000) throw new Error("it waits for ever");
    kit.clock.step();
    await settle();
  }
  return promise;
}

function never(): never {
  throw new Error("nothing is missing");
}

test("chunks that break off, arrive damaged, come twice and overtake one another become the same archive", async () => {
  const counts: Counts = { received: 0, damaged: 0, aborted: 0, superseded: 0 };
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => run(seed, counts)),
    { numRuns: 80 },
  );
  for (const [fate, count] of Object.entries(counts)) expect([fate, count > 10]).toEqual([fate, true]);
}, 30_000);

test("a session that is aborted at any moment leaves nothing, and nothing that was under way touches what follows", async () => {
  const outcomes = { committed: 0, aborted: 0 };
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), fc.nat({ max: 60 }), async (seed, turns) => {
      const random = quickRandom(seed);
      const kit = await openKit();
      const file = testFile(random, [300 * KiB, 10]);
      const store = await kit.storage.createSession(request(), listen().events);
      kit.disk.hook = async () => {
        for (let wait = Math.floor(random.unit() * 4); wait > 0; wait -= 1) await settle();
      };
      for (const { sequence, offset, bytes, digest, kind } of file.chunks) {
        const placing = store.beginChunk({ file: 0, sequence, offset, storedLength: bytes.length });
        if (placing.verdict !== "new") throw new Error("a duplicate");
        placing.writer.write(bytes);
        placing.writer.finish({ rawLength: 1, kind, digest, payloadIntact: true });
      }
      const finished = store
        .finish(proofOf(file), () => undefined)
        .then(
          () => true,
          () => false,
        );
      for (let turn = 0; turn < turns; turn += 1) {
        kit.clock.step();
        await settle();
      }
      await patiently(kit, store.abort(new Failure("E_ABORTED", "by the test")));
      const archives = await kit.storage.archives("web-01", "home");
      const committed = await finished;
      outcomes[committed ? "committed" : "aborted"] += 1;
      expect(archives).toHaveLength(committed ? 1 : 0);
      expect(kit.log.lines.filter((line) => line.level === "error")).toEqual([]);
      expect([...kit.disk.tree("/srv/backup/.nbackup/sessions").keys()]).toEqual([]);
      const next = await kit.storage.createSession(request({ session: SESSION_B }), listen().events);
      await next.abort(new Failure("E_ABORTED", "by the test"));
      await kit.storage.close();
      expect([kit.disk.openFiles, kit.clock.pendingCount, store.backlogBytes]).toEqual([0, 0, 0]);
    }),
    { numRuns: 40 },
  );
  expect(Math.min(outcomes.committed, outcomes.aborted)).toBeGreaterThan(2);
}, 30_000);
