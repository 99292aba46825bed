/**
 * The agent's control connection: opened when the daemon starts, kept up for as long as it runs, opened again with backoff when
 * it breaks. It tells what the agent is at and passes on what the server asks for. Sessions neither need it nor notice it.
 * PROTOCOL.md "Control".
 */
import { backoffDelayMs } from "#base/backoff.ts";
import type { Clock, Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { ControlChannelConfig } from "#config/types.ts";
import type { ControlView } from "#observe/views.ts";
import type { Succession } from "#pki/succession.ts";
import { failureFromFields, wireText } from "#wire/failure.ts";
import { DISOWN_TEXT_CHARS_MAX } from "#wire/limits.ts";
import type { AnyMessage, Message } from "#wire/messages.ts";
import { ControlRenewals } from "./control-renewals.ts";
import type { FrameLink } from "./frame-link.ts";
import { type HandshakeDeps, openLink } from "./handshake.ts";

export type AgentFacts = NonNullable<Message<"ping">["agent"]>;
export type ServerFacts = NonNullable<Message<"pong">["server"]>;

/** What became of a wish to run an entry now. */
export type RunVerdict =
  { readonly accepted: true; readonly message: string } | { readonly accepted: false; readonly failure: Failure };

export interface ControlLinkOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly settings: ControlChannelConfig;
  /** Asked for at each attempt: address, name and certificates may be others by then. */
  readonly deps: () => HandshakeDeps;
  /** Asked for before each keep-alive; when it rejects the server is told what was known before. */
  readonly facts: () => Promise<Omit<AgentFacts, "rttUs" | "rttDeviationUs">>;
  readonly run: (backup: string) => RunVerdict;
  /** The server said whether it renews certificates, for the first time on this connection or anew. */
  readonly renews?: () => void;
  /** The server tells of new CAs. */
  readonly successors?: (successions: readonly Succession[]) => void;
}

/** A connection that stood so long was a good one: the next break begins with the shortest wait. */
const STEADY_MS = 60_000;
/** What changed is told after at most this long, several changes together. */
const CHANGE_DELAY_MS = 500;
/** No server keeps an agent away for longer than this at once. */
const RETRY_AFTER_MS_MAX = 3_600_000;

export class ControlLink {
  readonly #options: ControlLinkOptions;
  #settings: ControlChannelConfig;
  /** Of what is open or being opened; aborted when it is to be given up. */
  #attempt: AbortController | undefined;
  #link: FrameLink | undefined;
  #timer: Timer | undefined;
  #tellTimer: Timer | undefined;
  #failures = 0;
  #upSinceMs = 0;
  #upSinceWallMs: number | undefined;
  #told: Omit<AgentFacts, "rttUs" | "rttDeviationUs"> | undefined;
  #asking = false;
  #server: ServerFacts | undefined;
  readonly #renewals: ControlRenewals;
  #lastFailure: ControlView["lastFailure"] = null;
  #stopped = false;

  constructor(options: ControlLinkOptions) {
    this.#options = options;
    this.#settings = options.settings;
    this.#renewals = new ControlRenewals(options.clock);
  }

  start(): void {
    if (this.#settings.enabled && !this.#stopped) this.#open();
  }

  /** From now on these count. `redial`: what an attempt needs is another, so that the connection is made anew. */
  use(settings: ControlChannelConfig, redial: boolean): void {
    const before = this.#settings;
    this.#settings = settings;
    const repaced = before.keepaliveIntervalMs !== settings.keepaliveIntervalMs;
    if (before.enabled === settings.enabled && !repaced && !redial) return;
    this.#close();
    this.#failures = 0;
    this.start();
  }

  /** An attempt is made now instead of later, if one is waited for: with another certificate, for instance. */
  nudge(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#open();
  }

  /** Whether the server renews certificates; undefined while there is no connection, or it has not said. */
  get renews(): boolean | undefined {
    return this.#link === undefined || this.#server === undefined ? undefined : (this.#server.renews ?? false);
  }

  /** Asks for a certificate; resolves with its PEM. Rejects with Failure: the server's own, E_DISCONNECTED, E_TIMEOUT, E_LIMIT. */
  renew(certificateRequest: Uint8Array): Promise<string> {
    const link = this.#link;
    if (link === undefined) return Promise.reject(new Failure("E_DISCONNECTED", "the control channel is down"));
    return this.#renewals.ask(certificateRequest, (renew) => link.send("renew", renew));
  }

  /** Something began or ended: the server is told soon. */
  changed(): void {
    if (this.#link === undefined || this.#tellTimer !== undefined) return;
    this.#tellTimer = this.#options.clock.after(CHANGE_DELAY_MS, () => {
      this.#tellTimer = undefined;
      this.#tell();
    });
  }

  /** Says goodbye; nothing is opened any more. */
  stop(): void {
    this.#stopped = true;
    this.#close();
  }

  view(): ControlView {
    const rtt = this.#link?.rtt;
    const server = this.#link === undefined ? undefined : this.#server;
    return {
      enabled: this.#settings.enabled,
      connectedSinceWallMs: this.#upSinceWallMs ?? null,
      rttMs: rtt?.value ?? null,
      rttDeviationMs: rtt?.deviation ?? null,
      serverLoad: server?.loadHundredths === undefined ? null : server.loadHundredths / 100,
      serverCpus: server?.cpus ?? null,
      serverSessions: server?.sessions ?? null,
      storages: (server?.storages ?? []).map(({ name, freeBytes }) => ({ name, freeBytes: freeBytes ?? null })),
      maintenance: server?.maintenance ?? false,
      lastFailure: this.#lastFailure,
    };
  }

