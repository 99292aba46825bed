/**
 * The memory that a piece goes through: its stored bytes, and what they decompress to. Shared between threads, so that nothing is copied
 * from one to another. Pages that no piece has needed cost nothing.
 */

/** What is posted to a thread to let it in. */
export interface SlotMemory {
  readonly stored: SharedArrayBuffer;
  readonly raw: SharedArrayBuffer;
}

export interface Slot {
  readonly number: number;
  readonly stored: Uint8Array;
  readonly raw: Uint8Array;
}

export function makeSlots(count: number, storedBytes: number, rawBytes: number): readonly SlotMemory[] {
  return Array.from({ length: count }, () => ({
    stored: new SharedArrayBuffer(storedBytes),
    raw: new SharedArrayBuffer(rawBytes),
  }));
}

export function viewSlots(memory: readonly SlotMemory[]): readonly Slot[] {
  return memory.map(({ stored, raw }, number) => ({
    number,
    stored: new Uint8Array(stored),
    raw: new Uint8Array(raw),
  }));
}
