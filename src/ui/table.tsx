/**
 * A table of any length: only the rows on the screen are in the document, all of one height. Columns that do not fit go, the least needed
 * first; on a narrow screen a row is two or three lines. Filtering and sorting are done before; the heads only say by what (sorting.tsx).
 */
import type { ComponentChildren } from "preact";
import { memo } from "preact/compat";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { UNKNOWN } from "./format.ts";
import { language } from "./i18n.ts";
import type { Sortable } from "./order.ts";
import { columnsThatFit, rangeIsStale, type RowRange, rowsOnScreen } from "./shapes.ts";
import { ariaSort, Head, SortChoice, type Sorting } from "./sorting.tsx";

export interface Column<T> extends Sortable<T> {
  readonly label: string;
  /** Track of the grid, which begins with what it needs at least: `minmax(10rem, 2fr)`, `5rem`. */
  readonly width: string;
  readonly number?: boolean;
  /** Which goes first where there is no room for all: the highest. Without it a column stays. */
  readonly drop?: number;
  /** Its place on a narrow screen; `none` is not shown there. */
  readonly narrow: "main" | "end" | "line" | "line2" | "none";
  /** Only there: on a wide screen another column says it. */
  readonly narrowOnly?: boolean;
  /** The label stands before the value where there is no head: of numbers that do not say what they are. */
  readonly named?: boolean;
  cell(row: T): ComponentChildren;
  /** Whether a line has it: what is not known is a dash in a column, and not there in a line. */
  known?(row: T): boolean;
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
  /** What is shown is being replaced. */
  readonly busy?: boolean;
  /** Rows can be sorted by columns, for all of them are there. */
  readonly sorting?: Sorting | undefined;
}

/** A table less wide than this has rows of lines instead of columns; of the style sheet's numbers those of heights and gaps. */
const NARROW_PX = 680;
const ROW_PX = { dense: 28, plain: 38, lines: 62, moreLines: 84 };
const GAP_PX = 14;
const SIDES_PX = 32;

/** How wide an element is, while it is there. */
function useWidth(box: { readonly current: HTMLElement | null }): number | undefined {
  const [width, setWidth] = useState<number | undefined>(undefined);
  useLayoutEffect(() => {
    if (box.current === null) return undefined;
    setWidth(box.current.clientWidth);
    const sized = new ResizeObserver(([entry]) => {
      if (entry !== undefined) setWidth(Math.round(entry.contentRect.width));
    });
    sized.observe(box.current);
    return () => sized.disconnect();
  }, [box]);
  return width;
}

/** The rows to draw, followed while the page is scrolled, sized, or grows and shrinks above the table. */
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
    const moved = new ResizeObserver(later);
    moved.observe(document.body);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", later);
      removeEventListener("resize", later);
      moved.disconnect();
    };
  }, [box, count, rowPx]);
  return range;
}

interface RowProps<T> {
  readonly row: T;
  readonly index: number;
  readonly columns: readonly Column<T>[];
  /** Null: in lines. */
  readonly template: string | null;
}

function Cell<T>({ column, row, lines }: { column: Column<T>; row: T; lines: boolean }) {
  if (lines && column.known?.(row) === false) return null;
  const content = column.cell(row);
  if (lines && (content === null || content === "" || content === UNKNOWN)) return null;
  return (
    <div role="cell" class={cellClass(column)}>
      {lines && column.named === true ? <span class="muted">{column.label} </span> : null}
      {content}
    </div>
  );
}

const LINES = [["main", "end"], ["line"], ["line2"]] as const;

