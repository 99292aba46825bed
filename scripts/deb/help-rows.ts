/**
 * A help text that was written by hand, as usage, paragraphs and rows: a row begins with two spaces and has its meaning behind two more,
 * and deeper lines go on with it. It loses no word.
 */

export type HelpRow =
  | { readonly kind: "usage" | "paragraph"; readonly text: string }
  | { readonly kind: "row"; readonly term: string; readonly text: string };

export function helpRows(text: string): readonly HelpRow[] {
  const rows: HelpRow[] = [];
  let open = false;
  for (const line of text.trimEnd().split("\n")) {
    const last = rows.at(-1);
    const row = /^ {2}(\S.*?) {2,}(\S.*)$/.exec(line);
    if (line === "") open = false;
    else if (row !== null) rows.push({ kind: "row", term: row[1] ?? "", text: row[2] ?? "" });
    else if (last !== undefined && (line.startsWith("   ") || open)) {
      rows[rows.length - 1] = { ...last, text: `${last.text} ${line.trim()}` };
    } else rows.push({ kind: rows.length === 0 ? "usage" : "paragraph", text: line.trim() });
    if (line !== "") open = true;
  }
  return rows;
}
