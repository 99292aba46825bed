/** What a person sees on standard error while `--once` runs: progress if asked for, and lines that do not tear it. */
import type { BackupStage } from "#agent/backup-run.ts";
import type { Clock } from "#base/clock.ts";
import { safeText } from "#base/safe-text.ts";
import { ProgressDisplay } from "#cli/progress-display.ts";
import { progressFigures } from "./agent-progress.ts";

export interface OnceDisplayOptions {
  readonly clock: Clock;
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number };
  /** `--progress` */
  readonly progress: boolean;
}

export class OnceDisplay {
  readonly #options: OnceDisplayOptions;
  #display: ProgressDisplay | undefined;
  #stage: BackupStage = { stage: "connecting" };
  #startedAtMs = 0;
  #retries = 0;

  constructor(options: OnceDisplayOptions) {
    this.#options = options;
  }

  /** The run came to another stage; the first one of an entry starts its display. */
  stage(stage: BackupStage): void {
    const before = this.#stage.stage;
    this.#stage = stage;
    if (stage.stage === "retrying") this.#retries += 1;
    if (this.#options.progress) this.#display ??= this.#start();
    else if (stage.stage === "queued") this.note(`waiting in the server's queue, position ${stage.position}\n`);
    // Said again every half minute, for hours.
    else if (stage.stage === "deferred" && before !== "deferred")
      this.note(`${safeText(stage.failure.message)}: waiting until it has time\n`);
  }

  /** The entry's run is over. */
  finish(): void {
    this.#display?.stop();
    this.#display = undefined;
    this.#retries = 0;
  }

  /** Writes a whole text, with its line ends. */
  note(text: string): void {
    if (this.#display === undefined) this.#options.stderr.write(text);
    else this.#display.note(text);
  }

  #start(): ProgressDisplay {
    const { clock, stderr } = this.#options;
    this.#startedAtMs = clock.now();
    return new ProgressDisplay({
      clock,
      write: (text) => stderr.write(text),
      columns: stderr.isTTY === true ? () => stderr.columns ?? 80 : undefined,
      figures: () => progressFigures(this.#stage, clock.now() - this.#startedAtMs, this.#retries),
    });
  }
}
