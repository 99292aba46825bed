/**
 * New CAs of which the server tells on the control channel. What may be believed of that, and how it gets into the CA file, is the caller's
 * (#pki/authority-file.ts); here it is tried when it is told, and again at a reload, and said once a day when it does not work.
 */
import type { Clock } from "#base/clock.ts";
import { type Failure, toFailure } from "#base/errors.ts";
import type { EventSink } from "#observe/events.ts";
import type { Succession } from "#pki/succession.ts";

export interface AuthorityNewsOptions {
  readonly clock: Clock;
  readonly events: EventSink;
  /** `tls.renew`, asked each time. */
  readonly enabled: () => boolean;
  /** Trusts from now on what is to be trusted of these, and returns its names. Throws Failure. */
  readonly trust: (successions: readonly Succession[]) => readonly string[];
  /** How many of these are trusted, whoever brought them. Throws Failure. */
  readonly known: (successions: readonly Succession[]) => number;
}

const DAY_MS = 86_400_000;

export class AuthorityNews {
  readonly #options: AuthorityNewsOptions;
  #heard: readonly Succession[] = [];
  #trusted: number | undefined;
  #toldMs: number | undefined;

  constructor(options: AuthorityNewsOptions) {
    this.#options = options;
  }

  /** True when a CA is trusted that was not. Never throws. */
  heard(successions: readonly Succession[]): boolean {
    this.#heard = successions;
    return this.again();
  }

  /** How many of those that the server has told of are trusted; undefined: it has told of none, or the file cannot be read. */
  get trusted(): number | undefined {
    return this.#trusted;
  }

  /** Somebody has mended something, perhaps. */
  again(): boolean {
    if (this.#heard.length === 0) return false;
    const isNew = this.#options.enabled() && this.#trust();
    try {
      this.#trusted = this.#options.known(this.#heard);
    } catch {
      this.#trusted = undefined; // What is wrong with the file is told by who uses it.
    }
    return isNew;
  }

  #trust(): boolean {
    const { events, trust } = this.#options;
    try {
      const names = trust(this.#heard);
      if (names.length === 0) return false;
      events.emit({
        ...{ kind: "certificate.authority-added", level: "info", fields: { authorities: names } },
        message: `the CA has a successor, for which it has vouched; both are trusted now: ${names.join(", ")}`,
      });
      return true;
    } catch (error) {
      this.#failed(toFailure(error));
      return false;
    }
  }

  #failed({ code, message, hint }: Failure): void {
    const { clock, events } = this.#options;
    if (this.#toldMs !== undefined && clock.now() - this.#toldMs < DAY_MS) return;
    this.#toldMs = clock.now();
    events.emit({
      ...{ kind: "certificate.authority-refused", level: "warn", fields: { code, hint } },
      message: `a new CA of the server is not trusted: ${message}`,
    });
  }
}
