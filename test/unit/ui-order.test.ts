import { describe, expect, test } from "bun:test";
import { nextOrder, type Order, ordered, orderOf, orderText, type Sortable } from "#ui/order.ts";

interface Row {
  readonly name: string;
  readonly bytes: number | null;
}

const ROWS: readonly Row[] = [
  { name: "web-10", bytes: 5 },
  { name: "web-2", bytes: null },
  { name: "db-1", bytes: 90 },
  { name: "web-1", bytes: 5 },
];

let asked = 0;
const COLUMNS: readonly Sortable<Row>[] = [
  { key: "name", sort: ({ name }) => name },
  {
    key: "bytes",
    largestFirst: true,
    sort: ({ bytes }) => {
      asked += 1;
      return bytes;
    },
  },
  { key: "plain" },
];

const { compare } = new Intl.Collator("en", { numeric: true });
const names = (order: Order | undefined): readonly string[] =>
  ordered(ROWS, COLUMNS, order, compare).map(({ name }) => name);

describe("the order of a table's rows", () => {
  test("is theirs until somebody chooses one, and the same array", () => {
    expect(ordered(ROWS, COLUMNS, undefined, compare)).toBe(ROWS);
  });
  test("is by a column's values, numbers in names as numbers, the unknown last in either direction, equals as they came", () => {
    expect(names({ key: "name", down: false })).toEqual(["db-1", "web-1", "web-2", "web-10"]);
    expect(names({ key: "name", down: true })).toEqual(["web-10", "web-2", "web-1", "db-1"]);
    expect(names({ key: "bytes", down: true })).toEqual(["db-1", "web-10", "web-1", "web-2"]);
    expect(names({ key: "bytes", down: false })).toEqual(["web-10", "web-1", "db-1", "web-2"]);
  });
  test("asks each row once", () => {
    asked = 0;
    names({ key: "bytes", down: true });
    expect(asked).toBe(ROWS.length);
  });
  test("stands in the URL and is read from there; of what cannot be sorted by there is none", () => {
    for (const order of [
      { key: "bytes", down: true },
      { key: "name", down: false },
    ]) {
      expect(orderOf(orderText(order), COLUMNS)).toEqual(order);
    }
    for (const text of [undefined, "", "-", "plain", "none", "-plain", "--name"])
      expect(orderOf(text, COLUMNS)).toBeUndefined();
  });
  test("begins, when a head is pressed, as people want that column; then turns, then is none again", () => {
    for (const [column, first] of [
      [COLUMNS[0], false],
      [COLUMNS[1], true],
    ] as const) {
      if (column === undefined) throw new Error("no column");
      const one = nextOrder(column, { key: "other", down: false });
      const two = nextOrder(column, one);
      expect([one?.down, two?.down, nextOrder(column, two)]).toEqual([first, !first, undefined]);
    }
  });
});