function PlainRow<T>({ row, index, columns, template }: RowProps<T>) {
  if (template !== null) {
    return (
      <div role="row" class="tr" aria-rowindex={index + 2} style={{ gridTemplateColumns: template }}>
        {columns.map((column) => (
          <Cell key={column.key} column={column} row={row} lines={false} />
        ))}
      </div>
    );
  }
  return (
    <div role="row" class="tr lines" aria-rowindex={index + 2}>
      {LINES.map((places) => {
        const cells = places.flatMap((place) => columns.filter((column) => column.narrow === place));
        return cells.length === 0 ? null : (
          <div key={places[0]} class={`cells ${places[0]}`}>
            {cells.map((column) => (
              <Cell key={column.key} column={column} row={row} lines />
            ))}
          </div>
        );
      })}
    </div>
  );
}

/** Drawn again only when its row or the columns changed; what moves inside reads its own signals. */
const Row = memo(PlainRow) as typeof PlainRow;

function cellClass<T>(column: Column<T>): string {
  return `td n-${column.narrow}${column.number === true ? " number" : ""}`;
}

/** The columns of a table of this width, the same array while they are the same: rows are drawn again for another. */
function useLayout<T>(columns: readonly Column<T>[], width: number | undefined) {
  const kept = useRef<readonly Column<T>[]>([]);
  const isNarrow = width !== undefined && width < NARROW_PX;
  const remPx = width === undefined ? 0 : Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const wanted = isNarrow
    ? columns.filter(({ narrow }) => narrow !== "none")
    : columnsThatFit(
        columns.filter(({ narrowOnly }) => narrowOnly !== true),
        (width ?? Number.POSITIVE_INFINITY) - SIDES_PX + GAP_PX,
        { remPx, gapPx: GAP_PX },
      );
  const same = wanted.length === kept.current.length && wanted.every((column, i) => column === kept.current[i]);
  if (!same) kept.current = wanted;
  return { shown: kept.current, isNarrow };
}

function rowHeight(isNarrow: boolean, dense: boolean, columns: readonly { readonly narrow: string }[]): number {
  if (!isNarrow) return dense ? ROW_PX.dense : ROW_PX.plain;
  return columns.some(({ narrow }) => narrow === "line2") ? ROW_PX.moreLines : ROW_PX.lines;
}

export function Table<T>(props: TableProps<T>) {
  const { label, columns, rows, rowKey, total, onEnd, dense = false, busy = false, sorting } = props;
  const outer = useRef<HTMLDivElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const { shown, isNarrow } = useLayout(columns, useWidth(outer));
  const rowPx = rowHeight(isNarrow, dense, columns);
  const range = useRange(box, rows.length, rowPx);
  const end = Math.min(range.end, rows.length);
  const first = Math.min(range.first, end);
  const template = isNarrow ? null : shown.map((column) => column.width).join(" ");
  const atEnd = end >= rows.length && rows.length < (total ?? rows.length);
  useEffect(() => {
    if (atEnd) onEnd?.();
  }, [atEnd, rows.length]);
  // In lines there are no heads to press, and a column without room has none.
  const hasChoice = isNarrow || (sorting?.order !== undefined && !shown.some(({ key }) => key === sorting.order?.key));
  const kind = `table${dense ? " dense" : ""}${isNarrow ? " narrow" : ""}${busy ? " busy" : ""}`;
  const table = (
    <div
      role="table"
      aria-label={label}
      aria-rowcount={(total ?? rows.length) + 1}
      aria-busy={busy}
      class={kind}
      lang={language.value}
      ref={outer}
    >
      <div role="rowgroup" class="thead">
        <div role="row" class="tr" aria-rowindex={1} style={template === null ? {} : { gridTemplateColumns: template }}>
          {shown.map((column) => (
            <div
              key={column.key}
              role="columnheader"
              class={cellClass(column)}
              aria-sort={ariaSort(column, template === null ? undefined : sorting)}
            >
              <Head column={column} sorting={template === null ? undefined : sorting} />
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
            columns={shown as readonly Column<unknown>[]}
            template={template}
          />
        ))}
      </div>
    </div>
  );
  if (sorting === undefined) return table;
  return (
    <>
      {hasChoice ? <SortChoice columns={columns} sorting={sorting} /> : null}
      {table}
    </>
  );
}
