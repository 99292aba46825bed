/**
 * What YAML permits and a configuration file should not have: aliases that lead nowhere or into themselves, keys that stand twice,
 * merges of what is no section. The library would throw, or let the later one win without a word.
 */
import { type Document, isAlias, isMap, isNode, isPair, isScalar, isSeq, visit, type YAMLMap } from "yaml";
import { keyName } from "./locate.ts";
import { keyText, PROBLEMS_FOUND_MAX } from "./problem.ts";

export type YamlReport = (
  message: string,
  place: { readonly line?: number; readonly key?: string; readonly hint?: string },
) => void;

type LineOf = (offset: number) => number;

/** True when something was reported: the values cannot be worked out then. */
export function reportAliases(document: Document.Parsed, lineOf: LineOf, report: YamlReport): boolean {
  // Resolving an alias by the library walks the whole document, so the anchors seen so far are kept.
  const anchors = new Map<string, unknown>();
  let room = PROBLEMS_FOUND_MAX;
  const tell = (node: unknown, message: string, hint: string): void => {
    report(message, { line: lineOf((isNode(node) ? node.range?.[0] : undefined) ?? 0), hint });
    room -= 1;
  };
  visit(document, {
    Node(_key, node, ancestors) {
      if (room === 0) return visit.BREAK;
      if (!isAlias(node)) {
        if (node.anchor !== undefined) anchors.set(node.anchor, node);
      } else if (!anchors.has(node.source)) {
        const quoted = `Put a value that begins with a star in quotes: "*${node.source}".`;
        tell(node, `found *${node.source}, which YAML takes for an alias`, quoted);
      } else if (ancestors.some((outer) => isNode(outer) && !isAlias(outer) && outer.anchor === node.source)) {
        tell(node, `found *${node.source} inside what it stands for`, "Write it out.");
      }
      return undefined;
    },
    Pair(_key, pair) {
      if (room > 0 && keyName(pair.key) === "<<" && !canMerge(anchors, pair.value)) {
        tell(
          pair.key,
          "found << with something that is no section",
          "Write <<: *NAME, with the anchor &NAME at a section.",
        );
      }
    },
  });
  return room < PROBLEMS_FOUND_MAX;
}

/** Unknown aliases are told by themselves. */
function canMerge(anchors: ReadonlyMap<string, unknown>, value: unknown): boolean {
  const follow = (node: unknown): unknown => (isAlias(node) ? anchors.get(node.source) : node);
  const followed = follow(value);
  if (followed === undefined) return isAlias(value);
  const sources = isSeq(followed) ? followed.items : [followed];
  return sources.every((source) => isMap(follow(source)));
}

export function reportOddKeys(document: Document.Parsed, lineOf: LineOf, report: YamlReport): void {
  let room = PROBLEMS_FOUND_MAX;
  visit(document, {
    Map(_key, map, ancestors) {
      for (const { name, offset, firstOffset } of oddKeys(map)) {
        if (room === 0) return visit.BREAK;
        room -= 1;
        const place = { line: lineOf(offset), key: keyText([...pathOf([...ancestors, map]), name]) };
        const hint = "Remove one of them.";
        if (firstOffset === undefined) report("this is no name for a key", place);
        else report(`found the key twice, first on line ${lineOf(firstOffset)}`, { ...place, hint });
      }
      return undefined;
    },
  });
}

/**
 * `.nan`, `.inf` and numbers too large to be one are numbers for YAML and nothing that a key of ours could mean: they stay the
 * words that they are, so that a refusal can quote them and no sum comes to meet one where a key takes anything.
 */
export function nonNumbersAsText(document: Document.Parsed): void {
  visit(document, {
    Scalar(_key, scalar) {
      if (typeof scalar.value === "number" && !Number.isFinite(scalar.value)) scalar.value = scalar.source ?? "";
    },
  });
}

interface OddKey {
  readonly name: string;
  readonly offset: number;
  /** Where the same key stood before. */
  readonly firstOffset: number | undefined;
}

function oddKeys(map: YAMLMap): OddKey[] {
  const first = new Map<string, number>();
  const odd: OddKey[] = [];
  for (const { key } of map.items) {
    const name = keyName(key) ?? "?";
    const offset = isNode(key) ? key.range?.[0] : undefined;
    if (offset === undefined) continue;
    const firstOffset = first.get(name);
    // A section or list as a key has no name.
    if (firstOffset !== undefined || name === "__proto__" || !isScalar(key)) odd.push({ name, offset, firstOffset });
    first.set(name, firstOffset ?? offset);
  }
  return odd;
}

/** The key path of the last of a document's nodes, each inside the one before. */
function pathOf(nodes: readonly unknown[]): PropertyKey[] {
  return nodes.flatMap((node, index): PropertyKey[] => {
    if (isPair(node)) return [keyName(node.key) ?? "?"];
    const child = nodes[index + 1];
    return isSeq(node) && child !== undefined ? [node.items.indexOf(child)] : [];
  });
}
