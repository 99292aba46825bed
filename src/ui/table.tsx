/**
 * A table of any length: only the rows on the screen are in the document, all of one height. On a narrow screen a row is two lines: the
 * `main` and the `end` column above, those of `line` below, the others not shown. Sorting and filtering are done before.
 */
import type { ComponentChildren } from "preact";
import { memo } from "preact/compat";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { language } from "./i18n.ts";
import { rangeIsStale, type RowRange, rowsOnScreen } from "./shapes.ts";

export interface Column<T> {
  readonly key: string;
  readonly label: string;
  /** Track of the grid: `minmax(10rem, 2fr)`. */
  readonly width: string;
  readonly number?: boolean;
  readonly narrow: "main" | "end" | "line" | "none";
  cell(row: T): ComponentChildren;
}

interface TableProps<T> {
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  rowKey(row: T, index: number): string;
  /** More than `rows` where further pages can be loaded. */
  readonly total?: number;
  /** The last rows came near: the next page is wanted. */
  onEnd?(): void;
  readonly dense?: boolean;
}

const NARROW = matchMedia("(max-width: 760px)");
const ROW_PX = { dense: 28, plain: 38, narrow: 62 };

/** The height of a row now; the style sheet has the same numbers. */
function useRowHeight(dense: boolean): number {
  const [narrow, setNarrow] = useState(NARROW.matches);
  useEffect(() => {
    const onChange = (event: MediaQueryListEvent): void => setNarrow(event.matches);
    NARROW.addEventListener("change", onChange);
    return () => NARROW.removeEventListener("change", onChange);
  }, []);
  return narrow ? ROW_PX.narrow : dense ? ROW_PX.dense : ROW_PX.plain;
}

/** The rows to draw, followed while the page is scrolled and sized. */
function useRange(box: { readonly current: HTMLElement | null }, count: number, rowPx: number): RowRange {
  const [range, setRange] = useState<RowRange>(() => rowsOnScreen(0, innerHeight, rowPx, count));
  useLayoutEffect(() => {
    let frame = 0;
    let drawn: RowRange = { first: 0, end: -1 };
    const look = (): void => {
      frame = 0;
      if (box.current === null) return;
      const wanted = rowsOnScreen(box.current.getBoundingClientRect().top, innerHeight, rowPx, count);
      if (!rangeIsStale(drawn, wanted)) return;
      drawn = wanted;
      setRange(wanted);
    };
    const later = (): void => {
      if (frame === 0) frame = requestAnimationFrame(look);
    };
    look();
    addEventListener("scroll", later, { passive: true });
    addEventListener("resize", later);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", later);
      removeEventListener("resize", later);
    };
  }, [box, count, rowPx]);
  return range;
}

interface RowProps<T> {
  readonly row: T;
  readonly index: number;
  readonly columns: readonly Column<T>[];
  readonly template: string;
}

function PlainRow<T>({ row, index, columns, template }: RowProps<T>) {
  return (
    <div role="row" class="tr" aria-rowindex={index + 2} style={{ gridTemplateColumns: template }}>
      {columns.map((column) => (
        <div key={column.key} role="cell" class={cellClass(column)}>
          {column.cell(row)}
        </div>
      ))}
    </div>
  );
}

/** Drawn again only when its row or the columns changed; what moves inside reads its own signals. */
const Row = memo(PlainRow) as typeof PlainRow;

function cellClass<T>(column: Column<T>): string {
  return `td n-${column.narrow}${column.number === true ? " number" : ""}`;
}

export function Table<T>({ label, columns, rows, rowKey, total, onEnd, dense = false }: TableProps<T>) {
  const box = useRef<HTMLDivElement>(null);
  const rowPx = useRowHeight(dense);
  const range = useRange(box, rows.length, rowPx);
  const end = Math.min(range.end, rows.length);
  const first = Math.min(range.first, end);
  const template = columns.map((column) => column.width).join(" ");
  const atEnd = end >= rows.length && rows.length < (total ?? rows.length);
  useEffect(() => {
    if (atEnd) onEnd?.();
  }, [atEnd, rows.length]);
  return (
    <div
      role="table"
      aria-label={label}
      aria-rowcount={(total ?? rows.length) + 1}
      class={dense ? "table dense" : "table"}
      lang={language.value}
    >
      <div role="rowgroup" class="thead">
        <div role="row" class="tr" aria-rowindex={1} style={{ gridTemplateColumns: template }}>
          {columns.map((column) => (
            <div key={column.key} role="columnheader" class={cellClass(column)}>
              {column.label}
            </div>
          ))}
        </div>
      </div>
      <div
        role="rowgroup"
        class="tbody"
        ref={box}
        style={{ height: `${rows.length * rowPx}px`, paddingTop: `${first * rowPx}px` }}
      >
        {rows.slice(first, end).map((row, i) => (
          <Row
            key={rowKey(row, first + i)}
            row={row}
            index={first + i}
            columns={columns as readonly Column<unknown>[]}
            template={template}
          />
        ))}
      </div>
    </div>
  );
}
