/**
 * The last stretch of a session: Finish went to the store, and the agent hears of the phases until there is an answer.
 * It decides nothing: the result is the store's.
 */
import { every, type Clock, type Timer } from "#base/clock.ts";
import { type Failure, toFailure } from "#base/errors.ts";
import type { SessionStore } from "#store/session-store.ts";
import type { CommitAnswer, FinishPhase, SessionProof } from "#store/session-types.ts";
import { PHASE_PERIOD_MS, PHASE_STEP_MS } from "./limits.ts";
import type { Link } from "./link.ts";
import type { ServerMetrics } from "./server-metrics.ts";

export type FinishResult =
  | { readonly kind: "committed"; readonly answer: CommitAnswer }
  | { readonly kind: "failed"; readonly failure: Failure };

export interface FinishingHost {
  readonly clock: Clock;
  readonly metrics: ServerMetrics;
  /** A session that finishes comes into another phase. */
  readonly onPhase?: (session: string, phase: FinishPhase) => void;
}

/** `done` of `total` bytes. */
export interface PhaseProgress {
  readonly phase: FinishPhase;
  readonly done: number;
  readonly total: number;
}

export class Finishing {
  /** Never rejects. */
  readonly result: Promise<FinishResult>;
  readonly #clock: Clock;
  readonly #host: FinishingHost;
  readonly #session: string;
  readonly #main: () => Link | undefined;
  readonly #timer: Timer;
  #phase: PhaseProgress;
  #toldAtMs = 0;

  /** Starts at once. `main` is the session connection as long as it should hear of phases. */
  constructor(host: FinishingHost, store: SessionStore, proof: SessionProof, main: () => Link | undefined) {
    const { clock } = host;
    this.#clock = clock;
    this.#host = host;
    this.#session = store.session;
    this.#main = main;
    const total = proof.files.reduce((sum, file) => sum + file.bytes, 0);
    this.#phase = { phase: "hashing", done: 0, total };
    host.onPhase?.(this.#session, "hashing");
    this.#timer = every(clock, PHASE_PERIOD_MS, () => this.#tell());
    this.#tell();
    this.result = this.#run(store, proof);
  }

  get phase(): PhaseProgress {
    return this.#phase;
  }

  /** Nobody is told anything any more: the process ends while the disk does not answer. */
  stop(): void {
    this.#timer.cancel();
  }

  /** A session connection came back: it hears where things stand. */
  tell(link: Link): void {
    const { phase, ...progress } = this.#phase;
    // To the agent rotation is part of the commit: the protocol has no word for it.
    if (!link.blocked) link.send("phase", { phase: phase === "rotating" ? "committing" : phase, ...progress });
  }

  async #run(store: SessionStore, proof: SessionProof): Promise<FinishResult> {
    try {
      const startedAtMs = this.#clock.now();
      const answer = await store.finish(proof, (phase, done, total) => this.#on({ phase, done, total }));
      this.#host.metrics.committed(this.#clock.now() - startedAtMs);
      return { kind: "committed", answer };
    } catch (error) {
      return { kind: "failed", failure: toFailure(error) };
    } finally {
      this.#timer.cancel();
    }
  }

  #on(phase: PhaseProgress): void {
    const isNew = phase.phase !== this.#phase.phase;
    this.#phase = phase;
    if (isNew) this.#host.onPhase?.(this.#session, phase.phase);
    if (isNew || this.#clock.now() - this.#toldAtMs >= PHASE_STEP_MS) this.#tell();
  }

  #tell(): void {
    this.#toldAtMs = this.#clock.now();
    const main = this.#main();
    if (main !== undefined) this.tell(main);
  }
}
