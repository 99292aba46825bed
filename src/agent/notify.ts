/**
 * Tells a URL of the result of a run, as healthchecks services want it: a POST there after a success, to `…/fail` after a
 * failure. Nothing that happens here is the backup's problem, and no URL is ever logged: they are what proves who calls.
 */
import { type BackoffLimits, backoffDelayMs } from "#base/backoff.ts";
import { type Clock, sleep } from "#base/clock.ts";
import { errnoName } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { formatDuration, formatSize } from "#base/units.ts";
import type { BackupEntryConfig, NotifyConfig } from "#config/types.ts";
import type { BackupResult } from "./result.ts";

export interface PostRequest {
  readonly url: string;
  /** UTF-8 text. */
  readonly body: string;
  readonly signal: AbortSignal;
}

/** Resolves with the HTTP status; rejects with what the system says. */
export type Post = (request: PostRequest) => Promise<number>;

const ATTEMPTS_MAX = 3;
const ATTEMPT_MS = 10_000;
const BACKOFF: BackoffLimits = { initialDelayMs: 2_000, maxDelayMs: 30_000 };
const BODY_CHARACTERS_MAX = 2_000;

export interface NotifierOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly post: Post;
}

export class Notifier {
  readonly #options: NotifierOptions;
  readonly #stop = new AbortController();
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /** Begins to tell; does nothing when the entry does not want it. */
  tell(entry: BackupEntryConfig, result: BackupResult): void {
    const { notify } = entry;
    const url = notify === undefined ? undefined : urlFor(notify, result);
    if (url === undefined) return;
    const telling = this.#tell(entry.name, url, messageOf(result)).finally(() => this.#underWay.delete(telling));
    this.#underWay.add(telling);
  }

  /** Resolves when everything was told or given up; never rejects. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** What is under way is given up. */
  stop(): void {
    this.#stop.abort();
  }

  async #tell(backup: string, url: string, body: string): Promise<void> {
    const { clock, random, log } = this.#options;
    const { signal } = this.#stop;
    let reason = "";
    for (let attempt = 0; attempt < ATTEMPTS_MAX && !signal.aborted; attempt += 1) {
      if (attempt > 0) await sleep(clock, backoffDelayMs(BACKOFF, attempt - 1, random.unit()), signal);
      if (signal.aborted) break;
      const outcome = await this.#attempt(url, body);
      if (outcome === undefined) return;
      reason = outcome;
    }
    // The host is no secret; the path may be.
    log.warn("a result could not be told", {
      backup,
      host: new URL(url).host,
      reason: signal.aborted ? "stopped" : reason,
    });
  }

  /** Undefined when it was taken, else why not, in words that hold nothing of the URL. */
  async #attempt(url: string, body: string): Promise<string | undefined> {
    const { clock, post } = this.#options;
    const limit = new AbortController();
    const abort = (): void => limit.abort();
    const timer = clock.after(ATTEMPT_MS, abort);
    this.#stop.signal.addEventListener("abort", abort, { once: true });
    try {
      const status = await post({ url, body, signal: limit.signal });
      return status >= 200 && status < 300 ? undefined : `status ${status}`;
    } catch (error) {
      if (limit.signal.aborted) return `no answer within ${formatDuration(ATTEMPT_MS)}`;
      return errnoName(error) ?? (error instanceof Error ? error.name : "an error");
    } finally {
      timer.cancel();
      this.#stop.signal.removeEventListener("abort", abort);
    }
  }
}

/** Where the result is to be told; undefined: nowhere. Who interrupts a run knows of it. */
function urlFor(notify: NotifyConfig, result: BackupResult): string | undefined {
  if (result.failure === undefined) return notify.on.success ? notify.url : undefined;
  return notify.on.failure && result.failure?.code !== "E_INTERRUPTED" ? notify.failureUrl : undefined;
}

/** A few lines for people. */
function messageOf(result: BackupResult): string {
  const { backup, storage, failure, problemCount, durationMs } = result;
  const lines =
    failure === undefined
      ? [
          `${backup} → ${storage}: committed in ${formatDuration(durationMs)}`,
          `${result.archive ?? ""}, ${formatSize(result.archiveBytes)} of ${formatSize(result.rawBytes)}, ${result.entries} entries`,
          ...(problemCount > 0 ? [`${problemCount} source files could not be read as they are`] : []),
        ]
      : [`${backup} → ${storage}: failed after ${formatDuration(durationMs)}`, ...[String(failure), failure.hint]];
  return `${lines.join("\n").slice(0, BODY_CHARACTERS_MAX)}\n`;
}
