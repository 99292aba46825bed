/** The table of hard links: what it forgets, what it refuses, and that it stays small. */
import { describe, expect, test } from "bun:test";
import { LinkTable } from "#archive/links.ts";
import type { Stat } from "#archive/source.ts";
import { MiB } from "#base/units.ts";
import { MemorySource } from "#test/support/memory-source.ts";

const base = new MemorySource().file("/x", "").stat;

function stat(ino: number | string, nlink = 2, more: Partial<Stat> = {}): Stat {
  return { ...base, ino: String(ino), nlink, ...more };
}

function name(table: LinkTable, of: Stat): string | undefined {
  const found = table.take(of);
  return found === undefined ? undefined : Buffer.from(found).toString();
}

describe("the table of hard links", () => {
  test("gives the first name for each further one, and forgets the inode with its last", () => {
    const table = new LinkTable();
    expect(name(table, stat(1, 3))).toBeUndefined();
    expect(table.add(stat(1, 3), Buffer.from("srv/a"))).toBe(true);
    expect(name(table, stat(1, 3))).toBe("srv/a");
    expect(table.size).toBe(1);
    expect(name(table, stat(1, 3))).toBe("srv/a");
    expect(table.size).toBe(0);
    expect(name(table, stat(1, 3))).toBeUndefined();
  });
  test("tells devices apart, and inode numbers beyond 2^53", () => {
    const table = new LinkTable();
    table.add(stat("18446744073709551615"), Buffer.from("a"));
    table.add(stat("18446744073709551614"), Buffer.from("b/b"));
    table.add(stat("18446744073709551615", 2, { dev: "9" }), Buffer.from("c"));
    expect(name(table, stat("18446744073709551615", 2, { dev: "9" }))).toBe("c");
    expect(name(table, stat("18446744073709551614"))).toBe("b/b");
    expect(name(table, stat("18446744073709551615"))).toBe("a");
  });
  test("does not link to an inode whose size or time is another", () => {
    const changes: Partial<Stat>[] = [{ size: 1 }, { size: 2 ** 32 }, { mtimeSeconds: 1 }, { mtimeNanos: 1 }];
    for (const change of changes) {
      const table = new LinkTable();
      table.add(stat(1), Buffer.from("a"));
      expect(name(table, stat(1, 2, change))).toBeUndefined();
      expect(table.size).toBe(0);
    }
  });
  test("gives the right name for each of 20,000 inodes in any order", () => {
    const table = new LinkTable();
    const path = (i: number): string => `home/d${Math.floor(i / 7)}/f${i}`;
    for (let i = 0; i < 20_000; i += 1) expect(table.add(stat(i * 4096), Buffer.from(path(i)))).toBe(true);
    for (let i = 0; i < 20_000; i += 1) {
      const j = (i * 7919) % 20_000;
      expect(name(table, stat(j * 4096))).toBe(path(j));
    }
    expect(table.size).toBe(0);
  });
  test("uses the room of what it forgot again", () => {
    const table = new LinkTable({ inodesMax: 2000, namesBytesMax: 128 * 1024 });
    for (let round = 0; round < 50; round += 1) {
      for (let i = 0; i < 1000; i += 1)
        expect(table.add(stat(i), Buffer.from(`d${round}/${"n".repeat(50)}${i}`))).toBe(true);
      // One in a hundred stays for good.
      for (let i = 0; i < 1000; i += 1) if (i % 100 !== 0 || round > 0) table.take(stat(i));
      if (round === 0) expect(table.size).toBe(10);
    }
  });
  test("grows for long names that are alive among short ones that are forgotten", () => {
    const table = new LinkTable();
    for (let i = 0; i < 20; i += 1) table.add(stat(i), Buffer.from(`s/${i}`));
    const long = (i: number): Buffer => Buffer.from(`${String(i).padStart(3, "0")}/${"n".repeat(4000)}`);
    for (let i = 100; i < 115; i += 1) expect(table.add(stat(i), long(i))).toBe(true);
    for (let i = 0; i < 20; i += 1) expect(name(table, stat(i))).toBe(`s/${i}`);
    for (let i = 115; i < 130; i += 1) expect(table.add(stat(i), long(i))).toBe(true);
    for (let i = 100; i < 130; i += 1) expect(name(table, stat(i))).toBe(long(i).toString());
  });
  test("refuses more than its limits, without slowing down, and takes again when there is room", () => {
    const table = new LinkTable({ inodesMax: 100, namesBytesMax: MiB });
    for (let i = 0; i < 100; i += 1) expect(table.add(stat(i), Buffer.from(`a/${i}`))).toBe(true);
    expect(table.add(stat(1000), Buffer.from("b"))).toBe(false);
    expect(name(table, stat(5))).toBe("a/5");
    expect(table.add(stat(1000), Buffer.from("b"))).toBe(true);
    const narrow = new LinkTable({ inodesMax: 1e6, namesBytesMax: 64 * 1024 });
    let taken = 0;
    while (taken < 1e5 && narrow.add(stat(taken), Buffer.from(`${"n".repeat(100)}${taken}`))) taken += 1;
    expect(taken).toBeGreaterThan(500);
    expect(taken).toBeLessThan(700);
    for (let i = 0; i < 1e5; i += 1) expect(narrow.add(stat(1e6 + i), Buffer.from("n".repeat(200)))).toBe(false);
    expect(name(narrow, stat(7))).toBe(`${"n".repeat(100)}7`);
  });
});
