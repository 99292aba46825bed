/**
 * Whether a connection is alive, and when something must be said on it. PROTOCOL.md "Liveness": any byte proves life;
 * 20 s of silence are death, not counting the time in which this side was not reading; something is sent at least every
 * 5 s. Control connections have a pace of their own. It holds one timer per connection and touches no socket.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { HEARTBEAT_MS, PROBE_TIMEOUT_MS, SILENCE_MAX_MS } from "#wire/limits.ts";

export interface LivenessEvents {
  /** At least at every heartbeat, however much is said and heard. */
  tick(): void;
  /** Nothing was said for a heartbeat: say something. */
  beat(): void;
  /** Nothing was heard for too long a time of reading. */
  silent(): void;
}

/** A timer that fires later than this shows that the whole process stood still: time in which it did not read either. */
const LATE_MS_MAX = 1_000;

interface Probe {
  readonly pingId: number;
  readonly sinceReadingMs: number;
  readonly answer: (alive: boolean) => void;
}

export class Liveness {
  readonly #clock: Clock;
  readonly #events: LivenessEvents;
  #timer: Timer | undefined;
  #dueAtMs = 0;
  #saidAtMs: number;
  /** On the reading clock, which stands still while this side does not read. */
  #heardAtMs: number;
  #pausedSinceMs: number | undefined;
  #pausedTotalMs = 0;
  #probes: Probe[] = [];
  #stopped = false;
  #heartbeatMs = HEARTBEAT_MS;
  #silenceMsMax = SILENCE_MAX_MS;

  constructor(clock: Clock, events: LivenessEvents) {
    this.#clock = clock;
    this.#events = events;
    this.#saidAtMs = clock.now();
    this.#heardAtMs = this.#readingMs();
    this.#arm();
  }

  /** Bytes came. */
  heard(): void {
    this.#heardAtMs = this.#readingMs();
  }

  /** The Ping of this id was answered. */
  ponged(pingId: number): void {
    const answered = this.#probes.filter((probe) => pingId >= probe.pingId);
    this.#probes = this.#probes.filter((probe) => pingId < probe.pingId);
    for (const probe of answered) probe.answer(true);
  }

  /** Something was sent that counts as a heartbeat. */
  said(): void {
    this.#saidAtMs = this.#clock.now();
  }

  /** Another pace from now on. */
  pace(heartbeatMs: number, silenceMsMax: number): void {
    this.#heartbeatMs = heartbeatMs;
    this.#silenceMsMax = silenceMsMax;
    this.#arm();
  }

  /** This side stopped reading. */
  pause(): void {
    this.#pausedSinceMs ??= this.#clock.now();
  }

  resume(): void {
    if (this.#pausedSinceMs === undefined) return;
    this.#pausedTotalMs += this.#clock.now() - this.#pausedSinceMs;
    this.#pausedSinceMs = undefined;
    this.#arm();
  }

  /**
   * Whether the peer lives: true as soon as it answers the Ping of this id, false when the connection ends. After
   * PROBE_TIMEOUT_MS of reading it lives if bytes still come: the Pong may stand behind a chunk on a slow line, but what
   * was on its way before a peer died is here long before.
   */
  probe(pingId: number): Promise<boolean> {
    if (this.#stopped) return Promise.resolve(false);
    return new Promise((answer) => {
      this.#probes.push({ pingId, sinceReadingMs: this.#readingMs(), answer });
      this.#arm();
    });
  }

  /** The connection is over. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    const probes = this.#probes;
    this.#probes = [];
    for (const probe of probes) probe.answer(false);
  }

  /** So much of the time since the timer was due was no time of reading. What came before this timer did was heard now. */
  #stoodStill(lateMs: number): void {
    this.#pausedTotalMs += lateMs;
    const readingMs = this.#readingMs();
    this.#heardAtMs = Math.min(this.#heardAtMs, readingMs);
    this.#probes = this.#probes.map((probe) => ({
      ...probe,
      sinceReadingMs: Math.min(probe.sinceReadingMs, readingMs),
    }));
  }

  /** Milliseconds spent reading, from the clock's origin. */
  #readingMs(): number {
    return (this.#pausedSinceMs ?? this.#clock.now()) - this.#pausedTotalMs;
  }

  /** One timer for whatever is due next; what happened meanwhile is looked at when it fires. */
  #arm(): void {
    this.#timer?.cancel();
    if (this.#stopped) return;
    let dueMs = this.#saidAtMs + this.#heartbeatMs - this.#clock.now();
    if (this.#pausedSinceMs === undefined) {
      const readingMs = this.#readingMs();
      dueMs = Math.min(dueMs, this.#heardAtMs + this.#silenceMsMax - readingMs);
      for (const probe of this.#probes) dueMs = Math.min(dueMs, probe.sinceReadingMs + PROBE_TIMEOUT_MS - readingMs);
    }
    const delayMs = Math.max(0, Math.ceil(dueMs));
    this.#dueAtMs = this.#clock.now() + delayMs;
    this.#timer = this.#clock.after(delayMs, () => this.#fire());
  }

  #fire(): void {
    const lateMs = this.#clock.now() - this.#dueAtMs;
    if (lateMs > LATE_MS_MAX && this.#pausedSinceMs === undefined) this.#stoodStill(lateMs);
    this.#events.tick();
    if (this.#stopped) return;
    if (this.#pausedSinceMs === undefined) {
      const readingMs = this.#readingMs();
      if (readingMs - this.#heardAtMs >= this.#silenceMsMax) {
        this.#events.silent();
        return;
      }
      const late = this.#probes.filter((probe) => readingMs - probe.sinceReadingMs >= PROBE_TIMEOUT_MS);
      this.#probes = this.#probes.filter((probe) => !late.includes(probe));
      for (const probe of late) probe.answer(readingMs - this.#heardAtMs < PROBE_TIMEOUT_MS / 2);
    }
    if (this.#clock.now() - this.#saidAtMs >= this.#heartbeatMs) {
      this.#saidAtMs = this.#clock.now();
      this.#events.beat();
    }
    this.#arm();
  }
}
