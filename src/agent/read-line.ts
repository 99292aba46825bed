/**
 * Keeps a read connection up for as long as a command runs: what was under way when it broke is asked for again on the next one, with
 * the usual backoff, until it works or nothing has for too long. A command that cannot even begin hears why at once.
 */
import type { BackoffLimits } from "#base/backoff.ts";
import { sleep } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import type { Random } from "#base/random.ts";
import { type HandshakeDeps, openLink } from "./handshake.ts";
import { ReadLink } from "./read-link.ts";
import { retryDelayMs } from "./retry-delay.ts";

export interface ReadLineOptions {
  readonly deps: HandshakeDeps & { readonly random: Random };
  readonly backoff: BackoffLimits;
  /** Nothing was answered for so long. */
  readonly giveUpAfterMs: number;
  /** The command is interrupted. */
  readonly signal: AbortSignal;
  /** It broke, and comes again by itself; once until something works again. */
  readonly onTrouble: (failure: Failure) => void;
}

/** The first new attempt comes almost at once: most breaks are short. Up to so much, by chance. */
const FIRST_DELAY_MS_MAX = 200;

export class ReadLine {
  readonly #options: ReadLineOptions;
  #link: ReadLink | undefined;
  #opening: Promise<ReadLink> | undefined;
  /** What failed together waits together. */
  #pausing: Promise<void> | undefined;
  /** Something was answered: what fails from now on may be tried again. */
  #worked = false;
  #workedAtMs: number;
  /** Failures since. */
  #attempt = 0;
  #closed = false;

  constructor(options: ReadLineOptions) {
    this.#options = options;
    this.#workedAtMs = options.deps.clock.now();
    options.signal.addEventListener("abort", () => this.#link?.destroy(interrupted()), { once: true });
  }

  /**
   * What `work` gives with a connection that is up, after as many attempts as it takes. Rejects with what is not a Failure at once, and with
   * Failures that trying again cannot mend, or has not for `giveUpAfterMs`.
   */
  async call<T>(work: (link: ReadLink) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        const value = await work(await this.#up());
        this.#works();
        return value;
      } catch (error) {
        if (!(error instanceof Failure) || !this.#mayRetry(error)) throw error;
        await this.#pause(error);
      }
    }
  }

  /** Nobody asks any more. */
  close(): void {
    this.#closed = true;
    this.#link?.end();
  }

  #works(): void {
    this.#worked = true;
    this.#workedAtMs = this.#options.deps.clock.now();
    this.#attempt = 0;
  }

  #mayRetry(failure: Failure): boolean {
    const { deps, giveUpAfterMs, signal } = this.#options;
    if (signal.aborted || this.#closed) return false;
    return this.#worked && failure.retryable && deps.clock.now() - this.#workedAtMs < giveUpAfterMs;
  }

  async #pause(failure: Failure): Promise<void> {
    this.#pausing ??= this.#wait(failure).finally(() => {
      this.#pausing = undefined;
    });
    await this.#pausing;
    if (this.#options.signal.aborted) throw interrupted();
  }

  #wait(failure: Failure): Promise<void> {
    const { deps, backoff, onTrouble, signal } = this.#options;
    const attempt = this.#attempt;
    this.#attempt += 1;
    if (attempt === 0) onTrouble(failure);
    const unit = deps.random.unit();
    const soon = attempt === 0 && failure.retryAfterMs === undefined;
    const delayMs = soon ? unit * FIRST_DELAY_MS_MAX : retryDelayMs(backoff, failure, Math.max(0, attempt - 1), unit);
    return sleep(deps.clock, delayMs, signal);
  }

  async #up(): Promise<ReadLink> {
    if (this.#options.signal.aborted) throw interrupted();
    if (this.#closed) throw new Failure("E_DISCONNECTED", "the read connection was closed");
    if (this.#link !== undefined) return this.#link;
    this.#opening ??= this.#dial().finally(() => {
      this.#opening = undefined;
    });
    return await this.#opening;
  }

  async #dial(): Promise<ReadLink> {
    const { deps, signal } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<ReadLink>();
    openLink(
      deps,
      { role: "read" },
      {
        name: "read connection",
        signal,
        welcomed: ({ link }) => {
          const made: ReadLink = new ReadLink(link, () => {
            if (this.#link === made) this.#link = undefined;
          });
          this.#link = made;
          resolve(made);
        },
      },
    ).catch(reject);
    const link = await promise;
    if (this.#closed) link.end();
    return link;
  }
}

function interrupted(): Failure {
  return new Failure("E_INTERRUPTED", "interrupted");
}
