/** What is said of paths that an archive does not have: a sentence with their names, and where to look or what may have been meant. */
import { SLASH } from "#archive/bytes.ts";
import { indexPath } from "#archive/index-path.ts";
import { entriesBelow, listDirectory } from "#archive/index-queries.ts";
import type { IndexReader } from "#archive/index-reader.ts";
import { Failure } from "#base/errors.ts";
import { nearest } from "#base/nearest.ts";
import { pathText } from "#base/path-text.ts";
import { safeText } from "#base/safe-text.ts";

/** Names in a directory that are compared with the one that is not there. */
const COMPARED_MAX = 10_000;
const NAMED_MAX = 3;

export interface AskedPath {
  /** As it was typed. */
  readonly text: string;
  readonly bytes: Uint8Array;
}

/** Whether the index has one of the paths, as an entry or above one: looks no further than to the first. Rejects with Failure E_INDEX_DAMAGED. */
export async function isOneThere(index: IndexReader, asked: readonly AskedPath[]): Promise<boolean> {
  for (const one of asked) if (await isThere(index, indexPath(one.bytes))) return true;
  return false;
}

/** Failure E_PATH_UNKNOWN. `index`: what a hint is taken from; undefined: there is none, or it is not believed. */
export async function pathsUnknown(
  asked: readonly AskedPath[],
  archive: string,
  index: IndexReader | undefined,
): Promise<Failure> {
  const names = asked.slice(0, NAMED_MAX).map(({ text }) => safeText(text));
  if (asked.length > NAMED_MAX) names.push(`${asked.length - NAMED_MAX} more`);
  const all = names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names.join("");
  const message = `${all} ${asked.length > 1 ? "are" : "is"} not in ${safeText(archive)}`;
  const [first] = asked;
  const hint = first === undefined || index === undefined ? undefined : await hintFor(index, first);
  return new Failure("E_PATH_UNKNOWN", message, hint === undefined ? {} : { hint });
}

const TOP_HINT =
  "Names in an archive are the absolute paths of the source without the slash in front; ls without a path shows the top.";

/** Undefined when the index cannot be read. */
async function hintFor(index: IndexReader, { text, bytes }: AskedPath): Promise<string | undefined> {
  const path = indexPath(bytes);
  try {
    const parent = await deepestThere(index, path);
    const nameStart = parent.length === 0 ? 0 : parent.length + 1;
    const slash = path.indexOf(SLASH, nameStart);
    const name = pathText(path.subarray(nameStart, slash < 0 ? path.length : slash));
    const near = nearest(name, await namesIn(index, parent, nameStart));
    const lead = text.startsWith("/") ? "/" : "";
    const above = parent.length === 0 ? lead : `${lead}${pathText(parent)}/`;
    if (near !== undefined && near !== name) return `Did you mean ${above}${near}?`;
    return parent.length === 0 ? TOP_HINT : `Look what is in ${pathText(parent)}.`;
  } catch (error) {
    if (error instanceof Failure && error.code === "E_INDEX_DAMAGED") return undefined;
    throw error;
  }
}

/** The longest part of the path, whole names, that the index has; empty when it has none of it. */
async function deepestThere(index: IndexReader, path: Uint8Array): Promise<Uint8Array> {
  let end = path.lastIndexOf(SLASH);
  while (end > 0 && !(await isThere(index, path.subarray(0, end)))) end = path.lastIndexOf(SLASH, end - 1);
  return path.subarray(0, Math.max(0, end));
}

/** A directory above what was backed up has no entry of its own. */
async function isThere(index: IndexReader, path: Uint8Array): Promise<boolean> {
  if (path.length === 0) return true;
  for await (const _ of entriesBelow(index, path)) return true;
  return false;
}

async function namesIn(index: IndexReader, directory: Uint8Array, nameStart: number): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const batch of listDirectory(index, directory)) {
    names.push(...batch.map(({ path }) => pathText(path.subarray(nameStart))));
    if (names.length >= COMPARED_MAX) break;
  }
  return names.slice(0, COMPARED_MAX);
}
