/**
 * From the bytes of a file to a YAML document with positions. What is not text, not YAML, or built to exhaust the reader is
 * refused here, each with its line; which keys may stand in it is none of this file's business.
 */
import { Composer, type CST, type Document, LineCounter, Parser, type YAMLError } from "yaml";
import type { ConfigProblem } from "./problem.ts";
import { nonNumbersAsText, reportAliases, reportOddKeys, type YamlReport } from "./yaml-checks.ts";

/** Far above any real file (1,000 entries of 20 lines are 700 kB) and small enough to parse in a moment. */
export const CONFIG_BYTES_MAX = 1024 * 1024;
/** The deepest key has a depth of 6. */
const DEPTH_MAX = 32;
/** For shared exclude lists and the like; the total of all expansions. */
const ALIAS_EXPANSIONS_MAX = 1000;
const SYNTAX_PROBLEMS_MAX = 5;

export interface YamlText {
  readonly document: Document.Parsed;
  /** The document as plain values, aliases resolved. */
  readonly content: unknown;
  /** From 1. */
  lineOf(offset: number): number;
}

/** Either the document (with problems that do not hinder reading on: duplicate keys), or only problems. */
export interface YamlReading {
  readonly text: YamlText | undefined;
  readonly problems: readonly ConfigProblem[];
}

export function readYaml(file: string, bytes: Uint8Array): YamlReading {
  const problems: ConfigProblem[] = [];
  const report: YamlReport = (message, { line, key, hint }) => {
    problems.push({ file, line, key: key ?? "", message, hint });
  };
  const source = decodeText(bytes, report);
  const text = source === undefined ? undefined : parse(source, report);
  return { text, problems };
}

/** UTF-8 without NUL, or undefined after a report. */
function decodeText(bytes: Uint8Array, report: YamlReport): string | undefined {
  const hint = "Save the file as UTF-8 text.";
  const nul = bytes.indexOf(0);
  if (nul >= 0) {
    report("found a NUL byte, so this is no text file", { line: lineOfByte(bytes, nul), hint });
    return undefined;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(bytes));
  } catch {
    // The decoder does not say where: a line break is never part of a longer character, so each line stands for itself.
    report("found bytes that are not UTF-8", { line: firstUndecodableLine(bytes), hint });
    return undefined;
  }
}

function lineOfByte(bytes: Uint8Array, offset: number): number {
  let line = 1;
  for (let i = 0; i < offset; i += 1) if (bytes[i] === 10) line += 1;
  return line;
}

function firstUndecodableLine(bytes: Uint8Array): number {
  let low = 0;
  let line = 1;
  while (low < bytes.length) {
    const newline = bytes.indexOf(10, low);
    const end = newline < 0 ? bytes.length : newline;
    if (Buffer.from(bytes.subarray(low, end)).toString("utf8").includes("\ufffd")) return line;
    low = end + 1;
    line += 1;
  }
  return line;
}

function parse(source: string, report: YamlReport): YamlText | undefined {
  const counter = new LineCounter();
  const lineOf = (offset: number): number => counter.linePos(offset).line;
  const tokens = [...new Parser(counter.addNewLine).parse(source)];
  const deep = findToken(tokens, (_token, depth) => depth > DEPTH_MAX);
  if (deep !== undefined) {
    report(`found more than ${DEPTH_MAX} levels of nesting`, { line: lineOf(deep) });
    return undefined;
  }
  // Its own check for equal keys takes quadratic time, so reportOddKeys looks for them.
  const composer = new Composer({
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: "error",
    merge: true,
    version: "1.2",
  });
  const [document, second] = [...composer.compose(tokens)];
  if (document?.contents === undefined || document.contents === null) {
    if (document === undefined || document.errors.length === 0) {
      report("the file is empty", { hint: "Start from the example that comes with the program." });
      return undefined;
    }
  }
  if (second !== undefined) {
    const line = lineOf(second.range[0]);
    report("found a second document after ---", { line, hint: "Keep everything in one document." });
    return undefined;
  }
  if (reportUnclosedQuote(tokens, lineOf, report) || reportSyntax(document, lineOf, report)) return undefined;
  return resolve(document, lineOf, report);
}

