/**
 * Looks over a msgpack value before a library builds objects of it: how deep it nests and whether the sizes that it
 * declares are there. A few bytes that announce millions of elements must not allocate them. It builds nothing and
 * judges no meaning: that is the schemas' part.
 */
import { Failure } from "#base/errors.ts";

/** Maps and lists inside each other; the deepest message (Sack: map, files, file, received, range) needs 5. */
export const MESSAGE_DEPTH_MAX = 8;

/** Throws Failure E_PROTOCOL unless `bytes` is exactly one msgpack value, whole, within MESSAGE_DEPTH_MAX. */
export function guardMsgpack(bytes: Uint8Array): void {
  const end = skimValues(bytes);
  if (end !== bytes.length) throw bad(`${bytes.length - end} bytes after its end`);
}

/** Walks over one value without recursion: `open[d]` values are still to come at depth d. */
function skimValues(bytes: Uint8Array): number {
  const open = [1];
  let at = 0;
  while (open.length > 0) {
    const depth = open.length - 1;
    const left = open[depth] ?? 0;
    if (left === 0) {
      open.pop();
      continue;
    }
    open[depth] = left - 1;
    const head = readHead(bytes, at);
    at = head.next;
    if (at > bytes.length) throw bad("it ends in the middle of a value");
    if (head.children === 0) continue;
    // Every child takes a byte at least, so a larger count is a lie that shall not be believed by an allocation.
    if (head.children > bytes.length - at)
      throw bad(`${head.children} elements announced in ${bytes.length - at} bytes`);
    if (open.length >= MESSAGE_DEPTH_MAX) throw bad(`nested deeper than ${MESSAGE_DEPTH_MAX}`);
    open.push(head.children);
  }
  return at;
}

interface Head {
  /** Where the next value starts: after this scalar, or after the head of this map or list. */
  readonly next: number;
  /** Values that follow and belong to it: elements of a list, keys and values of a map. */
  readonly children: number;
}

/** Judges the value that starts at `at` by its first bytes. Ranges and sizes as the msgpack specification has them. */
function readHead(bytes: Uint8Array, at: number): Head {
  const first = byteAt(bytes, at);
  if (first <= 0x7f || first >= 0xe0) return scalar(at + 1);
  if (first <= 0x8f) return { next: at + 1, children: (first & 0x0f) * 2 };
  if (first <= 0x9f) return { next: at + 1, children: first & 0x0f };
  if (first <= 0xbf) return scalar(at + 1 + (first & 0x1f));
  switch (first) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return scalar(at + 1);
    case 0xc4: // bin 8, str 8
    case 0xd9:
      return scalar(at + 2 + uintAt(bytes, at + 1, 1));
    case 0xc5: // bin 16, str 16
    case 0xda:
      return scalar(at + 3 + uintAt(bytes, at + 1, 2));
    case 0xc6: // bin 32, str 32
    case 0xdb:
      return scalar(at + 5 + uintAt(bytes, at + 1, 4));
    case 0xcc: // uint 8, int 8
    case 0xd0:
      return scalar(at + 2);
    case 0xcd: // uint 16, int 16
    case 0xd1:
      return scalar(at + 3);
    case 0xca: // float 32, uint 32, int 32
    case 0xce:
    case 0xd2:
      return scalar(at + 5);
    case 0xcb: // float 64, uint 64, int 64
    case 0xcf:
    case 0xd3:
      return scalar(at + 9);
    case 0xdc:
      return { next: at + 3, children: uintAt(bytes, at + 1, 2) };
    case 0xdd:
      return { next: at + 5, children: uintAt(bytes, at + 1, 4) };
    case 0xde:
      return { next: at + 3, children: uintAt(bytes, at + 1, 2) * 2 };
    case 0xdf:
      return { next: at + 5, children: uintAt(bytes, at + 1, 4) * 2 };
    default:
      // Extension types, and the byte that msgpack never uses.
      throw bad(`type byte 0x${first.toString(16)} is not used by nbackup`);
  }
}

function scalar(next: number): Head {
  return { next, children: 0 };
}

function uintAt(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = 0; i < length; i += 1) value = value * 256 + byteAt(bytes, at + i);
  return value;
}

function byteAt(bytes: Uint8Array, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw bad("it ends in the middle of a value");
  return byte;
}

function bad(what: string): Failure {
  return new Failure("E_PROTOCOL", `payload is not the msgpack that nbackup speaks: ${what}`);
}
