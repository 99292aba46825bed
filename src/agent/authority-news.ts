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
  /** Takes those of these into use that are in the CA file and not in use yet, whoever brought them: true if there are any. Throws Failure. */
  readonly use: (successions: readonly Succession[]) => boolean;
  /** The place of the newest one of these that is in use, from 1; 0: none is. */
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

  /** True when a CA is in use that was not. Never throws. */
  heard(successions: readonly Succession[]): boolean {
    this.#heard = successions;
    return this.again();
  }

  /** The place of the newest one in use among those that the server has told of, from 1; 0: none; undefined: it has told of none. */
  get trusted(): number | undefined {
    return this.#trusted;
  }

  /** Somebody has mended something, perhaps. */
  again(): boolean {
    if (this.#heard.length === 0) return false;
    const isNew = this.#options.enabled() && this.#use();
    this.#trusted = this.#options.known(this.#heard);
    return isNew;
  }

  /** What is in the file is used also when nothing could be added, or the adding failed after it was done. */
  #use(): boolean {
    this.#trying(() => this.#trust());
    let isNew = false;
    this.#trying(() => {
      isNew = this.#options.use(this.#heard);
    });
    return isNew;
  }

  #trust(): void {
    const names = this.#options.trust(this.#heard);
    if (names.length === 0) return;
    this.#options.events.emit({
      ...{ kind: "certificate.authority-added", level: "info", fields: { authorities: names } },
      message: `the CA has a successor, for which it has vouched; both are trusted now: ${names.join(", ")}`,
    });
  }

  #trying(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#failed(toFailure(error));
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
