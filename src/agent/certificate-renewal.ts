/**
 * Renews the agent's certificate while the daemon runs: when a third of its life is left it makes a new key, asks the server over the
 * control channel, and has the new pair put in the place of the old one. How that is done on the disk is the caller's
 * (#pki/agent-pair.ts), and so is its use. A failure costs nothing: the old certificate goes on, and tomorrow is another day.
 */
import type { Clock, Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { EventSink, ObservedEvent } from "#observe/events.ts";
import { isoSeconds } from "#pki/purpose.ts";
import { type CertificateLife, renewalDueMs } from "#pki/renewal.ts";

/** What the connection to the server gives. */
export interface RenewalChannel {
  /** Whether the server renews certificates; undefined while it is not connected, or has not said. */
  readonly renews: boolean | undefined;
  /** Resolves with PEM. */
  renew(certificateRequest: Uint8Array): Promise<string>;
}

export interface RenewalOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: EventSink;
  /** `tls.renew`, asked each time: a reload may change it. */
  readonly enabled: () => boolean;
  /** The certificate in use. */
  readonly current: () => CertificateLife;
  readonly channel: RenewalChannel;
  /**
   * Before one is asked for: throws why a new pair could not be put in its place. When another one lies there than is in use (an earlier
   * one was only half in its place, because the disk failed; somebody brought one), it completes that, uses it from now on, and returns it.
   */
  readonly prepare: () => CertificateLife | undefined;
  /** A new key and the request for it. */
  readonly makeRequest: () => { readonly keyPem: string; readonly requestDer: Uint8Array };
  /** Proves the pair, puts it in its place and uses it from now on; returns what is in use then. Throws, and then nothing has changed. */
  readonly install: (certPem: string, keyPem: string) => CertificateLife;
}

const DAY_MS = 86_400_000;
/** Timers stand still while a machine sleeps, and clocks are set: looked at in between. */
const LOOK_MS = 3_600_000;
/** A connection that broke is back in minutes. */
const SOON_MS = 600_000;
const MINUTE_MS = 60_000;
/** With less left a failure is an error: somebody has to do something. */
const URGENT_MS = 7 * DAY_MS;

/** Nothing is wrong but the moment. */
const PASSING: ReadonlySet<string> = new Set(["E_DISCONNECTED", "E_TIMEOUT", "E_SHUTDOWN", "E_LIMIT"]);

export class CertificateRenewal {
  readonly #options: RenewalOptions;
  #timer: Timer | undefined;
  /** Not before. */
  #nextTryMs = 0;
  /** What the last try came to nothing for was that the server does not renew. */
  #unoffered = false;
  #busy = false;
  #stopped = false;
  /** Kept until it is in use: the server gives the same answer to the same request, lost on the way or not usable here yet. */
  #pending: ReturnType<RenewalOptions["makeRequest"]> | undefined;
  /** By code, when it was told. */
  readonly #told = new Map<string, number>();

  constructor(options: RenewalOptions) {
    this.#options = options;
  }

  start(): void {
    this.look();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Somebody has mended something, perhaps: what is due is tried at once, whatever failed before. */
  again(): void {
    this.#nextTryMs = 0;
    this.look();
  }

  /** Something changed: the connection, or what the server offers. Does what is due. */
  look(): void {
    if (this.#stopped || this.#busy) return;
    const { clock, enabled, current, channel } = this.#options;
    const waitMs = enabled() ? renewalDueMs(current()) - clock.wall() : LOOK_MS;
    if (this.#unoffered && channel.renews === true) this.#nextTryMs = 0;
    const due = waitMs <= 0 && clock.now() >= this.#nextTryMs;
    if (due && channel.renews === true) void this.#renew();
    else if (due && channel.renews === false) this.#notOffered();
    // Without a connection `look` is called when there is one.
    else if (due) this.#lookAgain(LOOK_MS);
    else this.#lookAgain(Math.max(waitMs, this.#nextTryMs - clock.now()));
  }

  #notOffered(): void {
    this.#unoffered = true;
    this.#failed(notOffered());
  }

  async #renew(): Promise<void> {
    this.#busy = true;
    this.#unoffered = false;
    try {
      const renewed = this.#options.prepare() ?? (await this.#exchange());
      if (renewed === undefined) return;
      // Never again: the key is in use.
      this.#pending = undefined;
      this.#told.clear();
      this.#options.events.emit(certificateRenewed(renewed));
      this.#lookAgain(LOOK_MS);
    } catch (error) {
      this.#failed(toFailure(error));
    } finally {
      this.#busy = false;
    }
  }

  /** Undefined when the agent is stopping. */
  async #exchange(): Promise<CertificateLife | undefined> {
    const { channel, install, makeRequest } = this.#options;
    this.#pending ??= makeRequest();
    const { keyPem, requestDer } = this.#pending;
    const certPem = await channel.renew(requestDer);
    return this.#stopped ? undefined : install(certPem, keyPem);
  }

  #failed(failure: Failure): void {
    if (this.#stopped) return;
    const { clock, log } = this.#options;
    const leftMs = this.#options.current().notAfterMs - clock.wall();
    const passing = PASSING.has(failure.code);
    // A short life is not waited out: an agent must come back in time however little there is.
    const usualMs = passing ? (failure.retryAfterMs ?? SOON_MS) : DAY_MS;
    this.#nextTryMs = clock.now() + Math.max(MINUTE_MS, Math.min(usualMs, DAY_MS, leftMs / 20));
    this.#lookAgain(this.#nextTryMs - clock.now());
    if (passing) log.debug("the certificate could not be renewed now", { code: failure.code, reason: failure.message });
    else this.#tell(failure, leftMs);
  }

  /** Once a day and not more, whatever the pause. */
  #tell(failure: Failure, leftMs: number): void {
    const { clock, events } = this.#options;
    const toldMs = this.#told.get(failure.code);
    if (toldMs !== undefined && clock.now() - toldMs < DAY_MS) return;
    this.#told.set(failure.code, clock.now());
    const { code, message, hint } = failure;
    events.emit({
      kind: "certificate.renewal-failed",
      level: leftMs < URGENT_MS ? "error" : "warn",
      message: `the certificate could not be renewed: ${message}`,
      fields: { code, hint, daysLeft: Math.max(0, Math.floor(leftMs / DAY_MS)) },
    });
  }

  #lookAgain(waitMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(Math.min(LOOK_MS, Math.max(1, waitMs)), () => this.look());
  }
}

/** What a server without the CA's key is not asked. */
export function notOffered(): Failure {
  const hint =
    "Set tls.ca_key in its server.yaml, or renew by hand: nbackup-server pki renew NAME where the CA's key is, then bring both files here.";
  return new Failure("E_RENEWAL", "the server does not renew certificates", { hint });
}

export function certificateRenewed({ notAfterMs }: CertificateLife): ObservedEvent {
  const notAfter = isoSeconds(notAfterMs);
  return {
    ...{ kind: "certificate.renewed", level: "info", fields: { notAfter } },
    message: `this agent has a new certificate, valid until ${notAfter}`,
  };
}
