/** What the page may look at in archives: searches, and how long they may take. */
import { describe, expect, test } from "bun:test";
import { Failure } from "#base/errors.ts";
import { ArchiveDesk, type ArchivePlace } from "#server/archive-desk.ts";
import { LentArchive } from "#server/lent-archive.ts";
import { buildIndex, plainEntries } from "#test/support/index-kit.ts";
import { SimClock } from "#test/support/sim-clock.ts";

const PLACE: ArchivePlace = {
  storage: "main",
  agent: "web-1",
  backup: "home",
  archive: "2026-01-01T00-00-00-000Z.tar.gz",
};
const INDEX = buildIndex(plainEntries(Array.from({ length: 20_000 }, (_, n) => `etc/f${String(n).padStart(6, "0")}`)));

/** Each read of an index takes so long; `left`: archives that were not given back. */
function deskOf(clock: SimClock, readMs: number): { desk: ArchiveDesk; left: () => number } {
  let left = 0;
  const openOf = (): Promise<LentArchive> => {
    const close = (): Promise<void> => {
      left -= 1;
      return Promise.resolve();
    };
    left += 1;
    const index = {
      size: INDEX.length,
      close,
      async read(into: Uint8Array, offset: number): Promise<number> {
        await clock.advance(readMs);
        into.set(INDEX.subarray(offset, offset + into.length));
        return Math.min(into.length, INDEX.length - offset);
      },
    };
    const lent = { storage: "main", name: "web-1/home/a", archive: undefined, index, close };
    return Promise.resolve(new LentArchive({ ...lent, inTurn: (work) => work() }));
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
