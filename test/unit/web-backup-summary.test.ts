/** How an entry stands, as long lists tell it: small enough that a thousand of them fit into the first view of the page. */
import { expect, test } from "bun:test";
import { backupRows } from "#test/support/page-fixtures.ts";
import { backupSummary } from "#web/backup-summary.ts";
import { compressed } from "#web/compression.ts";

const NOW = Date.UTC(2026, 1, 12);

test("the trend is the sizes of the newest archives beside the largest of them", () => {
  const [row] = backupRows(1, NOW);
  if (row === undefined) throw new Error("no row");
  const trend = (...bytes: readonly number[]): readonly number[] =>
    backupSummary({ ...row, sizes: bytes.map((size, i) => ({ wallMs: i, bytes: size })) }).trend;
  expect(trend(1000, 500, 10)).toEqual([100, 50, 1]);
  expect(trend(...Array.from({ length: 60 }, (_, i) => (i < 48 ? 999 : i)))).toHaveLength(12);
  expect(trend(9_999_999, ...Array.from({ length: 12 }, () => 7))[0]).toBe(100);
  expect([trend(), trend(0, 0)]).toEqual([[], [0, 0]]);
});

test("a thousand of them are 42 kB as sent, whatever their archives' sizes are", async () => {
  const body = JSON.stringify(backupRows(1000, NOW).map(backupSummary));
  const answer = await compressed({ status: 200, headers: {}, body }, { header: () => "gzip" });
  expect(answer.body).toBeInstanceOf(Uint8Array);
  expect((answer.body as Uint8Array).length).toBeLessThan(42_000);
});
