/**
 * When a session says Sack, on which connection, and what was lost. PROTOCOL.md "Acknowledgement": at once when the
 * durable point moved, a chunk was lost or the last one arrived, else at most SACK_DELAY_MS after a chunk. A Sack is
 * made when it is sent, never queued, so a peer that reads slowly gets fewer and newer ones.
 */
import type { FileNumber } from "#base/chunk.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { LOST_CHUNKS_MAX, SACK_DELAY_MS } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import { SACK_GAP_MS } from "./limits.ts";
import type { Link } from "./link.ts";

type Sack = Message<"sack">;

export interface AckSource {
  /** The session connection when it is up, else one of the streams, else undefined. */
  carrier(): Link | undefined;
  /** What the store knows now; `lost` is filled in here. */
  state(): Omit<Sack, "lost">;
}

/** A chunk that was named as lost, or is to be, and has not been received since. */
interface Lost {
  readonly file: FileNumber;
  readonly sequence: number;
  /** Where the agent was told: when that connection is over it may not have heard. */
  toldOn: Link | undefined;
}

export class Acknowledger {
  readonly #clock: Clock;
  readonly #source: AckSource;
  #timer: Timer | undefined;
  #dueAtMs = 0;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  /** Something is new that no Sack has said. */
  #due = false;
  #stopped = false;
  /** In the order of loss; each chunk once. */
  readonly #lost = new Map<string, Lost>();

  constructor(clock: Clock, source: AckSource) {
    this.#clock = clock;
    this.#source = source;
  }

  /** A chunk arrived: the agent hears of it within SACK_DELAY_MS. */
  received(file: FileNumber, sequence: number): void {
    if (this.#lost.size > 0) this.#lost.delete(keyOf(file, sequence));
    this.#within(SACK_DELAY_MS);
  }

  /** The durable point moved, or something else that must not wait. */
  urgent(): void {
    this.#within(0);
  }

  lost(file: FileNumber, sequence: number): void {
    this.#lost.set(keyOf(file, sequence), { file, sequence, toldOn: undefined });
    this.#within(0);
  }

  /** The first frame after Welcome: the agent sends no Data before it. */
  greet(link: Link): void {
    if (!this.#stopped) this.#say(link);
  }

  /** A heartbeat on this very connection. */
  beat(link: Link): void {
    if (!this.#stopped && !link.blocked) this.#say(link);
  }

  /** A connection came, or takes frames again: what waited for one may go out now. */
  moved(): void {
    if (this.#due || this.#untold().length > 0) this.#within(0);
  }

  stop(): void {
    this.#stopped = true;
    this.#lost.clear();
    this.#timer?.cancel();
  }

  /** However many reasons there are, SACK_GAP_MS lie between two Sacks. */
  #within(delayMs: number): void {
    if (this.#stopped) return;
    this.#due = true;
    const nowMs = this.#clock.now();
    const dueAtMs = Math.max(nowMs + delayMs, this.#sentAtMs + SACK_GAP_MS);
    if (dueAtMs <= nowMs) {
      this.#send();
      return;
    }
    if (this.#timer !== undefined && this.#dueAtMs <= dueAtMs) return;
    this.#timer?.cancel();
    this.#dueAtMs = dueAtMs;
    this.#timer = this.#clock.after(dueAtMs - nowMs, () => this.#send());
  }

  #send(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const carrier = this.#source.carrier();
    // Without a connection it stays due: the next one begins with a Sack.
    if (this.#stopped || carrier === undefined || carrier.blocked) return;
    this.#say(carrier);
  }

  /** What was lost is said on the carrier alone: said on each connection it would be sent again as often. */
  #say(link: Link): void {
    const onCarrier = link === this.#source.carrier();
    const lost = onCarrier ? this.#untold() : [];
    for (const chunk of lost) chunk.toldOn = link;
    if (onCarrier) {
      this.#due = false;
      this.#sentAtMs = this.#clock.now();
    }
    link.send("sack", { ...this.#source.state(), lost: lost.map(({ file, sequence }) => [file, sequence]) });
    if (lost.length === LOST_CHUNKS_MAX) this.#within(0);
  }

  /** The oldest that the agent cannot be supposed to know, as many as a Sack may name. */
  #untold(): Lost[] {
    const untold: Lost[] = [];
    for (const chunk of this.#lost.values()) {
      if (chunk.toldOn?.over === false) continue;
      untold.push(chunk);
      if (untold.length === LOST_CHUNKS_MAX) break;
    }
    return untold;
  }
}

function keyOf(file: FileNumber, sequence: number): string {
  return `${file}:${sequence}`;
}
