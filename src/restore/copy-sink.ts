/**
 * `--stdout-tar`: the wanted entries as a tar, byte for byte as they are in the archive, headers, attributes and holes included. What is
 * missing of a file is filled up with zeros, so that the rest stays in step.
 */
import { blocks, END_BYTES } from "#archive/tar-format.ts";
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { HeldBytes } from "./held-bytes.ts";
import type { Output } from "./output.ts";
import { safePath } from "./safe-path.ts";
import { HEADERS_BYTES_MAX } from "./seen-entries.ts";
import type { Selection } from "./selection.ts";
import type { EntrySink } from "./tar-feed.ts";
import type { TreeCounts, TreeProblem } from "./tree-options.ts";

export class CopySink implements EntrySink {
  readonly #output: Output;
  readonly #selection: Selection;
  readonly #problem: TreeProblem;
  /** Bytes of the stream from `#at` on that nobody has decided about: headers of the next entry. */
  readonly #held: HeldBytes;
  #at = 0;
  /** Of the entry in hand: where it ends, and whether it is wanted. */
  #end: number | undefined;
  #wanted = false;
  #path: Uint8Array | undefined;
  readonly counts: TreeCounts = { restored: 0, kept: 0, bytes: 0, deleted: 0 };

  constructor(selection: Selection, output: Output, problem: TreeProblem, held: HeldBytes = new HeldBytes()) {
    this.#held = held;
    this.#selection = selection;
    this.#output = output;
    this.#problem = problem;
  }

  /** The next bytes of the tar stream, before the reader gets them. */
  raw(bytes: Uint8Array, at: number): void {
    const isNext = at === this.#at + this.#held.length;
    // While the reader looks for a header, what lies further back than headers reach is part of none.
    this.#drop(isNext ? Math.max(0, this.#held.length - HEADERS_BYTES_MAX) : this.#held.length);
    if (!isNext) this.#at = at;
    this.#held.append(bytes);
  }

  /** The reader has taken what `raw` brought. */
  taken(): void {
    if (this.#end !== undefined) this.#pass(Math.min(this.#end, this.#at + this.#held.length));
  }

  /** Bytes of the stream that do not come. */
  rawMissing(length: number): void {
    if (this.#end !== undefined) {
      const zeros = Math.min(length, this.#end - this.#at);
      if (this.#wanted) this.#output.zeros(zeros);
    }
    this.#drop(this.#held.length);
    this.#at += length;
  }

  entry(entry: ReadEntry): void {
    this.#wanted = false;
    this.#pass(entry.headersAt);
    const path = safePath(entry.path) ?? entry.path;
    this.#wanted = this.#selection.has(path);
    this.#end = entry.dataAt + blocks(entry.storedBytes);
    this.#path = path;
    if (!this.#wanted) return;
    this.counts.restored += 1;
    this.counts.bytes += entry.storedBytes;
    const target = entry.type === "hardlink" && entry.linkTarget !== undefined ? safePath(entry.linkTarget) : undefined;
    if (target !== undefined && !this.#selection.covers(target)) this.#problem(path, "link-without-target");
  }

  data(): void {
    // It is copied with all that is around it.
  }

  lost(): void {
    if (this.#wanted && this.#path !== undefined) this.#problem(this.#path, "damaged");
    this.#path = undefined;
  }

  entryEnd(): void {
    if (this.#end !== undefined) this.#pass(this.#end);
    this.#end = undefined;
    this.#wanted = false;
  }

  incomplete(): void {
    // What is missing is said by the damages.
  }

  finish(): void {
    this.#output.zeros(END_BYTES);
  }

  /** Gives out, or drops, what is held up to `offset`. */
  #pass(offset: number): void {
    const length = Math.min(Math.max(0, offset - this.#at), this.#held.length);
    if (this.#wanted && length > 0) this.#output.write(this.#held.first(length));
    this.#drop(length);
  }

  #drop(length: number): void {
    this.#held.drop(length);
    this.#at += length;
  }
}