  #open(): void {
    const attempt = new AbortController();
    this.#attempt = attempt;
    const { keepaliveIntervalMs: keepaliveMs } = this.#settings;
    openLink(
      this.#options.deps(),
      { role: "control", keepaliveMs },
      {
        name: "control connection",
        signal: attempt.signal,
        pingFacts: () => this.#pingFacts(),
        beat: () => this.#tell(),
        welcomed: ({ link }) => this.#up(link, attempt),
      },
    ).catch((error: unknown) => this.#lost(attempt, toFailure(error)));
  }

  #up(link: FrameLink, attempt: AbortController): void {
    const { clock, log } = this.#options;
    this.#link = link;
    this.#upSinceMs = clock.now();
    this.#upSinceWallMs = clock.wall();
    this.#server = undefined;
    link.handle({
      message: (message) => {
        if (message.type === "refused") link.destroy(failureFromFields(message.body));
        else this.#message(link, message);
      },
      pong: ({ server }) => {
        const before = this.renews;
        this.#server = server ?? this.#server;
        if (server?.successors !== undefined) this.#options.successors?.(server.successors.map(copied));
        if (this.renews !== before) this.#options.renews?.();
      },
      closed: (failure) =>
        this.#lost(attempt, failure ?? new Failure("E_DISCONNECTED", "the server closed the control connection")),
    });
    link.enter("agent/control");
    log.info("the control channel is up");
    this.#tell();
  }

  /** Facts are looked up first; a disk that hangs meanwhile must not make this connection look dead. */
  #tell(): void {
    const link = this.#link;
    if (link === undefined) return;
    if (this.#asking) {
      link.ping();
      return;
    }
    this.#asking = true;
    const done = (): void => {
      this.#asking = false;
      if (this.#link === link) link.ping();
    };
    this.#options.facts().then(
      (facts) => {
        this.#told = facts;
        done();
      },
      (error: unknown) => {
        this.#options.log.warn("what the server is told cannot be looked up", { reason: toFailure(error).message });
        done();
      },
    );
  }

  /** What was looked up last. */
  #pingFacts(): { readonly agent?: AgentFacts } {
    const told = this.#told;
    if (told === undefined) return {};
    const { value, deviation } = this.#link?.rtt ?? {};
    return {
      agent: {
        ...told,
        ...(value === undefined ? {} : { rttUs: Math.round(value * 1000) }),
        ...(deviation === undefined ? {} : { rttDeviationUs: Math.round(deviation * 1000) }),
      },
    };
  }

  #message(link: FrameLink, message: AnyMessage): void {
    if (message.type === "renewAnswer") this.#renewals.answered(message.body);
    if (message.type !== "run") return;
    const { request, backup } = message.body;
    const verdict = this.#options.run(backup);
    if (verdict.accepted) {
      link.send("runAnswer", { request, accepted: true, message: wireText(verdict.message, DISOWN_TEXT_CHARS_MAX) });
      this.changed();
    } else {
      const { code, message: why } = verdict.failure;
      link.send("runAnswer", { request, accepted: false, code, message: wireText(why, DISOWN_TEXT_CHARS_MAX) });
    }
  }

  #lost(attempt: AbortController, failure: Failure): void {
    if (this.#attempt !== attempt) return;
    const { clock, random, log } = this.#options;
    const wasUp = this.#link !== undefined;
    if (wasUp && clock.now() - this.#upSinceMs >= STEADY_MS) this.#failures = 0;
    this.#down();
    this.#lastFailure = { wallMs: clock.wall(), code: failure.code, message: failure.message };
    const { reconnectDelayMs: initialDelayMs, maxReconnectDelayMs } = this.#settings;
    const limits = { initialDelayMs, maxDelayMs: Math.max(initialDelayMs, maxReconnectDelayMs) };
    const unit = random.unit();
    // A server that says when to come says it to all at once: they come a while later, and not together.
    const toldMs = Math.min(RETRY_AFTER_MS_MAX, failure.retryAfterMs ?? 0) * (1 + unit / 2);
    const delayMs = Math.max(toldMs, backoffDelayMs(limits, this.#failures, unit));
    this.#failures += 1;
    this.#timer = clock.after(delayMs, () => {
      this.#timer = undefined;
      this.#open();
    });
    const fields = { code: failure.code, reason: failure.message, retryMs: Math.round(delayMs) };
    if (wasUp || this.#failures === 1) log.warn("the control channel is down, and is opened again", fields);
    else log.debug("the control channel could not be opened", fields);
  }

  /** On purpose: nobody is told that it was lost. */
  #close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const attempt = this.#attempt;
    const link = this.#link;
    this.#down();
    if (link === undefined) attempt?.abort();
    else {
      link.send("goodbye", {});
      link.end();
    }
  }

  #down(): void {
    this.#renewals.fail(new Failure("E_DISCONNECTED", "the control channel broke before the answer came"));
    this.#attempt = undefined;
    this.#link = undefined;
    this.#upSinceWallMs = undefined;
    this.#tellTimer?.cancel();
    this.#tellTimer = undefined;
  }
}

/** What was decoded lies in the connection's buffer. */
function copied({ certificate, signature }: Succession): Succession {
  return { certificate: Uint8Array.from(certificate), signature: Uint8Array.from(signature) };
}
