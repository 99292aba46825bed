/**
 * Bytes that the simulator changed on the disk behind the server's back, each at its offset in the archive or index, wherever
 * it lay then: the only difference that an archive may show. One that the server has read before the commit it may not show,
 * because what is read back is compared with what arrived.
 */
import type { FileNumber } from "#base/chunk.ts";
import type { Production } from "./production.ts";
import { storedFile } from "./stored-chunks.ts";

interface Spoil {
  readonly offset: number;
  readonly mask: number;
  /** The server has read the byte as it was then. */
  seen: boolean;
}

export class Spoils {
  /** By session and file. */
  readonly #spoils = new Map<string, Spoil[]>();
  readonly #productionOf: (session: string) => Production | undefined;

  /** `productionOf`: what the agent of a session made. */
  constructor(productionOf: (session: string) => Production | undefined) {
    this.#productionOf = productionOf;
  }

  /** A byte of a part file or of a staged chunk changes. False when it is of no chunk that was sent. */
  add(path: string, offset: number, mask: number): boolean {
    const stored = this.#locate(path);
    if (stored === undefined) return false;
    const spoils = this.#spoils.get(stored.key) ?? [];
    spoils.push({ offset: stored.start + offset, mask, seen: false });
    this.#spoils.set(stored.key, spoils);
    return true;
  }

  /** The server reads bytes of the file, whose whole content this is. The number of those that it sees spoiled for the first time. */
  read(path: string, content: Uint8Array, offset: number, length: number): number {
    if (this.#spoils.size === 0) return 0;
    const { key, start, made } = this.#locate(path) ?? {};
    if (key === undefined || start === undefined) return 0;
    let found = 0;
    for (const spoil of this.#spoils.get(key) ?? []) {
      const at = spoil.offset - start;
      if (at < offset || at >= offset + length || at >= content.length) continue;
      if (content[at] === made?.[spoil.offset] || spoil.seen) continue;
      spoil.seen = true;
      found += 1;
    }
    return found;
  }

  /**
   * Undefined when `actual` is what was expected, but for spoiled bytes; else the first offset at which it is not. `unseen`: but
   * for those that the server cannot know of.
   */
  difference(
    { session, file, which }: { readonly session: string; readonly file: FileNumber; readonly which: "all" | "unseen" },
    actual: Uint8Array,
    expected: Uint8Array,
    at = 0,
  ): number | undefined {
    if (Buffer.compare(actual, expected) === 0) return undefined;
    if (actual.length !== expected.length) return at + Math.min(actual.length, expected.length);
    const spoils = this.#spoils.get(keyOf(session, file)) ?? [];
    const excuses = which === "all" ? spoils : spoils.filter(({ seen }) => !seen);
    for (let index = 0; index < actual.length; index += 1) {
      const wrong = (actual[index] ?? 0) ^ (expected[index] ?? 0);
      if (wrong !== 0 && !mayBe(excuses, at + index, wrong)) return at + index;
    }
    return undefined;
  }

  /** Bytes of the session's archive were changed. */
  has(session: string): boolean {
    return this.#spoils.has(keyOf(session, 0));
  }

  /** Where the file begins in its archive or index. */
  #locate(path: string): { readonly key: string; readonly start: number; readonly made: Buffer } | undefined {
    const stored = storedFile(path);
    const production = stored === undefined ? undefined : this.#productionOf(stored.session);
    if (stored === undefined || production === undefined) return undefined;
    const { session, file, sequence } = stored;
    const start = sequence === undefined ? 0 : production.chunkStart(file, sequence);
    return { key: keyOf(session, file), start, made: production.bytes(file) };
  }
}

/** True when some of the changes at that byte, which may have been written over in between, make this difference. */
function mayBe(spoils: readonly Spoil[], offset: number, wrong: number): boolean {
  const masks = spoils.filter((spoil) => spoil.offset === offset).map(({ mask }) => mask);
  let reachable = new Set([0]);
  for (const mask of masks) reachable = new Set([...reachable, ...[...reachable].map((each) => each ^ mask)]);
  return reachable.has(wrong);
}

function keyOf(session: string, file: FileNumber): string {
  return `${session} ${file}`;
}
