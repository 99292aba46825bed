/**
 * Names of an archive as paths below a target: without slashes at either end, without `.` and empty components. What leads upwards
 * is refused. Says nothing of what lies on the disk: symbolic links on the way are the business of directory-stack.ts.
 */
import { SLASH } from "#archive/bytes.ts";

const DOT = 0x2e;

/** The path, raw bytes; empty for the target itself. Undefined when a component is `..`: no honest archive has one. */
export function safePath(name: Uint8Array): Uint8Array | undefined {
  if (isClean(name)) return name;
  const kept = new Uint8Array(name.length);
  let length = 0;
  let start = 0;
  while (start < name.length) {
    const slash = name.indexOf(SLASH, start);
    const end = slash < 0 ? name.length : slash;
    const size = end - start;
    const dots = size > 0 && size <= 2 && name[start] === DOT && name[end - 1] === DOT;
    if (dots && size === 2) return undefined;
    if (size > 0 && !dots) {
      if (length > 0) kept[length++] = SLASH;
      for (let i = start; i < end; i += 1) kept[length++] = name[i] ?? 0;
    }
    start = end + 1;
  }
  return kept.subarray(0, length);
}

/** True when every component is a plain name, which nearly all are. */
function isClean(name: Uint8Array): boolean {
  let start = 0;
  for (let i = 0; i <= name.length; i += 1) {
    const byte = i === name.length ? SLASH : name[i];
    if (byte === 0) return false;
    if (byte !== SLASH) continue;
    if (i === start || (name[start] === DOT && i - start <= 2 && name[i - 1] === DOT)) return false;
    start = i + 1;
  }
  return true;
}

/** Without its first `count` components; undefined when nothing is left. */
export function stripComponents(path: Uint8Array, count: number): Uint8Array | undefined {
  let start = 0;
  for (let i = 0; i < count; i += 1) {
    const slash = path.indexOf(SLASH, start);
    if (slash < 0) return undefined;
    start = slash + 1;
  }
  return start === path.length ? undefined : path.subarray(start);
}

/** Where the last component begins. */
export function nameStart(path: Uint8Array): number {
  return path.lastIndexOf(SLASH) + 1;
}
