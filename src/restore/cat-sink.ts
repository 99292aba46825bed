/** The content of one file of an archive, holes as zeros: to an output instead of a disk. A hard link gives what it is a link to. */
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { equalBytes } from "#archive/bytes.ts";
import { Failure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import type { Output } from "./output.ts";
import { safePath } from "./safe-path.ts";
import type { EntrySink } from "./tar-feed.ts";

export class CatSink implements EntrySink {
  readonly #output: Output;
  /** What the user asked for. */
  readonly #asked: Uint8Array;
  #path: Uint8Array;
  #size: number | undefined;
  #written = 0;
  #lostBytes = 0;
  #state: "looking" | "writing" | "done" | "link" = "looking";

  constructor(path: Uint8Array, output: Output) {
    const safe = safePath(path);
    if (safe === undefined) throw new Failure("E_USAGE", "a path in an archive does not hold ..");
    this.#asked = safe;
    this.#path = safe;
    this.#output = output;
  }

  /** The entry that another pass has to look for: what the path is a hard link to. */
  get wanted(): Uint8Array | undefined {
    return this.#state === "link" ? this.#path : undefined;
  }

  beginLinks(): void {
    this.#state = "looking";
  }

  /** True when all of it is out as it was. Throws Failure when there is nothing to put out. */
  finish(): boolean {
    if (this.#state === "done") return this.#lostBytes === 0;
    throw new Failure("E_PATH_UNKNOWN", `${pathText(this.#asked)}: the archive has no file of that name`);
  }

  entry(entry: ReadEntry): void {
    if (this.#state !== "looking") return;
    const path = safePath(entry.path);
    if (path === undefined || !equalBytes(path, this.#path)) return;
    if (entry.type === "hardlink") {
      const target = safePath(entry.linkTarget ?? path);
      if (target === undefined || equalBytes(target, path)) return;
      this.#path = target;
      this.#state = "link";
    } else if (entry.type === "file") {
      this.#size = entry.size;
      this.#state = "writing";
    } else {
      throw new Failure("E_PATH_UNKNOWN", `${pathText(this.#asked)} is no file but a ${entry.type}`, {
        hint: "Restore it instead.",
      });
    }
  }

  data(bytes: Uint8Array, offset: number): void {
    if (this.#state !== "writing") return;
    this.#output.zeros(offset - this.#written);
    this.#output.write(bytes);
    this.#written = offset + bytes.length;
  }

  lost(_offset: number, length: number): void {
    if (this.#state === "writing") this.#lostBytes += length;
  }

  entryEnd(): void {
    if (this.#state !== "writing") return;
    this.#output.zeros((this.#size ?? 0) - this.#written);
    this.#state = "done";
  }

  incomplete(): void {
    // A file that is not found is said not to be there, and the damage is reported beside it.
  }
}
