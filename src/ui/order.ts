/** The order of a table's rows by one of its columns, as its URL says it: `size`, or `-size` from the largest down. Pure. */

/** Null, which is not known, comes last in either direction. */
export type SortValue = string | number | null;

export interface Sortable<T> {
  readonly key: string;
  /** What rows are compared by. Without it nobody can sort by this column. */
  sort?(row: T): SortValue;
  /** The largest first is what people want to see of it first. */
  readonly largestFirst?: boolean;
}

export interface Order {
  readonly key: string;
  readonly down: boolean;
}

/** Undefined: none, or of no column that can be sorted by. */
export function orderOf(text: string | undefined, columns: readonly Sortable<never>[]): Order | undefined {
  const [, minus, key] = /^(-?)(.+)$/.exec(text ?? "") ?? [];
  const isKnown = columns.some((column) => column.key === key && column.sort !== undefined);
  return key === undefined || !isKnown ? undefined : { key, down: minus === "-" };
}

export function orderText({ key, down }: Order): string {
  return `${down ? "-" : ""}${key}`;
}

/** What pressing a column's head leads to: its own first direction, the other one, and none again. */
export function nextOrder({ key, largestFirst = false }: Sortable<never>, now: Order | undefined): Order | undefined {
  if (now?.key !== key) return { key, down: largestFirst };
  return now.down === largestFirst ? { key, down: !largestFirst } : undefined;
}

/** Each value is asked for once. Rows that are equal stay in the order that they had. */
export function ordered<T>(
  rows: readonly T[],
  columns: readonly Sortable<T>[],
  order: Order | undefined,
  compareTexts: (a: string, b: string) => number,
): readonly T[] {
  const column = columns.find(({ key }) => key === order?.key);
  if (order === undefined || column?.sort === undefined) return rows;
  const sign = order.down ? -1 : 1;
  const pairs = rows.map((row) => ({ row, value: column.sort?.(row) ?? null }));
  pairs.sort(({ value: a }, { value: b }) => {
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * compareTexts(String(a), String(b));
  });
  return pairs.map(({ row }) => row);
}
