/** Text in the columns of a terminal: width, cutting, wrapping. */

const GRAPHEMES = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Columns that the text takes; characters of two columns count as two. */
export function columnsOf(text: string): number {
  return Bun.stringWidth(text);
}

/** The beginning of the text in at most `columnsMax` columns, with `…` where something is missing. */
export function cutEnd(text: string, columnsMax: number): string {
  return cut(text, columnsMax, (kept) => `${kept}…`, "start");
}

/** The end of the text in at most `columnsMax` columns: of a path the end says more. */
export function cutStart(text: string, columnsMax: number): string {
  return cut(text, columnsMax, (kept) => `…${kept}`, "end");
}

function cut(text: string, columnsMax: number, mark: (kept: string) => string, keep: "start" | "end"): string {
  if (columnsOf(text) <= columnsMax) return text;
  if (columnsMax < 1) return "";
  const pieces = Array.from(GRAPHEMES.segment(text), ({ segment }) => segment);
  if (keep === "end") pieces.reverse();
  const kept: string[] = [];
  let room = columnsMax - 1;
  for (const piece of pieces) {
    room -= columnsOf(piece);
    if (room < 0) break;
    kept.push(piece);
  }
  if (keep === "end") kept.reverse();
  return mark(kept.join(""));
}

/** Breaks text at spaces into lines of at most `columnsMax` columns; a longer word has a line of its own. */
export function wrap(text: string, columnsMax: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && columnsOf(longer) > columnsMax) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
  }
  return [...lines, line];
}
