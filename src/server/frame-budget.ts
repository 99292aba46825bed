/**
 * How many control frames a connection may still send: a burst, then a steady rate. Pure. Without it a peer with a
 * valid certificate could keep the server busy with Pings.
 */
import { CONTROL_FRAME_BYTES, CONTROL_FRAMES_BURST, CONTROL_FRAMES_PER_SECOND } from "./limits.ts";

export class FrameBudget {
  #left = CONTROL_FRAMES_BURST;
  #countedAtMs: number;

  constructor(nowMs: number) {
    this.#countedAtMs = nowMs;
  }

  /** What a frame asked for was done, and no faster than this side wanted to: it is not one of the too many. */
  give(): void {
    this.#left = Math.min(CONTROL_FRAMES_BURST, this.#left + 1);
  }

  /** True when one more frame of so many bytes is within the budget. */
  take(nowMs: number, bytes: number): boolean {
    const earned = ((nowMs - this.#countedAtMs) / 1000) * CONTROL_FRAMES_PER_SECOND;
    this.#left = Math.min(CONTROL_FRAMES_BURST, this.#left + earned);
    this.#countedAtMs = nowMs;
    const cost = 1 + Math.floor(bytes / CONTROL_FRAME_BYTES);
    if (this.#left < cost) return false;
    this.#left -= cost;
    return true;
  }
}
