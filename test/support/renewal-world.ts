/**
 * An agent that renews its certificate from a real server in memory, on a simulated clock. Certificates are lines of JSON here:
 * what they say is judged as ever, how they are signed and written is tested elsewhere.
 */
import { must } from "#base/assert.ts";
import type { Clock } from "#base/clock.ts";
import { Failure } from "#base/errors.ts";
import { CertificateRenewal } from "#agent/certificate-renewal.ts";
import { ControlLink } from "#agent/control-link.ts";
import type { Connection } from "#net/connection.ts";
import type { ObservedEvent } from "#observe/events.ts";
import { leafValidity } from "#pki/validity.ts";
import type { IssuedAgent } from "#server/issuer.ts";
import { Revocations } from "#server/revocations.ts";
import { memoryLogger } from "./memory-logger.ts";
import { type ScriptPipe, scriptPipe } from "./script-pipe.ts";
import { seededRandom } from "./seeded-random.ts";
import { RUN, ServerWorld, type WorldOptions } from "./server-world.ts";
import { SimClock } from "./sim-clock.ts";

export const DAY_MS = 86_400_000;
const AGENT = "web-1";
const KEEPALIVE_MS = 3_600_000;

export interface Certificate {
  readonly serial: string;
  readonly fingerprint: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface RenewalWorldOptions {
  /** Days that the first certificate has lived and will live. */
  readonly oldDays?: number;
  readonly leftDays?: number;
  /** Days until the CA ends. */
  readonly caDays?: number;
  /** False: the server has no key of the CA. */
  readonly renews?: boolean;
  /** How far the agent's clock is ahead of the server's. */
  readonly skewMs?: number;
  readonly enabled?: () => boolean;
  readonly prepare?: () => undefined;
  /** False: what the server gives is not issued by a CA that the agent knows. */
  readonly usable?: () => boolean;
}

export class RenewalWorld {
  readonly clock = new SimClock();
  readonly revocations = new Revocations();
  readonly registered: Certificate[] = [];
  readonly pipes: ScriptPipe[] = [];
  /** Of the agent. */
  readonly events: ObservedEvent[] = [];
  readonly link: ControlLink;
  readonly renewal: CertificateRenewal;
  /** What the agent has; the first one, then those that it installed. */
  readonly certificates: Certificate[];
  /** Requests that reached the issuer, and what it does before it signs. */
  readonly signed: string[] = [];
  beforeSigning: () => Promise<void> = () => Promise.resolve();
  server: ServerWorld | undefined;
  requests = 0;
  #renews: boolean;
  readonly #caNotAfterMs: number;

  private constructor(options: RenewalWorldOptions) {
    this.#renews = options.renews ?? true;
    const { clock } = this;
    const { oldDays = 55, leftDays = 35, caDays = 3650, skewMs = 0 } = options;
    const nowMs = Math.floor(clock.wall() / 1000) * 1000;
    this.#caNotAfterMs = nowMs + caDays * DAY_MS;
    this.certificates = [
      {
        ...{ serial: "0", fingerprint: "80".repeat(32) },
        ...{ notBeforeMs: nowMs - oldDays * DAY_MS, notAfterMs: nowMs + leftDays * DAY_MS },
      },
    ];
    const agentClock: Clock = {
      now: () => clock.now(),
      wall: () => clock.wall() + skewMs,
      after: (delayMs, fn) => clock.after(delayMs, fn),
    };
    const log = memoryLogger();
    const settings = {
      ...{ enabled: true, keepaliveIntervalMs: KEEPALIVE_MS, reconnectDelayMs: 5_000, maxReconnectDelayMs: 60_000 },
    };
    this.link = new ControlLink({
      ...{ clock: agentClock, random: seededRandom(1), log, settings },
      deps: () => ({
        clock: agentClock,
        dialer: { dial: () => this.#dial() },
        identity: { agent: AGENT, software: "nbackup-agent 0.0.0", run: RUN },
      }),
      facts: () => Promise.resolve({ uptimeMs: 0, backupCount: 0, backups: [] }),
      run: () => ({ accepted: false, failure: new Failure("E_BACKUP_UNKNOWN", "none") }),
      renews: () => this.renewal.look(),
    });
    this.renewal = new CertificateRenewal({
      ...{ clock: agentClock, log, channel: this.link },
      events: { emit: (event) => void this.events.push(event) },
      enabled: options.enabled ?? (() => true),
      current: () => this.current,
      prepare: options.prepare ?? (() => undefined),
      makeRequest: () => {
        this.requests += 1;
        return { keyPem: `key ${this.requests}`, requestDer: Buffer.from(`request ${this.requests}`) };
      },
      install: (certPem) => {
        const certificate = JSON.parse(certPem) as Certificate;
        if (options.usable?.() === false) throw new Failure("E_RENEWAL", "no certificate in the CA file has issued it");
        this.certificates.push(certificate);
        this.link.use(settings, true);
        return certificate;
      },
    });
  }

  static async start(options: RenewalWorldOptions = {}): Promise<RenewalWorld> {
    const world = new RenewalWorld(options);
    await world.serve();
    world.link.start();
    world.renewal.start();
    return world;
  }

  get current(): Certificate {
    return must(this.certificates.at(-1), "certificate");
  }

  /** A start of the server. */
  async serve(seed = 7): Promise<ServerWorld> {
    const register = {
      seen: () => undefined,
      unseen: () => [],
      known: () => true,
      issued: (_agent: string, { serial, fingerprint, notBeforeMs, notAfterMs }: Certificate) => {
        this.registered.push({ serial, fingerprint, notBeforeMs, notAfterMs });
        return Promise.resolve();
      },
    };
    const { clock, revocations } = this;
    const issuer = (): ReturnType<NonNullable<WorldOptions["issuer"]>> =>
      this.#renews ? { issueAgent: this.#issue.bind(this) } : undefined;
    this.server = await ServerWorld.start({ clock, revocations, register, seed, issuer });
    return this.server;
  }

  /** The server has the CA's key from now on. */
  offer(): void {
    this.#renews = true;
  }

  /** Of the server. */
  told(kind: string): readonly ObservedEvent[] {
    return must(this.server, "server").eventsOf(kind);
  }

  days(days: number): Promise<void> {
    return this.clock.advance(days * DAY_MS);
  }

  async close(): Promise<void> {
    this.renewal.stop();
    this.link.stop();
    await this.server?.close();
  }

  async #issue(name: string, requestDer: Uint8Array): Promise<IssuedAgent> {
    await this.beforeSigning();
    this.signed.push(Buffer.from(requestDer).toString());
    const limits = { caNotAfterMs: this.#caNotAfterMs, revokedMs: this.revocations.beforeMs(name) };
    const { notBeforeMs, notAfterMs } = leafValidity(this.clock.wall(), 825, limits);
    const serial = String(this.signed.length);
    const certificate: Certificate = { serial, fingerprint: serial.padStart(64, "0"), notBeforeMs, notAfterMs };
    return { name, certPem: JSON.stringify(certificate), ...certificate };
  }

  #dial(): Promise<Connection> {
    if (this.server === undefined) return Promise.reject(new Failure("E_CONNECT", "connection refused"));
    // Of this connection for as long as it stands.
    const peer = { commonName: AGENT, ...this.current };
    const pipe = scriptPipe(this.clock, `192.0.2.9:${this.pipes.length + 1}`, () => peer, { latencyMs: 20 });
    this.pipes.push(pipe);
    this.server.server.accept(pipe.server);
    return Promise.resolve(pipe.client);
  }
}
