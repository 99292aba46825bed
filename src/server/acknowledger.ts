/**
 * When a session says Sack, on which connection, and what was lost. PROTOCOL.md "Acknowledgement": at once when the
 * durable point moved, a chunk was lost or the last one arrived, else at most SACK_DELAY_MS after a chunk. A Sack is
 * made when it is sent, never queued, so a peer that reads slowly gets fewer and newer ones.
 */
import type { FileNumber } from "#base/chunk.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { LOST_CHUNKS_MAX, SACK_DELAY_MS } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import type { Link } from "./link.ts";

type Sack = Message<"sack">;

export interface AckSource {
  /** The session connection when it is up, else one of the streams, else undefined. */
  carrier(): Link | undefined;
  /** What the store knows now; `lost` is filled in here. */
  state(): Omit<Sack, "lost">;
}

export class Acknowledger {
  readonly #clock: Clock;
  readonly #source: AckSource;
  #timer: Timer | undefined;
  /** Something is new that no Sack has said. */
  #due = false;
  #stopped = false;
  /** Insertion order; each chunk once. */
  readonly #lost = new Map<string, readonly [FileNumber, number]>();

  constructor(clock: Clock, source: AckSource) {
    this.#clock = clock;
    this.#source = source;
  }

  /** A chunk arrived: the agent hears of it within SACK_DELAY_MS. */
  received(): void {
    if (this.#stopped) return;
    this.#due = true;
    this.#timer ??= this.#clock.after(SACK_DELAY_MS, () => this.#send());
  }

  /** The durable point moved, or something else that must not wait. */
  urgent(): void {
    if (this.#stopped) return;
    this.#due = true;
    this.#send();
  }

  lost(file: FileNumber, sequence: number): void {
    if (this.#stopped) return;
    this.#lost.set(`${file}:${sequence}`, [file, sequence]);
    this.urgent();
  }

  /** A Sack on this very connection: a heartbeat, or its first frame. Without the lost ones, which go on the carrier. */
  beat(link: Link): void {
    if (this.#stopped || link.blocked) return;
    const state = this.#source.state();
    link.send("sack", { ...state, lost: [] }, state.generation);
  }

  /** A connection that was blocked takes frames again. */
  drained(): void {
    if (this.#due) this.#send();
  }

  /** A new generation begins: what its first Sack does not call received will be sent again, lost or not. */
  renew(): void {
    this.#lost.clear();
    this.urgent();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #send(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const carrier = this.#source.carrier();
    // Without a connection it stays due: the next one begins with a Sack.
    if (this.#stopped || carrier === undefined || carrier.blocked) return;
    const lost = [...this.#lost.values()].slice(0, LOST_CHUNKS_MAX);
    for (const [file, sequence] of lost) this.#lost.delete(`${file}:${sequence}`);
    this.#due = this.#lost.size > 0;
    const state = this.#source.state();
    carrier.send("sack", { ...state, lost: lost.map(([file, sequence]) => [file, sequence]) }, state.generation);
    if (this.#due) this.#timer = this.#clock.after(SACK_DELAY_MS, () => this.#send());
  }
}
