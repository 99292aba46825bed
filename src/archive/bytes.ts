/** Helpers for names and paths, which are raw bytes here: never decoded, compared byte by byte. */

export const SLASH = 0x2f;

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/**
 * Order of paths in an archive: component by component, bytes compared, a directory before its contents. A slash
 * counts as less than every other byte, which is the same thing in one pass.
 */
export function comparePaths(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const x = a[i] ?? 0;
    const y = b[i] ?? 0;
    if (x !== y) return (x === SLASH ? -1 : x) - (y === SLASH ? -1 : y);
  }
  return a.length - b.length;
}

/** True when `path` lies below the directory `parent` (not when they are equal). Both absolute, without a trailing slash. */
export function isBelow(parent: Uint8Array, path: Uint8Array): boolean {
  if (parent.length === 1) return path.length > 1;
  return path.length > parent.length && path[parent.length] === SLASH && hasPrefix(path, parent, parent.length);
}

/** True when the first `length` bytes of both are equal. */
export function hasPrefix(a: Uint8Array, b: Uint8Array, length: number): boolean {
  if (a.length < length || b.length < length) return false;
  // From the end: paths of one directory differ there first.
  for (let i = length - 1; i >= 0; i -= 1) if (a[i] !== b[i]) return false;
  return true;
}
