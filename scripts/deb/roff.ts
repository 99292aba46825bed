/** Text as the man macros want it. Knows characters and lines, and nothing of programs. */

import { wrap } from "#cli/terminal-text.ts";

const COLUMNS_MAX = 78;

/** A piece of running text: escapes what roff would take for itself, and writes other than ASCII by number. */
export function roffText(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("'", "\\(aq")
    .replaceAll("`", "\\(ga")
    .replaceAll("^", "\\(ha")
    .replaceAll("~", "\\(ti")
    .replace(/[^\x20-\x7e]/gu, (character) => {
      const code = character.codePointAt(0) ?? 0;
      return `\\[u${code.toString(16).toUpperCase().padStart(4, "0")}]`;
    })
    .replace(/^\./, "\\&.");
}

export function bold(text: string): string {
  return `\\fB${roffText(text)}\\fR`;
}

function italic(text: string): string {
  return `\\fI${roffText(text)}\\fR`;
}

/** `--config FILE`: what is typed in bold, what is put in its place in italics. */
export function optionTerm(name: string, value: string | undefined): string {
  return value === undefined ? bold(`--${name}`) : `${bold(`--${name}`)} ${italic(value)}`;
}

export function placeTerm(name: string): string {
  return italic(name);
}

/** A sentence begins a line, as roff sources have it, and no line is long. */
export function paragraph(text: string): readonly string[] {
  return sentences(text)
    .flatMap((sentence) => wrap(roffText(sentence), COLUMNS_MAX))
    .map((line) => line.replace(/^\./, "\\&."));
}

/** A term, and what it means beside it. */
export function tagged(term: string, text: string): readonly string[] {
  return [".TP", term, ...paragraph(text)];
}

/** Lines that stay as they are. */
export function literal(lines: readonly string[]): readonly string[] {
  return [".RS 4", ".nf", ...lines.map(roffText), ".fi", ".RE"];
}

export function section(title: string): string {
  return `.SH ${title.toUpperCase()}`;
}

export function subsection(title: string): string {
  return `.SS ${roffText(title)}`;
}

function sentences(text: string): readonly string[] {
  return text.split(/(?<=[.;:]) (?=[A-Z\d"])/);
}
