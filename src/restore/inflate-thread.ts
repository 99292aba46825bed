/** What a decompressing thread does: one piece in a slot at a time. */
import { must } from "#base/assert.ts";
import { type InflateSpec, inflatePiece } from "./inflate.ts";
import type { PieceFault } from "./piece.ts";
import { type Slot, type SlotMemory, viewSlots } from "./slots.ts";

export type ToInflate =
  | { readonly type: "start"; readonly slots: readonly SlotMemory[] }
  | { readonly type: "inflate"; readonly slot: number; readonly storedLength: number; readonly spec: InflateSpec };

export interface FromInflate {
  readonly slot: number;
  readonly outcome: number | PieceFault;
}

export class InflateThread {
  readonly #post: (message: FromInflate) => void;
  #slots: readonly Slot[] = [];

  constructor(post: (message: FromInflate) => void) {
    this.#post = post;
  }

  /** Errors are thrown: the main thread hears of them as the death of this thread. */
  handle(message: ToInflate): void {
    if (message.type === "start") {
      this.#slots = viewSlots(message.slots);
      return;
    }
    const { stored, raw } = must(this.#slots[message.slot], "a slot");
    const outcome = inflatePiece(stored.subarray(0, message.storedLength), message.spec, raw);
    this.#post({ slot: message.slot, outcome });
  }
}
