/** Sorting a table by its columns: heads that can be pressed, a choice where there are no heads, and the order in the page's URL. */
import { computed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { language, t } from "./i18n.ts";
import { Icon } from "./icons.tsx";
import { nextOrder, type Order, ordered, orderOf, orderText, type Sortable } from "./order.ts";
import { query, setQuery } from "./router.ts";

/** web-2 comes before web-10. */
const collator = computed(() => new Intl.Collator(language.value, { numeric: true }));

/** Made when something is sorted, and not with the first view: it would be the page's first Intl object, which takes its time. */
const compareTexts = (a: string, b: string): number => collator.value.compare(a, b);

export interface Sorting {
  /** Undefined: as the rows came. */
  readonly order: Order | undefined;
}

/** Rows in the order that the URL says; the same array while neither they nor it change. All rows have to be there. */
export function useSorted<T>(
  rows: readonly T[],
  columns: readonly Sortable<T>[],
): { readonly rows: readonly T[]; readonly sorting: Sorting } {
  const text = query.value["sort"];
  const sorting = useMemo(() => ({ order: orderOf(text, columns) }), [text, columns]);
  const spoken = language.value;
  const sorted = useMemo(() => ordered(rows, columns, sorting.order, compareTexts), [rows, columns, sorting, spoken]);
  return { rows: sorted, sorting };
}

function choose(order: Order | undefined): void {
  setQuery({ sort: order === undefined ? null : orderText(order) });
}

interface Labelled extends Sortable<never> {
  readonly label: string;
}

/** What a screen reader hears of a head; undefined where there is nothing to press. */
export function ariaSort({ key, sort }: Sortable<never>, sorting: Sorting | undefined) {
  if (sorting === undefined || sort === undefined) return undefined;
  if (sorting.order?.key !== key) return "none";
  return sorting.order.down ? "descending" : "ascending";
}

export function Head({ column, sorting }: { column: Labelled; sorting: Sorting | undefined }) {
  if (sorting === undefined || column.sort === undefined) return <>{column.label}</>;
  const { order } = sorting;
  return (
    <button type="button" class="by" onClick={() => choose(nextOrder(column, order))}>
      <span>{column.label}</span>
      {order?.key === column.key ? <Icon name={order.down ? "down" : "up"} /> : null}
    </button>
  );
}

/** In place of heads. */
export function SortChoice({ columns, sorting }: { columns: readonly Labelled[]; sorting: Sorting }) {
  const sortable = columns.filter(({ sort }) => sort !== undefined);
  return (
    <label class="select by">
      <span class="muted">{t("sort.by")}</span>
      <select
        value={sorting.order === undefined ? "" : orderText(sorting.order)}
        onChange={(event) => choose(orderOf(event.currentTarget.value, columns))}
      >
        <option value="">{t("sort.none")}</option>
        {sortable.flatMap(({ key, label, largestFirst = false }) =>
          [largestFirst, !largestFirst].map((down) => (
            <option key={`${key} ${down}`} value={orderText({ key, down })}>
              {t(down ? "sort.down" : "sort.up", { column: label })}
            </option>
          )),
        )}
      </select>
    </label>
  );
}
