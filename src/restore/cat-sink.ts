/**
 * The content of one file of an archive, holes as zeros: to an output instead of a disk. A hard link gives what it is a link to. It goes out
 * as it comes, so of several entries of one path (`tar -r` makes such) it is the first that comes, and that is told.
 */
import type { ReadEntry } from "#archive/tar-reader-entry.ts";
import { equalBytes } from "#archive/bytes.ts";
import { Failure } from "#base/errors.ts";
import { pathText } from "#base/path-text.ts";
import type { Output } from "./output.ts";
import type { RestoreReason } from "./problems.ts";
import { safePath } from "./safe-path.ts";
import type { EntrySink } from "./tar-feed.ts";

export class CatSink implements EntrySink {
  readonly #output: Output;
  /** What the user asked for. */
  readonly #asked: Uint8Array;
  #path: Uint8Array;
  /** What this pass looks for: `#path`, until that is what a link found in it leads to. */
  #looked: Uint8Array;
  #size: number | undefined;
  #written = 0;
  #lostBytes = 0;
  /** Another entry of the path came behind the one that was taken. */
  #superseded = false;
  #state: "looking" | "writing" | "done" | "link" = "looking";

  constructor(path: Uint8Array, output: Output) {
    const safe = safePath(path);
    if (safe === undefined) throw new Failure("E_USAGE", "a path in an archive does not hold ..");
    this.#asked = safe;
    this.#path = safe;
    this.#looked = safe;
    this.#output = output;
  }

  /** The entry that another pass has to look for: what the path is a hard link to. */
  get wanted(): Uint8Array | undefined {
    return this.#state === "link" ? this.#path : undefined;
  }

  beginLinks(): void {
    this.#looked = this.#path;
    this.#state = "looking";
  }

  /** Why what is out is not the file as it was; none when it is. */
  finish(): readonly RestoreReason[] {
    if (this.#state !== "done") return ["not-in-archive"];
    const reasons: RestoreReason[] = [];
    if (this.#lostBytes > 0) reasons.push("damaged");
    if (this.#superseded) reasons.push("superseded");
    return reasons;
  }

  entry(entry: ReadEntry): void {
    const path = safePath(entry.path);
    if (path === undefined || !equalBytes(path, this.#looked)) return;
    const target = entry.type === "hardlink" ? safePath(entry.linkTarget ?? path) : undefined;
    // A link to itself changes nothing: what it names is there already.
    if (entry.type === "hardlink" && (target === undefined || equalBytes(target, path))) return;
    if (this.#state !== "looking") {
      this.#superseded = true;
    } else if (target !== undefined) {
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
    // Whether what is not found was never there is for who knows the damages to say.
  }
}
