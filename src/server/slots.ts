/**
 * The slot table of a session: which numbered place for a stream is in which state, and the generation that fences a
 * slot's older connections. Pure: it knows no connections and sends nothing.
 *
 *     state          join        goodbye   broke          disable    enable
 *     idle           receiving   -         -              disabled   -
 *     receiving      receiving   idle      disconnected   disabled   -
 *     disconnected   receiving   -         -              disabled   -
 *     disabled       refused     -         -              -          idle
 *
 * `join` in state receiving is a takeover. goodbye and broke name the generation of the connection they happened to;
 * those of an older one change nothing.
 */
import { assert, must } from "#base/assert.ts";

export type SlotState = "idle" | "receiving" | "disconnected" | "disabled";

/** One slot, for the session's log, status and user interface. */
export interface SlotView {
  readonly slot: number;
  readonly state: SlotState;
  /** Of the newest connection; 0 before the first. */
  readonly generation: number;
  /** Connections that followed one that broke. */
  readonly reconnects: number;
  /** Connections that followed one that said Goodbye. */
  readonly rotations: number;
}

interface Slot {
  state: SlotState;
  generation: number;
  reconnects: number;
  rotations: number;
  /** How the last connection went; one that is up counts as broken when the next one takes its place. */
  left: "goodbye" | "broke";
}

export class SlotTable {
  readonly #slots: Slot[];

  /** `count` slots, numbered from 0: 1 for a session whose data uses its own connection. */
  constructor(count: number) {
    assert(Number.isInteger(count) && count >= 1 && count <= 255, `${count} slots, expected 1 to 255`);
    this.#slots = Array.from({ length: count }, () => ({
      ...{ state: "idle", generation: 0, reconnects: 0, rotations: 0, left: "broke" },
    }));
  }

  get count(): number {
    return this.#slots.length;
  }

  has(slot: number): boolean {
    return slot < this.#slots.length;
  }

  state(slot: number): SlotState {
    return this.#slot(slot).state;
  }

  generation(slot: number): number {
    return this.#slot(slot).generation;
  }

  /** A connection takes the slot. The answer is its generation; undefined when the slot is disabled. */
  join(slot: number): number | undefined {
    const entry = this.#slot(slot);
    if (entry.state === "disabled") return undefined;
    if (entry.generation > 0 && entry.left === "broke") entry.reconnects += 1;
    if (entry.left === "goodbye") entry.rotations += 1;
    entry.generation += 1;
    entry.state = "receiving";
    entry.left = "broke";
    return entry.generation;
  }

  /** The connection of `generation` is gone: `goodbye` on purpose, `broke` by accident. True if it was the current one. */
  leave(slot: number, generation: number, how: "goodbye" | "broke"): boolean {
    const entry = this.#slot(slot);
    if (entry.state !== "receiving" || entry.generation !== generation) return false;
    entry.state = how === "goodbye" ? "idle" : "disconnected";
    entry.left = how;
    return true;
  }

  disable(slot: number): void {
    this.#slot(slot).state = "disabled";
  }

  enable(slot: number): void {
    const entry = this.#slot(slot);
    if (entry.state === "disabled") entry.state = "idle";
  }

  /** How many slots have a connection. */
  get receivingCount(): number {
    return this.#slots.reduce((sum, slot) => sum + (slot.state === "receiving" ? 1 : 0), 0);
  }

  view(): SlotView[] {
    return this.#slots.map((slot, index) => ({
      slot: index,
      state: slot.state,
      generation: slot.generation,
      reconnects: slot.reconnects,
      rotations: slot.rotations,
    }));
  }

  #slot(slot: number): Slot {
    return must(this.#slots[slot], `slot ${slot} of ${this.#slots.length}`);
  }
}
