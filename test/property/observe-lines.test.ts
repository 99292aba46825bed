/** The file of lines against a model: whatever fails or crashes, at most what was not acknowledged is missing. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { LinesFile } from "#observe/lines-file.ts";
import { MemoryDisk } from "#test/support/memory-disk.ts";
import { diskError } from "#test/support/memory-file.ts";
import { settle } from "#test/support/sim-clock.ts";
import { seededRandom } from "#test/support/store-kit.ts";

const PATH = "/state/events.jsonl";

/** Lines of one append: their ids follow from the order, their lengths from here. */
type Batch = readonly number[];

interface Case {
  readonly linesMax: number;
  readonly batches: readonly Batch[];
}

const cases: fc.Arbitrary<Case> = fc.record({
  linesMax: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 5, max: 40 })),
  batches: fc.array(fc.array(fc.oneof(fc.nat(30), fc.nat(3000)), { minLength: 1, maxLength: 12 }), { maxLength: 25 }),
});

function textOf(id: number, length: number): string {
  return `${id}:${"x".repeat(length)}`;
}

/** What the file holds after each append, and the lines of each. */
class Model {
  readonly linesMax: number;
  lines: string[] = [];
  #nextId = 0;

  constructor(linesMax: number) {
    this.linesMax = linesMax;
  }

  make(batch: Batch): string[] {
    return batch.map((length) => {
      this.#nextId += 1;
      return textOf(this.#nextId, length);
    });
  }

  after(added: readonly string[]): string[] {
    const all = [...this.lines, ...added];
    if (all.length <= this.linesMax) return all;
    const newest = added.slice(-this.linesMax);
    const room = Math.max(0, this.linesMax - Math.floor(this.linesMax / 10) - newest.length);
    return [...(room === 0 ? [] : this.lines.slice(-room)), ...newest];
  }
}

async function open(disk: MemoryDisk, linesMax: number): Promise<{ file: LinesFile; lines: string[] }> {
  const lines: string[] = [];
  const file = await LinesFile.open({ disk, path: PATH, linesMax }, (line) => lines.push(line));
  return { file, lines };
}

async function stateDirectory(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  await disk.mkdir("/state", 0o700);
  await disk.syncDirectory("/");
  return disk;
}

const bytesOf = (lines: readonly string[]): Buffer[] => lines.map((line) => Buffer.from(`${line}\n`));

/** True when `part` is in `whole` in the same order. */
function inOrder(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const line of whole) if (line === part[at]) at += 1;
  return at === part.length;
}

test("the file has what the model has after every append, never more lines than allowed, and the same when opened again", async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ linesMax, batches }) => {
      const disk = await stateDirectory();
      const model = new Model(linesMax);
      let { file } = await open(disk, linesMax);
      for (const [index, batch] of batches.entries()) {
        const added = model.make(batch);
        model.lines = model.after(added);
        await file.append(bytesOf(added));
        expect(file.lineCount).toBe(model.lines.length);
        expect(file.lineCount).toBeLessThanOrEqual(linesMax);
        if (index % 5 !== 4) continue;
        await file.close();
        const again = await open(disk, linesMax);
        file = again.file;
        expect(again.lines).toEqual(model.lines);
      }
      await file.close();
      expect(disk.openFiles).toBe(0);
      expect([...disk.tree("/state").keys()]).toEqual(["events.jsonl"]);
    }),
    { numRuns: 150 },
  );
});

test("a crash at any call loses at most the lines of the append that was under way", async () => {
  let crashes = 0;
  await fc.assert(
    fc.asyncProperty(cases, fc.nat(400), fc.nat(), async ({ linesMax, batches }, crashAt, seed) => {
      const disk = await stateDirectory();
      const model = new Model(linesMax);
      const first = disk.calls;
      disk.hook = ({ index }) => {
        if (index - first === crashAt % Math.max(1, batches.length * 6)) disk.crash();
      };
      let crashed = true;
      let pending: string[] = [];
      const run = (async (): Promise<void> => {
        const { file } = await open(disk, linesMax);
        for (const batch of batches) {
          pending = model.make(batch);
          await file.append(bytesOf(pending));
          model.lines = model.after(pending);
          pending = [];
        }
        crashed = false;
      })();
      // A crashed disk never answers: what has not come to its end by itself is over.
      await Promise.race([run, quiet(disk)]);
      if (crashed) crashes += 1;
      const next = disk.reboot(seed % 3 === 0 ? undefined : seededRandom(seed));
      const { file, lines } = await open(next, linesMax);
      const written = lines.filter((line) => /^\d+:x*$/.test(line));
      const replaced = model.after(pending);
      const kept = written.slice(0, model.lines.length);
      const appended = kept.join() === model.lines.join() && inOrder(written.slice(model.lines.length), pending);
      expect({ written, ok: appended || written.join() === replaced.join() }).toEqual({ written, ok: true });
      // It goes on from there.
      await file.append(bytesOf(["0:"]));
      await file.close();
      expect((await open(next, linesMax)).lines.at(-1)).toBe("0:");
    }),
    { numRuns: 400 },
  );
  expect(crashes).toBeGreaterThan(100);
});

test("an append that fails changes nothing, and can be done again or be given up", async () => {
  let failures = 0;
  await fc.assert(
    fc.asyncProperty(cases, fc.nat(), async ({ linesMax, batches }, seed) => {
      const random = seededRandom(seed);
      const disk = await stateDirectory();
      const model = new Model(linesMax);
      const { file } = await open(disk, linesMax);
      disk.hook = ({ call }) => {
        // A close that fails is a bug of the caller on a real disk, and reported as such.
        if (call !== "close" && random.unit() < 0.1) throw diskError(random.unit() < 0.5 ? "ENOSPC" : "EIO");
      };
      for (const batch of batches) {
        const added = model.make(batch);
        for (;;) {
          try {
            await file.append(bytesOf(added));
            model.lines = model.after(added);
            break;
          } catch {
            failures += 1;
            expect(file.lineCount).toBe(model.lines.length);
            if (random.unit() < 0.5) break;
          }
        }
      }
      disk.hook = () => undefined;
      // Also drops what a batch that was given up has left behind.
      await file.append(bytesOf(["0:"]));
      model.lines = model.after(["0:"]);
      await file.close();
      expect((await open(disk, linesMax)).lines).toEqual(model.lines);
    }),
    { numRuns: 150 },
  );
  expect(failures).toBeGreaterThan(50);
});

test("whatever stands in the file, opening it never fails and appending to it leaves whole lines", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
      const disk = await stateDirectory();
      disk.plant(PATH, bytes);
      const { file } = await open(disk, 50_000);
      await file.append(bytesOf(["1:xxx"]));
      await file.close();
      expect((await open(disk, 50_000)).lines.at(-1)).toBe("1:xxx");
    }),
    { numRuns: 200 },
  );
});

/** Resolves when the disk has crashed and nothing happens any more. */
async function quiet(disk: MemoryDisk): Promise<void> {
  for (let still = 0, calls = -1; still < 3;) {
    await settle();
    still = disk.calls === calls ? still + 1 : 0;
    calls = disk.calls;
  }
}
