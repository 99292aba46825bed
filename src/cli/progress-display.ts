/**
 * Shows progress while a run goes on: redraws one line on a terminal, writes a line now and then elsewhere. Knows nothing of
 * sessions: it asks for a snapshot. Width, clock and the place it writes to are passed in.
 */
import { type Clock, every, type Timer } from "#base/clock.ts";
import { barLine, fractionDone, plainLine, type ProgressSnapshot } from "./progress-line.ts";
import { type Rates, NO_RATES, nextRates } from "./progress-rate.ts";

export type ProgressFigures = Omit<ProgressSnapshot, "rawBytesPerSecond" | "entriesPerSecond">;

export interface ProgressDeps {
  readonly clock: Clock;
  /** Standard error. */
  readonly write: (text: string) => void;
  /** Columns of the terminal right now; undefined when it is none. */
  readonly columns: (() => number) | undefined;
  readonly figures: () => ProgressFigures;
}

/** Five times a second reads as motion and costs nothing. */
const REDRAW_MS = 200;
/** Elsewhere: a line each 10 s, or each 10 % if that comes first (but no more than one a second). */
const LOOK_MS = 1000;
const LINE_MS = 10_000;
const LINE_FRACTION = 0.1;

const CLEAR_LINE = "\r\u001b[K";

/** Starts at once; `stop` leaves a clean line behind and may be called twice. */
export class ProgressDisplay {
  readonly #deps: ProgressDeps;
  readonly #timer: Timer;
  #rates: Rates = NO_RATES;
  #lastLine: { readonly elapsedMs: number; readonly fraction: number; readonly phase: string } | undefined;
  #drawn = false;
  #stopped = false;

  constructor(deps: ProgressDeps) {
    this.#deps = deps;
    this.#look();
    this.#timer = every(deps.clock, deps.columns === undefined ? LOOK_MS : REDRAW_MS, () => this.#look());
  }

  /** Writes a whole text (with its line ends) without tearing the bar. */
  note(text: string): void {
    this.#clear();
    this.#deps.write(text);
    if (this.#deps.columns !== undefined && !this.#stopped) this.#draw(this.#snapshot());
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer.cancel();
    this.#clear();
  }

  #look(): void {
    const snapshot = this.#snapshot();
    if (this.#deps.columns !== undefined) this.#draw(snapshot);
    else if (this.#lineDue(snapshot)) this.#deps.write(`${plainLine(snapshot)}\n`);
  }

  #snapshot(): ProgressSnapshot {
    const figures = this.#deps.figures();
    this.#rates = nextRates(this.#rates, figures);
    const { rawBytesPerSecond, entriesPerSecond } = this.#rates;
    return { ...figures, rawBytesPerSecond, entriesPerSecond };
  }

  #draw(snapshot: ProgressSnapshot): void {
    this.#deps.write(`${CLEAR_LINE}${barLine(snapshot, this.#deps.columns?.() ?? 80)}`);
    this.#drawn = true;
  }

  #clear(): void {
    if (this.#drawn) this.#deps.write(CLEAR_LINE);
    this.#drawn = false;
  }

  #lineDue(snapshot: ProgressSnapshot): boolean {
    const now = {
      elapsedMs: snapshot.elapsedMs,
      fraction: fractionDone(snapshot) ?? 0,
      phase: snapshot.phase.kind,
    };
    const last = this.#lastLine;
    const due =
      last === undefined ||
      now.phase !== last.phase ||
      now.elapsedMs - last.elapsedMs >= LINE_MS ||
      now.fraction - last.fraction >= LINE_FRACTION;
    if (due) this.#lastLine = now;
    return due;
  }
}
