/**
 * The names of the directories a walk is in, sorted, in bounded memory whatever their number: one buffer for all of them,
 * used as a stack. Where the names of a directory do not fit, the smallest that fit are kept; where those of the deepest
 * directory need room, the ones above give theirs up. Either way the level answers "again" when it has run out, and the
 * directory is listed once more for the names behind the last one. The order of names comes out the same. Knows no paths.
 */
import { assert, must } from "#base/assert.ts";
import { keepLight } from "#base/light-code.ts";
import { MiB } from "#base/units.ts";
import { sortNames } from "./name-sort.ts";
import type { OnName } from "./source.ts";

/** A million names of 15 bytes in one go; a larger directory is listed more than once. */
const NAMES_BYTES_MAX = 16 * MiB;
const NAMES_COUNT_MAX = MiB;

/** Calls `onName` for each name of a directory, in any order. */
export type Lister = (onName: OnName) => void;

/** What `next` found: a name, no more names, or nothing more in memory (`refill` lists again). */
export type NextName = "name" | "end" | "again";

interface Level {
  /** Where this level's bytes and index entries begin. */
  byteBase: number;
  nameBase: number;
  nameEnd: number;
  nameNext: number;
  /** False when the directory may have names behind the last one held. */
  complete: boolean;
}

export interface NameStackLimits {
  readonly bytesMax: number;
  readonly namesMax: number;
}

export class NameStack {
  /** The name found last: `bytes[nameStart..nameEnd)`. */
  readonly bytes: Uint8Array;
  nameStart = 0;
  nameEnd = 0;
  readonly #starts: Uint32Array;
  readonly #limits: NameStackLimits;
  readonly #levels: Level[] = [];
  #byteTop = 0;
  #nameTop = 0;
  /** While listing: names not behind `#after` and, once some were dropped, names behind `#cut` are not wanted. */
  #after: Uint8Array | undefined;
  #cut: Uint8Array | undefined;

