/** What the page may look at in archives: searches, and how long they may take. */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { KiB } from "#base/units.ts";
import { ArchiveDesk, type ArchivePlace } from "#server/archive-desk.ts";
import { LentArchive } from "#server/lent-archive.ts";
import { buildIndex, indexTree, plainEntries } from "#test/support/index-kit.ts";
import { MemorySource } from "#test/support/memory-source.ts";
import { MemoryAccess } from "#test/support/restore-run.ts";
import { SimClock } from "#test/support/sim-clock.ts";
import { patternBytes } from "#test/support/tree.ts";

const PLACE: ArchivePlace = {
  storage: "main",
  agent: "web-1",
  backup: "home",
  archive: "2026-01-01T00-00-00-000Z.tar.gz",
};
const INDEX = buildIndex(plainEntries(Array.from({ length: 20_000 }, (_, n) => `etc/f${String(n).padStart(6, "0")}`)));

const NO_BYTES = new Uint8Array(0);

/** Each read of a file takes so long; `left`: archives that were not given back. */
function deskOf(
  clock: SimClock,
  readMs: number,
  { index: bytes = INDEX, archive = NO_BYTES }: { index?: Uint8Array; archive?: Uint8Array } = {},
): { desk: ArchiveDesk; left: () => number } {
  let left = 0;
  const openOf = (): Promise<LentArchive> => {
    const close = (): Promise<void> => {
      left -= 1;
      return Promise.resolve();
    };
    left += 1;
    const inTurn = async <T>(work: () => Promise<T>): Promise<T> => {
      await clock.advance(readMs);
      return await work();
    };
    const lent = { storage: "main", name: "web-1/home/a", close, inTurn };
    return Promise.resolve(
      new LentArchive({ ...lent, archive: new MemoryAccess(archive), index: new MemoryAccess(bytes) }),
    );
  };
  const desk = new ArchiveDesk({ library: { openOf }, clock, searchMsMax: () => 12_000 });
  return { desk, left: () => left };
}

describe("a directory on the page", () => {
  test("has its entries, and what is none of the archive's is not an empty one", async () => {
    const { desk, left } = deskOf(new SimClock(), 1);
    const look = async (path: string): Promise<string> => {
      const key = Buffer.from(path).toString("base64url");
      return await desk.directory(PLACE, key, { limit: 2, after: null }).then(
        ({ rows }) => rows.map(({ name }) => name).join(" "),
        (error: unknown) => String(error),
      );
    };
    expect(await look("etc")).toBe("f000000 f000001");
    expect(await look("etc/f000007")).toBe("E_PATH_UNKNOWN: etc/f000007 is no directory of the archive");
    expect(await look("home")).toBe("E_PATH_UNKNOWN: home is no directory of the archive");
    expect(left()).toBe(0);
  });
});

describe("an index on the page", () => {
  const source = new MemorySource();
  source.file("/s/file", patternBytes(300_000));
  const made = indexTree(source, ["/s"], { chunkBytes: 64 * KiB });

  async function look(
    archive: Uint8Array,
  ): Promise<readonly [tree: string, found: number, failures: readonly string[]]> {
    const { desk, left } = deskOf(new SimClock(), 1, { index: made.bytes, archive });
    const page = { limit: 2, after: null };
    const tree = await desk.directory(PLACE, null, page).then(
      ({ rows }) => rows.map(({ name }) => name).join(" "),
      (error: unknown) => String(error),
    );
    const { rows, failures } = await desk.find([PLACE], "file", page);
    expect(left()).toBe(0);
    return [tree, rows.length, failures];
  }

  test("is believed where it is of the archive, also of one that ends too early", async () => {
    expect(await look(made.stored)).toEqual(["s", 1, []]);
    expect(await look(made.stored.subarray(0, -1_000))).toEqual(["s", 1, []]);
  });

  test("of another archive is told as one that is damaged", async () => {
    const { length } = made.stored;
    const why = (size: number): string =>
      `the index is of an archive of ${length} bytes, this one has ${size}: it is another archive's`;
    for (const archive of [new Uint8Array(length + 1), new Uint8Array(length - 1)]) {
      const text = why(archive.length);
      expect(await look(archive)).toEqual([`E_INDEX_DAMAGED: ${text}`, 0, [`${PLACE.archive}: ${text}`]]);
    }
  });
});

describe("a search of the page", () => {
  test("finds what there is", async () => {
    const { desk, left } = deskOf(new SimClock(), 1);
    const found = await desk.find([PLACE], "*19999", { limit: 10, after: null });
    expect([found.archiveCount, found.failures, left()]).toEqual([1, [], 0]);
    expect(JSON.stringify(found)).toContain("etc/f019999");
  });

  test("comes page by page, each file once, in the order of paths", async () => {
    const { desk, left } = deskOf(new SimClock(), 1);
    const paths: string[] = [];
    for (let after: string | null = null, pages = 0; pages < 5; pages += 1) {
      const { rows, next }: Awaited<ReturnType<typeof desk.find>> = await desk.find([PLACE], "f00000[0-4]", {
        ...{ limit: 2, after },
      });
      paths.push(...rows.map(({ path }) => path));
      if (next === null) break;
      after = next;
    }
    expect(paths).toEqual([0, 1, 2, 3, 4].map((n) => `etc/f00000${n}`));
    expect(left()).toBe(0);
  });

  test("is given up when nobody would get its answer, and says what to do instead", async () => {
    const clock = new SimClock();
    const { desk, left } = deskOf(clock, 3_000);
    const failure = await desk
      .find([PLACE, PLACE], "*nothing*", { limit: 10, after: null })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Failure);
    expect(failure).toMatchObject({ code: "E_LIMIT", hint: expect.stringContaining("nbackup-server find") });
    expect([clock.now() <= 15_000, left()]).toEqual([true, 0]);
  });
});
