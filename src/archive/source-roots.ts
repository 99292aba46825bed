/**
 * The source paths of a backup entry: made canonical, sorted as the archive has them, and checked before a session is
 * asked for. An unmounted disk must not become a good, empty backup.
 */
import { errnoName, Failure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import { comparePaths, equalBytes, isBelow } from "./bytes.ts";
import type { FileSource, Stat } from "./source.ts";

/** As the configuration has it. */
export interface SourceSpec {
  /** Absolute path. */
  readonly path: string;
  /** A missing source is passed over. */
  readonly optional: boolean;
}

export interface SourceRoot {
  /** Absolute raw bytes, without a trailing slash except for the root directory itself. */
  readonly path: Uint8Array;
  readonly optional: boolean;
}

/**
 * The roots in the order of the archive. Throws Failure E_CONFIG for a path that is not absolute or holds `..`, E_SOURCE_NESTED
 * for one that equals another or lies inside it.
 */
export function sourceRoots(specs: readonly SourceSpec[]): SourceRoot[] {
  const roots = specs.map((spec) => ({ path: canonical(spec.path), optional: spec.optional }));
  roots.sort((a, b) => comparePaths(a.path, b.path));
  for (const [i, root] of roots.entries()) {
    // Sorted, everything below a path follows it directly.
    const next = roots[i + 1];
    if (next === undefined) break;
    if (equalBytes(root.path, next.path)) {
      throw new Failure("E_SOURCE_NESTED", `source ${pathText(next.path)} is named twice`);
    }
    if (isBelow(root.path, next.path)) {
      throw new Failure("E_SOURCE_NESTED", `source ${pathText(next.path)} lies inside source ${pathText(root.path)}`);
    }
  }
  return roots;
}

function canonical(path: string): Uint8Array {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (!path.startsWith("/") || names.includes("..") || path.includes("\0")) {
    throw new Failure("E_CONFIG", `source "${path}" is not an absolute path without ..`);
  }
  return new TextEncoder().encode(`/${names.join("/")}`);
}

/**
 * The roots that are there. Throws Failure E_SOURCE_MISSING for one that is missing or unreadable (missing and optional
 * ones are passed over) or a socket, E_SOURCE_LINK for one that is a symbolic link: it would be all that is saved.
 */
export function checkSources(source: FileSource, roots: readonly SourceRoot[]): SourceRoot[] {
  try {
    return roots.filter((root) => checkSource(source, root));
  } finally {
    source.close();
  }
}

/** True when the root is there and can be read; throws as checkSources does. */
function checkSource(source: FileSource, root: SourceRoot): boolean {
  const stat = lstatRoot(source, root);
  if (stat === undefined) return false;
  if (stat.type === "symlink") throw linkFailure(source, root);
  if (stat.type === "socket") throw socketFailure(root);
  try {
    if (stat.type === "directory") peek(source, root.path);
    else if (stat.type === "file") source.open(root.path).close();
  } catch (error) {
    throw unreadableRoot(root.path, error);
  }
  return true;
}

/** What lies at a root; undefined when nothing does and it is optional. */
export function lstatRoot(source: FileSource, root: SourceRoot): Stat | undefined {
  try {
    return source.lstat(root.path);
  } catch (error) {
    const gone = errnoName(error) === "ENOENT" || errnoName(error) === "ENOTDIR";
    if (gone && root.optional) return undefined;
    throw gone ? missing(root.path, "does not exist", error) : unreadableRoot(root.path, error);
  }
}

/** Failure E_SOURCE_MISSING for an error of the system; any other error as it is. */
export function unreadableRoot(path: Uint8Array, error: unknown): unknown {
  return missing(path, "cannot be read", error);
}

function missing(path: Uint8Array, what: string, error: unknown): unknown {
  const errno = errnoName(error);
  if (errno === undefined) return error;
  return new Failure("E_SOURCE_MISSING", `source ${pathText(path)} ${what} (${errno})`, { cause: error });
}

function linkFailure(source: FileSource, root: SourceRoot): Failure {
  const target = pathText(source.readlink(root.path));
  return new Failure("E_SOURCE_LINK", `source ${pathText(root.path)} is a symbolic link to ${target}`);
}

function socketFailure({ path }: SourceRoot): Failure {
  const hint = "Name files and directories: the program that listens on a socket makes it anew.";
  return new Failure("E_SOURCE_MISSING", `source ${pathText(path)} is a socket, which no archive can hold`, { hint });
}

/** Thrown by `peek` to end a listing after the first name. */
const ENOUGH: unique symbol = Symbol("enough");

/** Throws when the directory cannot be listed; reads no more of it than the first batch. */
function peek(source: FileSource, path: Uint8Array): void {
  try {
    source.names(path, () => {
      throw ENOUGH;
    });
  } catch (error) {
    if (error !== ENOUGH) throw error;
  }
}
