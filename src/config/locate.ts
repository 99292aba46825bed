/** Finds in a YAML document what stands at a key path: on which line, and what it is in words that give no secret away. */
import { type Document, isAlias, isMap, isPair, isScalar, isSeq, type Node, type Pair } from "yaml";

export interface Place {
  /** How many parts of the path exist; what stands there is what `found` tells of. */
  readonly depth: number;
  readonly offset: number;
  readonly found: string;
  /** True when a single value stands there, so that nothing can stand below it. */
  readonly isValue: boolean;
}

const SHOWN_CHARACTERS_MAX = 60;

/** The place of `path`, or of the longest part of it that exists. */
export function locate(document: Document.Parsed, path: readonly PropertyKey[]): Place {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  let depth = 0;
  for (const part of path) {
    const child = childOf(document, node, part);
    if (child === undefined) break;
    offset = child.offset ?? offset;
    node = child.node;
    depth += 1;
  }
  const target = followed(document, node);
  return { depth, offset, found: describe(target, path.slice(0, depth)), isValue: !isMap(target) && !isSeq(target) };
}

interface Child {
  readonly node: unknown;
  readonly offset: number | undefined;
}

function childOf(document: Document.Parsed, parent: unknown, part: PropertyKey): Child | undefined {
  const node = followed(document, parent);
  if (isSeq(node)) {
    const item = typeof part === "number" ? node.items[part] : undefined;
    return item === undefined ? undefined : { node: item, offset: startOf(item) };
  }
  if (!isMap(node)) return undefined;
  // The last one wins, as in the values.
  const own = node.items.findLast(({ key }) => keyName(key) === String(part));
  if (own !== undefined) return { node: own.value, offset: startOf(own.key) };
  return mergedChildOf(document, node.items, part);
}

/** What a key is called; undefined for a key that is no scalar. The library reads `<<` as a symbol. */
export function keyName(key: unknown): string | undefined {
  if (!isScalar(key)) return undefined;
  return typeof key.value === "symbol" ? key.value.description : String(key.value);
}

/** A key that came with `<<: *NAME` stands where the alias is. */
function mergedChildOf(document: Document.Parsed, items: readonly Pair[], part: PropertyKey): Child | undefined {
  for (const { key, value } of items) {
    if (keyName(key) !== "<<") continue;
    const merged = followed(document, value);
    for (const source of isSeq(merged) ? merged.items : [merged]) {
      const child = childOf(document, source, part);
      if (child !== undefined) return { node: child.node, offset: startOf(value) };
    }
  }
  return undefined;
}

function followed(document: Document.Parsed, node: unknown): unknown {
  return isAlias(node) ? node.resolve(document) : isPair(node) ? node.value : node;
}

function startOf(node: unknown): number | undefined {
  return (node as Partial<Node> | null | undefined)?.range?.[0];
}

function describe(node: unknown, path: readonly PropertyKey[]): string {
  if (isMap(node)) return node.items.length === 0 ? "an empty section" : "a section";
  if (isSeq(node)) return node.items.length === 1 ? "a list of 1 item" : `a list of ${node.items.length} items`;
  if (!isScalar(node) || node.value === null || node.value === undefined) return "nothing";
  const value = node.value;
  if (typeof value !== "string")
    return isSecret(path, "") ? "a value (not shown)" : shortened(node.source ?? String(value));
  return isSecret(path, value) ? `a text of ${value.length} characters (not shown)` : shortened(JSON.stringify(value));
}

/** Values under such keys are never printed, nor a private key that was put where its path belongs. */
function isSecret(path: readonly PropertyKey[], value: string): boolean {
  if (value.includes("PRIVATE KEY")) return true;
  return path.some(
    (part) =>
      typeof part === "string" &&
      /password|passwd|secret|token|credential|access_key|buckets|(^|_)url$/i.test(part) &&
      !part.endsWith("_file"),
  );
}

function shortened(text: string): string {
  return text.length <= SHOWN_CHARACTERS_MAX ? text : `${text.slice(0, SHOWN_CHARACTERS_MAX - 1)}…`;
}
