/** Paths as an index has them. */
import { SLASH } from "./bytes.ts";

/** A path as an index has it, from one as people and other archives write it: `/srv/`, `./srv`, `srv//`. `..` is kept. */
export function indexPath(path: Uint8Array): Uint8Array {
  const names: Uint8Array[] = [];
  let start = 0;
  for (let i = 0; i <= path.length; i += 1) {
    if (i < path.length && path[i] !== SLASH) continue;
    const name = path.subarray(start, i);
    if (name.length > 0 && !(name.length === 1 && name[0] === DOT)) names.push(name);
    start = i + 1;
  }
  return joinNames(names);
}

const DOT = 0x2e;

/** Names with slashes between them. */
export function joinNames(names: readonly Uint8Array[]): Uint8Array {
  const length = names.reduce((total, name) => total + name.length + 1, 0);
  const joined = new Uint8Array(Math.max(0, length - 1));
  let at = 0;
  for (const name of names) {
    if (at > 0) joined[at - 1] = SLASH;
    joined.set(name, at);
    at += name.length + 1;
  }
  return joined;
}
