/**
 * Which paths a backup leaves out: the globs under `exclude`. The rules, which the configuration reference repeats:
 *
 * - The last pattern that matches a path decides: it is left out, or kept when that pattern begins with `!`. A path that none
 *   matches is kept. A directory left out is not entered: everything below it goes too, and no `!` brings any of it back.
 * - A pattern without a slash (`*.log`, `node_modules`) is matched against the last component of every path.
 * - A pattern that begins with a slash (`/srv/tmp`) is matched against the whole absolute path.
 * - Any other pattern with a slash in it (`*` + `/tmp/sess*`) is matched against the last components of the absolute path, at
 *   any depth; the components above the source count too.
 * - A slash at the end (`cache/`) makes the pattern match directories only, and is otherwise ignored.
 * - `*` is any number of bytes within a component, also none, also a leading dot; `?` one byte; `[a-z]`, `[!a-z]` one byte of a
 *   set or outside it; a backslash takes away the meaning of what follows it. Bytes, not characters; case counts.
 * - `**` as a component is any number of components, also none; at the end of a pattern, one or more: `node_modules/**`
 *   keeps the directory and leaves out all that is in it.
 * - A source itself is never left out.
 * - `!` in front (`!keep.log`) is not part of the pattern. A name that begins with it is `\!name`.
 */
import { Failure } from "#base/errors.ts";
import { SLASH } from "./bytes.ts";
import { type Glob, parseGlob } from "./glob.ts";

export const EXCLUDE_PATTERNS_MAX = 1000;
export const EXCLUDE_PATTERN_BYTES_MAX = 4096;

/** Text is its UTF-8; what is not UTF-8, as an argument of a command may be, comes as its bytes. */
export type PatternText = string | Uint8Array;

/** `if-directory`, `unless-directory`: it depends on what the path turns out to be. */
export type Exclusion = "no" | "yes" | "if-directory" | "unless-directory";

/** A component to match, or any number of components. */
type Part = Glob | "any-depth";

interface Pattern {
  /** Begins with `!`: what it matches is kept. */
  readonly keeps: boolean;
  readonly parts: readonly Part[];
  readonly directoriesOnly: boolean;
  /** The last part, which a path must match whatever the others say; undefined behind a `**`. */
  readonly last: Glob | undefined;
  /** True when the last part alone decides. */
  readonly nameOnly: boolean;
}

const ANY_NAME: Glob = { matches: () => true };

/** The compiled patterns of one backup entry. Holds scratch memory: one walk at a time. */
export class Excludes {
  readonly #patterns: readonly Pattern[];
  /** Starts of the components of the path being matched, and one end; valid as far as `#components`. */
  readonly #starts: number[] = [];
  #components = 0;

  /** Throws Failure E_CONFIG that names the pattern, as `what` it is, and what is wrong with it. */
  constructor(patterns: readonly PatternText[], what = "exclude pattern") {
    if (patterns.length > EXCLUDE_PATTERNS_MAX) {
      throw new Failure("E_CONFIG", `${patterns.length} ${what}s, at most ${EXCLUDE_PATTERNS_MAX} are allowed`);
    }
    // The last one first: the first that matches decides.
    this.#patterns = patterns.map((text) => parsePattern(text, what)).reverse();
  }

  /** Asks for the absolute path in the first `end` bytes, whose last component begins at `nameStart`. */
  match(path: Uint8Array, nameStart: number, end: number): Exclusion {
    /** What the last pattern for directories only said; of anything but a directory an earlier one decides. */
    let directoryKept: boolean | undefined;
    this.#components = -1;
    for (const pattern of this.#patterns) {
      if (pattern.directoriesOnly && directoryKept !== undefined) continue;
      if (pattern.last?.matches(path, nameStart, end) === false) continue;
      if (!pattern.nameOnly && !this.#matchesParts(pattern.parts, path, end)) continue;
      if (!pattern.directoriesOnly) return exclusion(directoryKept ?? pattern.keeps, pattern.keeps);
      directoryKept = pattern.keeps;
    }
    return exclusion(directoryKept ?? true, true);
  }

  /** As for the bytes of a name (Tokens in glob.ts): only the last `**` ever has to take one component more. */
  #matchesParts(parts: readonly Part[], path: Uint8Array, end: number): boolean {
    if (this.#components < 0) this.#split(path, end);
    let part = 0;
    let at = 0;
    let depthPart = -1;
    let depthAt = 0;
    while (at < this.#components) {
      const current = parts[part];
      if (current === "any-depth") {
        depthPart = part;
        depthAt = at;
        part += 1;
      } else if (current !== undefined && this.#matchesComponent(current, path, at)) {
        part += 1;
        at += 1;
      } else if (depthPart >= 0) {
        depthAt += 1;
        at = depthAt;
        part = depthPart + 1;
      } else {
        return false;
      }
    }
    while (parts[part] === "any-depth") part += 1;
    return part === parts.length;
  }

  #matchesComponent(glob: Glob, path: Uint8Array, component: number): boolean {
    const start = this.#starts[component] ?? 0;
    return glob.matches(path, start, (this.#starts[component + 1] ?? 0) - 1);
  }

  #split(path: Uint8Array, end: number): void {
    let count = 0;
    for (let i = 0; i < end; i += 1) {
      if (path[i] !== SLASH) continue;
      this.#starts[count] = i + 1;
      count += 1;
    }
    this.#starts[count] = end + 1;
    this.#components = count;
  }
}

function exclusion(directoryKept: boolean, otherKept: boolean): Exclusion {
  if (directoryKept) return otherKept ? "no" : "unless-directory";
  return otherKept ? "if-directory" : "yes";
}

function parsePattern(given: PatternText, kind: string): Pattern {
  const bytes = Buffer.from(given);
  const refuse = (what: string): never => {
    throw new Failure("E_CONFIG", `${kind} "${bytes.toString()}": ${what}`);
  };
  if (bytes.length > EXCLUDE_PATTERN_BYTES_MAX) refuse(`longer than ${EXCLUDE_PATTERN_BYTES_MAX} bytes`);
  if (bytes.includes(0)) refuse("a NUL in it");
  // One character per byte: no byte is lost, and all that has a meaning is ASCII.
  const text = bytes.toString("latin1");
  const keeps = text.startsWith("!");
  const pattern = keeps ? text.slice(1) : text;
  if (pattern.startsWith("!")) refuse("more than one ! in front; write \\! for a name that begins with it");
  const directoriesOnly = pattern.endsWith("/");
  const body = directoriesOnly ? pattern.replace(/\/+$/, "") : pattern;
  if (body === "") refuse("it names nothing");
  const names = body.split("/").filter((name) => name !== "");
  const parts: Part[] = body.startsWith("/") ? [] : ["any-depth"];
  for (const name of names) {
    if (name === "." || name === "..") refuse(`a component that is ${name} never matches`);
    if (name === "**") {
      if (parts.at(-1) !== "any-depth") parts.push("any-depth");
      continue;
    }
    const glob = parseGlob(Buffer.from(name, "latin1"));
    parts.push(typeof glob === "string" ? refuse(glob) : glob);
  }
  // At the end, `**` stands for one component at least: the directory in front of it stays.
  if (names.at(-1) === "**") parts.push(ANY_NAME);
  const last = parts.at(-1);
  const nameOnly = parts.length === 2 && parts[0] === "any-depth";
  return { keeps, parts, directoriesOnly, last: last === "any-depth" ? undefined : last, nameOnly };
}
