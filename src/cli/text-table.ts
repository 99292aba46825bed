/** Rows of text under headings, in columns as wide as they must be. */
import { columnsOf } from "./terminal-text.ts";

export interface Column {
  readonly heading: string;
  /** Numbers stand under each other at their right ends. */
  readonly right?: boolean;
}

/** With a line end each; the last column is not padded. */
export function textTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const all = [columns.map(({ heading }) => heading), ...rows];
  const widths = columns.map((_column, index) => Math.max(...all.map((row) => columnsOf(row[index] ?? ""))));
  return all
    .map((row) => {
      const cells = columns.map(({ right }, index) => {
        const text = row[index] ?? "";
        const padding = " ".repeat((widths[index] ?? 0) - columnsOf(text));
        return right === true ? `${padding}${text}` : `${text}${padding}`;
      });
      return `${cells.join("  ").trimEnd()}\n`;
    })
    .join("");
}
