/**
 * What a verification comes to: every piece's checksums, decompression, every tar header, and the SHA-256 of the whole archive against
 * the one that was stored beside it. What is damaged is named with the files it holds, and the rest is looked at all the same. What is
 * wrong with an index is no damage of the archive, and stands apart.
 */
import { createHash } from "node:crypto";
import { isLostBytes } from "#base/errors.ts";
import { MiB } from "#base/units.ts";
import type { ArchiveAccess } from "./archive-access.ts";
import type { Damage } from "./damage.ts";
import type { TarReport } from "./tar-job.ts";

export type IndexVerdict =
  /** There is none. */
  | { readonly state: "none" }
  /** Every block of it is whole, its chunks are those of the archive, and its entries those of the tar, as far as that can be read. */
  | { readonly state: "agrees" }
  | { readonly state: "damaged"; readonly message: string }
  /** The tar is damaged in a way that leaves nothing to compare with. */
  | { readonly state: "unchecked" };

export interface Verification {
  /** Of the archive; what is wrong with its index does not count. */
  readonly ok: boolean;
  readonly index: IndexVerdict;
  /** Chunks, or what was found to be one; 0 for an archive that is one stream. */
  readonly chunks: number;
  readonly entries: number;
  readonly archiveBytes: number;
  readonly damaged: readonly Damage[];
  readonly damagedCount: number;
  /** 64 hex digits, of what lies there now. */
  readonly sha256: string;
  /** What was stored beside the archive; undefined when nothing was. */
  readonly sha256Expected: string | undefined;
}

/** SHA-256 of bytes that come in order; gaps between them are read by itself at the end. */
export class FlatHash {
  readonly #hash = createHash("sha256");
  #offset = 0;
  /** From here on bytes came out of order. */
  #gap = false;

  add(bytes: Uint8Array, offset: number): void {
    if (offset !== this.#offset) this.#gap = true;
    if (this.#gap) return;
    this.#hash.update(bytes);
    this.#offset += bytes.length;
  }

  /** The sum of all of it; undefined when not all has come, in order. */
  whole(archiveBytes: number): string | undefined {
    return this.#gap || this.#offset !== archiveBytes ? undefined : this.#hash.digest("hex");
  }

  /** Reads what is missing up to the end of the archive. Where the disk cannot be read it ends: then it is another sum. */
  async finish(access: ArchiveAccess, signal: AbortSignal): Promise<string> {
    const buffer = new Uint8Array(MiB);
    while (this.#offset < access.size && !signal.aborted) {
      const length = await readable(access, buffer, this.#offset);
      if (length === 0) break;
      this.#hash.update(buffer.subarray(0, length));
      this.#offset += length;
    }
    return this.#hash.digest("hex");
  }
}

/** 0 at the end, and where the disk has an error: which chunks that hits has been told. */
async function readable(access: ArchiveAccess, into: Uint8Array, offset: number): Promise<number> {
  try {
    return await access.read(into, offset);
  } catch (error) {
    if (!isLostBytes(error)) throw error;
    return 0;
  }
}

export function verification(
  report: TarReport,
  chunks: number,
  archiveBytes: number,
  sums: { readonly sha256: string; readonly expected: string | undefined },
  index: IndexVerdict,
): Verification {
  const sameSum = sums.expected === undefined || sums.expected === sums.sha256;
  return {
    ok: report.damageCount === 0 && sameSum,
    ...{ index, chunks },
    entries: report.entries,
    archiveBytes,
    damaged: report.damages,
    damagedCount: report.damageCount,
    sha256: sums.sha256,
    sha256Expected: sums.expected,
  };
}

/** The sum in a file as `sha256sum` writes it; undefined when there is none in it. */
export function parseSum(text: string): string | undefined {
  return /^\\?([0-9a-f]{64})[ \t]/.exec(text)?.[1];
}