/** Offset of the first token found that `test` holds for. Without recursion, because the depth is in question. */
function findToken(
  tokens: readonly CST.Token[],
  test: (token: CST.Token, depth: number) => boolean,
): number | undefined {
  const open: { token: CST.Token | null | undefined; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }));
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next;
    if (token === null || token === undefined) continue;
    if (test(token, depth)) return token.offset;
    if (token.type === "document") open.push({ token: token.value, depth });
    if (!("items" in token)) continue;
    for (const item of token.items) {
      open.push({ token: item.key, depth: depth + 1 }, { token: item.value, depth: depth + 1 });
    }
  }
  return undefined;
}

/** The parser notices it where the file ends; a person wants to know where the quote was opened. */
function reportUnclosedQuote(
  tokens: readonly CST.Token[],
  lineOf: (offset: number) => number,
  report: YamlReport,
): boolean {
  const at = findToken(tokens, (token) => {
    if (token.type !== "double-quoted-scalar" && token.type !== "single-quoted-scalar") return false;
    return token.source.length < 2 || token.source.at(-1) !== token.source[0];
  });
  if (at === undefined) return false;
  report("found a quote that is never closed", { line: lineOf(at), hint: "Close it, or remove it." });
  return true;
}

const SYNTAX: Readonly<Partial<Record<YAMLError["code"], readonly [message: string, hint: string]>>> = {
  TAB_AS_INDENT: ["found a tab where the line is indented", "Indent with spaces."],
  BAD_INDENT: [
    "the line is indented differently from what it belongs to",
    "Give all items of a list or section the same number of spaces.",
  ],
  BAD_SCALAR_START: ["the value begins with a character that YAML reserves", "Put the value in quotes."],
  BAD_DQ_ESCAPE: ["found an escape that YAML does not know", "Use single quotes, in which a backslash is a backslash."],
  BLOCK_AS_IMPLICIT_KEY: [
    "found a second key on the line, or a line indented too far",
    "Put the value in quotes if it holds a colon and a space.",
  ],
  MULTILINE_IMPLICIT_KEY: ["the key is not followed by a colon", "Write KEY: VALUE, with a space after the colon."],
  MISSING_CHAR: [
    "a quote, bracket, comma or colon is missing",
    "Look for what was opened and not closed at this line or above.",
  ],
  UNEXPECTED_TOKEN: [
    "found something that does not belong here",
    "Look for a bracket or quote too many, or put the value in quotes.",
  ],
  BAD_ALIAS: ["found an alias (*NAME) without a name", 'Put a value that begins with a star in quotes: "*.log".'],
  TAG_RESOLVE_FAILED: ["found a tag (!NAME), which means nothing here", "Put a value that begins with ! in quotes."],
};

/** Reports the errors of the parser in our words (its own may quote the file); true when there were any. */
function reportSyntax(document: Document.Parsed, lineOf: (offset: number) => number, report: YamlReport): boolean {
  const lines = new Set<number>();
  for (const { code, pos } of [...document.errors, ...document.warnings]) {
    const line = lineOf(pos[0]);
    // What follows on the same line, and after a few lines, is most often the same mistake again.
    if (lines.has(line) || lines.size >= SYNTAX_PROBLEMS_MAX) continue;
    lines.add(line);
    const [message, hint] = SYNTAX[code] ?? [
      "this is not YAML",
      "Compare it with the example that comes with the program.",
    ];
    report(message, { line, hint });
  }
  return lines.size > 0;
}

/** Plain values, after aliases and keys have been looked at. */
function resolve(
  document: Document.Parsed,
  lineOf: (offset: number) => number,
  report: YamlReport,
): YamlText | undefined {
  if (reportAliases(document, lineOf, report)) return undefined;
  reportOddKeys(document, lineOf, report);
  nonNumbersAsText(document);
  try {
    return { document, content: document.toJS({ maxAliasCount: ALIAS_EXPANSIONS_MAX }), lineOf };
  } catch (error) {
    if (!(error instanceof ReferenceError)) throw error;
    report(`aliases (*NAME) expand to more than ${ALIAS_EXPANSIONS_MAX} places`, { hint: "Write repeated parts out." });
    return undefined;
  }
}