  constructor(limits: NameStackLimits = { bytesMax: NAMES_BYTES_MAX, namesMax: NAMES_COUNT_MAX }) {
    assert(limits.namesMax >= 4 && limits.bytesMax >= 64 * 1024, "too little memory for names");
    this.#limits = limits;
    // Untouched pages cost nothing: only what a walk really needs becomes resident.
    this.bytes = new Uint8Array(limits.bytesMax);
    this.#starts = new Uint32Array(limits.namesMax);
    keepLight(this.next, this.#add);
  }

  get depth(): number {
    return this.#levels.length;
  }

  /** Enters a directory. When `list` throws, what it gave before is kept as if it were all, and the error passed on. */
  push(list: Lister): void {
    const level: Level = {
      byteBase: this.#byteTop,
      nameBase: this.#nameTop,
      nameEnd: this.#nameTop,
      nameNext: this.#nameTop,
      complete: true,
    };
    this.#levels.push(level);
    this.#collect(level, list, undefined);
  }

  /** Lists the deepest directory again, for the names behind `after`; the answer to "again". Throws as `push` does. */
  refill(list: Lister, after: Uint8Array): void {
    const level = this.#top();
    assert(level.nameNext === level.nameEnd && !level.complete, "refilled a level that still has names");
    this.#byteTop = level.byteBase;
    this.#nameTop = level.nameBase;
    this.#collect(level, list, new Uint8Array(after));
  }

  /** Moves to the next name of the deepest directory. */
  next(): NextName {
    const level = this.#top();
    if (level.nameNext === level.nameEnd) return level.complete ? "end" : "again";
    this.nameStart = this.#starts[level.nameNext] ?? 0;
    this.nameEnd = this.bytes.indexOf(0, this.nameStart);
    level.nameNext += 1;
    return "name";
  }

  /** Leaves the deepest directory. */
  pop(): void {
    const level = this.#top();
    this.#byteTop = level.byteBase;
    this.#nameTop = level.nameBase;
    this.#levels.pop();
  }

  #top(): Level {
    return must(this.#levels.at(-1), "a directory on the stack");
  }

  #collect(level: Level, list: Lister, after: Uint8Array | undefined): void {
    this.#after = after;
    this.#cut = undefined;
    level.complete = true;
    try {
      list((bytes, start, end) => this.#add(level, bytes, start, end));
    } finally {
      sortNames(this.bytes, this.#starts, level.nameBase, this.#nameTop);
      this.#dropEqual(level);
      level.nameNext = level.nameBase;
      level.nameEnd = this.#nameTop;
    }
  }

  #add(level: Level, bytes: Uint8Array, start: number, end: number): void {
    if (this.#after !== undefined && compareTo(bytes, start, end, this.#after) <= 0) return;
    if (this.#cut !== undefined && compareTo(bytes, start, end, this.#cut) > 0) return;
    assert(end > start && end - start < this.#limits.bytesMax / 4, "a name of impossible length");
    while (!this.#fits(end - start)) this.#makeRoom(level);
    if (this.#cut !== undefined && compareTo(bytes, start, end, this.#cut) > 0) return;
    let at = this.#byteTop;
    this.#starts[this.#nameTop] = at;
    for (let i = start; i < end; i += 1) this.bytes[at++] = bytes[i] ?? 0;
    this.bytes[at] = 0;
    this.#byteTop = at + 1;
    this.#nameTop += 1;
  }

  #fits(length: number): boolean {
    return this.#byteTop + length + 1 <= this.#limits.bytesMax && this.#nameTop < this.#limits.namesMax;
  }

  #makeRoom(level: Level): void {
    if (level.nameBase > 0) this.#evictAbove(level);
    else this.#keepSmallerHalf(level);
  }

  /** The directories above give up the names they have not come to yet, and list again when the walk is back. */
  #evictAbove(level: Level): void {
    for (const above of this.#levels) {
      if (above === level) continue;
      if (above.nameNext < above.nameEnd) above.complete = false;
      above.byteBase = 0;
      above.nameBase = 0;
      above.nameNext = 0;
      above.nameEnd = 0;
    }
    this.bytes.copyWithin(0, level.byteBase, this.#byteTop);
    for (let i = level.nameBase; i < this.#nameTop; i += 1) {
      this.#starts[i - level.nameBase] = (this.#starts[i] ?? 0) - level.byteBase;
    }
    this.#byteTop -= level.byteBase;
    this.#nameTop -= level.nameBase;
    level.byteBase = 0;
    level.nameBase = 0;
  }

  /** Keeps the smaller half of the names seen so far; the directory will be listed again for the rest. */
  #keepSmallerHalf(level: Level): void {
    const starts = this.#starts;
    sortNames(this.bytes, starts, 0, this.#nameTop);
    const kept = Math.max(1, this.#nameTop >> 1);
    const last = starts[kept - 1] ?? 0;
    this.#cut = this.bytes.slice(last, this.bytes.indexOf(0, last));
    level.complete = false;
    // In the order they lie in memory, each can be moved down over the dropped ones.
    starts.subarray(0, kept).sort();
    let at = 0;
    for (let i = 0; i < kept; i += 1) {
      const start = starts[i] ?? 0;
      const end = this.bytes.indexOf(0, start) + 1;
      this.bytes.copyWithin(at, start, end);
      starts[i] = at;
      at += end - start;
    }
    this.#byteTop = at;
    this.#nameTop = kept;
  }

  /** A directory changed while it was listed can give a name twice. */
  #dropEqual(level: Level): void {
    let kept = level.nameBase;
    for (let i = level.nameBase; i < this.#nameTop; i += 1) {
      const start = this.#starts[i] ?? 0;
      if (kept > level.nameBase && this.#sameName(this.#starts[kept - 1] ?? 0, start)) continue;
      this.#starts[kept] = start;
      kept += 1;
    }
    this.#nameTop = kept;
  }

  #sameName(a: number, b: number): boolean {
    for (let i = 0; ; i += 1) {
      const byte = this.bytes[a + i];
      if (byte !== this.bytes[b + i]) return false;
      if (byte === 0) return true;
    }
  }
}

/** Less than 0, 0 or more than 0: `bytes[start..end)` against `name`. */
function compareTo(bytes: Uint8Array, start: number, end: number, name: Uint8Array): number {
  const length = Math.min(end - start, name.length);
  for (let i = 0; i < length; i += 1) {
    const difference = (bytes[start + i] ?? 0) - (name[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return end - start - name.length;
}
