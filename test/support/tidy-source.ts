/**
 * Just enough reading of TypeScript for tidy.test.ts: which parts of a text are comments, strings and code, and what it
 * imports. It is not a parser; it only has to be right about what our formatter lets through.
 */

export interface MaskedSource {
  /** Same length and lines as the text; comments, and what stands inside strings and regular expressions, are spaces. */
  readonly code: string;
  /** Same length and lines; everything but comments is spaces. */
  readonly comments: string;
}

export interface ImportLine {
  readonly specifier: string;
  /** `import type` or `export type`: nothing of it is left when the program runs. */
  readonly typeOnly: boolean;
  /** From 1. */
  readonly line: number;
}

const KEYWORD_BEFORE_REGEX = /(?:^|[^\w$.])(?:return|typeof|case|in|of|do|else|void|throw|yield|await|delete|new)\s*$/;

/** One pass over the text. Each method consumes one kind of token and copies it to where it belongs. */
class Masker {
  readonly #text: string;
  #at = 0;
  #code = "";
  #comments = "";

  constructor(text: string) {
    this.#text = text;
  }

  mask(): MaskedSource {
    this.#codeUntil(undefined);
    return { code: this.#code, comments: this.#comments };
  }

  /** Copies code until the `}` that ends a template's expression, or to the end of the text. */
  #codeUntil(close: "}" | undefined): void {
    let depth = 0;
    while (this.#at < this.#text.length) {
      const char = this.#text.charAt(this.#at);
      const pair = this.#text.slice(this.#at, this.#at + 2);
      if (pair === "//") this.#comment("\n", 0);
      else if (pair === "/*") this.#comment("*/", 2);
      else if (char === '"' || char === "'") this.#quoted(char);
      else if (char === "`") this.#template();
      else if (char === "/" && this.#regexMayStart()) this.#regex();
      else {
        if (char === "{") depth += 1;
        if (char === "}") {
          if (depth === 0 && close !== undefined) return;
          depth -= 1;
        }
        this.#take("code", 1);
      }
    }
  }

  #take(kind: "code" | "comment" | "hidden", length: number): void {
    const piece = this.#text.slice(this.#at, this.#at + length);
    const blank = piece.replace(/[^\n]/g, " ");
    this.#code += kind === "code" ? piece : blank;
    this.#comments += kind === "comment" ? piece : blank;
    this.#at += piece.length;
  }

  #comment(end: string, endLength: number): void {
    const found = this.#text.indexOf(end, this.#at + 2);
    const stop = found === -1 ? this.#text.length : found + endLength;
    this.#take("comment", stop - this.#at);
  }

  #quoted(quote: string): void {
    this.#take("code", 1);
    while (this.#at < this.#text.length) {
      const char = this.#text.charAt(this.#at);
      if (char === quote || char === "\n") break;
      this.#take("hidden", char === "\\" ? 2 : 1);
    }
    this.#take("code", 1);
  }

  #template(): void {
    this.#take("code", 1);
    while (this.#at < this.#text.length && this.#text.charAt(this.#at) !== "`") {
      if (this.#text.slice(this.#at, this.#at + 2) === "${") {
        this.#take("code", 2);
        this.#codeUntil("}");
        this.#take("code", 1);
      } else {
        this.#take("hidden", this.#text.charAt(this.#at) === "\\" ? 2 : 1);
      }
    }
    this.#take("code", 1);
  }

  #regexMayStart(): boolean {
    const before = this.#code.trimEnd();
    return before === "" || /[(,=:[!&|?{};+\-*%<>~^]$/.test(before) || KEYWORD_BEFORE_REGEX.test(before.slice(-12));
  }

  #regex(): void {
    this.#take("code", 1);
    let inClass = false;
    while (this.#at < this.#text.length) {
      const char = this.#text.charAt(this.#at);
      if (char === "\n" || (char === "/" && !inClass)) break;
      if (char === "[") inClass = true;
      if (char === "]") inClass = false;
      this.#take("hidden", char === "\\" ? 2 : 1);
    }
    this.#take("code", 1);
  }
}

/** Separates code from comments. */
export function maskSource(text: string): MaskedSource {
  return new Masker(text).mask();
}

/** The line of an index into the text, from 1. */
export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

const IMPORT_FORMS: readonly RegExp[] = [
  /\b(?:import|export)\s+(type\s+)?(?:[\w$*{}\s,]+?\s*\bfrom\s*)?(?=["'])/g,
  /\bimport\s*()\(\s*(?=["'`])/g,
  /\brequire\s*()\(\s*(?=["'`])/g,
];

/** Everything a file imports: static, re-exported, dynamic, and types by `import("…")`. */
export function importsOf(text: string, code = maskSource(text).code): readonly ImportLine[] {
  const found: ImportLine[] = [];
  for (const form of IMPORT_FORMS) {
    for (const match of code.matchAll(form)) {
      const open = match.index + match[0].length;
      const close = text.indexOf(text.charAt(open), open + 1);
      const typeOnly = (match[1] ?? "") !== "";
      found.push({ specifier: text.slice(open + 1, close), typeOnly, line: lineAt(text, match.index) });
    }
  }
  return found.sort((a, b) => a.line - b.line);
}
