/**
 * One component of an exclude pattern, matched against one name. Bytes, not characters: `?` is one byte, and a class
 * holds bytes. Knows nothing of paths (exclude.ts does).
 */
import { assert } from "#base/assert.ts";
import { equalBytes } from "./bytes.ts";

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const BACKSLASH = 0x5c;
const BANG = 0x21;
const CARET = 0x5e;
const DASH = 0x2d;

/** A byte that must match, `*`, or the set of bytes that match. */
type Token = number | "star" | Uint8Array;

/** A name between `start` and `end` of `bytes`, end excluded. */
export interface Glob {
  matches(bytes: Uint8Array, start: number, end: number): boolean;
}

/** The glob of a component without slashes; a sentence when it cannot be one. */
export function parseGlob(text: Uint8Array): Glob | string {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const byte = text[at] ?? 0;
    if (byte === STAR) {
      if (tokens.at(-1) !== "star") tokens.push("star");
      at += 1;
    } else if (byte === QUESTION) {
      tokens.push(new Uint8Array(256).fill(1));
      at += 1;
    } else if (byte === OPEN) {
      const set = parseSet(text, at);
      if (set === undefined) return "[ without ]";
      tokens.push(set.bytes);
      at = set.next;
    } else if (byte === BACKSLASH) {
      const next = text[at + 1];
      if (next === undefined) return "a backslash with nothing behind it";
      tokens.push(next);
      at += 2;
    } else {
      tokens.push(byte);
      at += 1;
    }
  }
  return compile(tokens);
}

/** `[abc]`, `[a-z]`, `[!abc]`, `[^abc]`; `]` stands for itself when it comes first. */
function parseSet(text: Uint8Array, open: number): { bytes: Uint8Array; next: number } | undefined {
  let at = open + 1;
  const negated = text[at] === BANG || text[at] === CARET;
  if (negated) at += 1;
  const bytes = new Uint8Array(256);
  for (let first = true; first || text[at] !== CLOSE; first = false) {
    const low = literalAt(text, at);
    if (low === undefined) return undefined;
    at = low.next;
    let high = low;
    if (text[at] === DASH && text[at + 1] !== CLOSE && text[at + 1] !== undefined) {
      const end = literalAt(text, at + 1);
      if (end === undefined) return undefined;
      high = end;
      at = end.next;
    }
    if (low.byte <= high.byte) bytes.fill(1, low.byte, high.byte + 1);
  }
  if (negated) for (let i = 0; i < 256; i += 1) bytes[i] = 1 - (bytes[i] ?? 0);
  return { bytes, next: at + 1 };
}

function literalAt(text: Uint8Array, at: number): { byte: number; next: number } | undefined {
  const byte = text[at];
  if (byte !== BACKSLASH) return byte === undefined ? undefined : { byte, next: at + 1 };
  const escaped = text[at + 1];
  return escaped === undefined ? undefined : { byte: escaped, next: at + 2 };
}

/** Most patterns are a plain name, `*.suffix` or `prefix*`: those are compared without walking tokens. */
function compile(tokens: readonly Token[]): Glob {
  const literals = Uint8Array.from(tokens.filter((token) => typeof token === "number"));
  if (literals.length === tokens.length) return new Literal(literals);
  if (literals.length === tokens.length - 1 && tokens[0] === "star") return new Affix(literals, "suffix");
  if (literals.length === tokens.length - 1 && tokens.at(-1) === "star") return new Affix(literals, "prefix");
  return new Tokens(tokens);
}

class Literal implements Glob {
  readonly #text: Uint8Array;

  constructor(text: Uint8Array) {
    this.#text = text;
  }

  matches(bytes: Uint8Array, start: number, end: number): boolean {
    const length = this.#text.length;
    return end - start === length && equalBytes(this.#text, bytes.subarray(start, end));
  }
}

class Affix implements Glob {
  readonly #text: Uint8Array;
  readonly #side: "prefix" | "suffix";

  constructor(text: Uint8Array, side: "prefix" | "suffix") {
    this.#text = text;
    this.#side = side;
  }

  matches(bytes: Uint8Array, start: number, end: number): boolean {
    const text = this.#text;
    if (end - start < text.length) return false;
    const from = this.#side === "prefix" ? start : end - text.length;
    for (let i = 0; i < text.length; i += 1) if (bytes[from + i] !== text[i]) return false;
    return true;
  }
}

class Tokens implements Glob {
  readonly #tokens: readonly Token[];

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** Greedy: when something behind a star does not match, the last star takes one byte more. At most name × tokens steps. */
  matches(bytes: Uint8Array, start: number, end: number): boolean {
    const tokens = this.#tokens;
    let token = 0;
    let at = start;
    let starToken = -1;
    let starAt = 0;
    while (at < end) {
      const current = tokens[token];
      if (current === "star") {
        starToken = token;
        starAt = at;
        token += 1;
      } else if (current !== undefined && matchesByte(current, bytes[at] ?? 0)) {
        token += 1;
        at += 1;
      } else if (starToken >= 0) {
        starAt += 1;
        at = starAt;
        token = starToken + 1;
      } else {
        return false;
      }
    }
    while (tokens[token] === "star") token += 1;
    assert(token <= tokens.length, "a glob was read beyond its end");
    return token === tokens.length;
  }
}

function matchesByte(token: number | Uint8Array, byte: number): boolean {
  return typeof token === "number" ? token === byte : token[byte] === 1;
}
