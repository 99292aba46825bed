/** What a compress thread does: takes a raw chunk in a slab, leaves the compressed one in its place, and says so. */
import { must } from "#base/assert.ts";
import { sealChunk } from "#compress/seal.ts";
import type { CompressStart, FromCompress, ToCompress } from "./pipeline-messages.ts";
import { applyPriority } from "./pipeline-priority.ts";

export class CompressThread {
  readonly #post: (message: FromCompress) => void;
  #start: CompressStart | undefined;
  #slabs: readonly Uint8Array[] = [];

  constructor(post: (message: FromCompress) => void) {
    this.#post = post;
  }

  /** Errors are thrown: the main thread hears of them as the death of this thread. */
  handle(message: ToCompress): void {
    if (message.type === "start") {
      this.#start = message;
      this.#slabs = message.memory.slabs.map((slab) => new Uint8Array(slab));
      applyPriority(message.priority);
      return;
    }
    const { compression } = must(this.#start, "the start message");
    const slab = must(this.#slabs[message.slab], "a slab");
    this.#post({ type: "sealed", slab: message.slab, ...sealChunk(slab, message.rawLength, compression) });
  }
}
