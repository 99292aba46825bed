/**
 * Enrolment: makes tokens, opens the port while one is good, gives a certificate to who has it, and remembers what must not happen
 * twice. The order in which things reach the disk is said at each step; a machine that crashes anywhere comes again with the same token
 * and the same key.
 */
import { createHash } from "node:crypto";
import type { Clock, Timer } from "#base/clock.ts";
import { Failure, toFailure } from "#base/errors.ts";
import type { Logger } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { formatAddress, type HostPort } from "#net/address.ts";
import type { Connection, Listener } from "#net/connection.ts";
import type { EventSink } from "#observe/events.ts";
import { checkAgentName, refuseServerName } from "#pki/agent-names.ts";
import { parseCertificate } from "#pki/certificate.ts";
import { newToken, tokenText } from "#pki/enroll-token.ts";
import { isoSeconds } from "#pki/purpose.ts";
import { readRequest } from "#pki/request.ts";
import { revocationTime } from "#pki/revocations.ts";
import { AUTHORITIES_TEXT_CHARS_MAX, HEALTH_STORAGES_MAX } from "#wire/limits.ts";
import type { Message } from "#wire/messages.ts";
import type { CertificateRegister } from "./certificate-register.ts";
import { EnrollDesk, type EnrollOffice } from "./enroll-desk.ts";
import { agentEnrolled, certificateIssued, tokenMade } from "./enroll-events.ts";
import type { EnrollTokens, IssuedByToken, TokenRecord } from "./enroll-tokens.ts";
import type { Issuer } from "./issuer.ts";
import type { Revocations } from "./revocations.ts";

/** What a reload may change. */
export interface EnrollSettings {
  /** A Failure where this server issues no certificates: why. */
  readonly issuer: Issuer | Failure;
  /** PEM: tls.ca_cert. */
  readonly caPem: string;
  /** DER of the CA that the server's own certificate leads to. */
  readonly rootDer: Uint8Array;
  /** DER of the server's own certificate. */
  readonly serverDer: Uint8Array;
  readonly address: HostPort;
  /** Where agents connect to when they are enrolled. */
  readonly dataPort: number;
  readonly storagesOf: (agent: string) => readonly string[];
}

export interface EnrollmentOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly events: EventSink;
  readonly tokens: EnrollTokens;
  readonly register: Pick<CertificateRegister, "live" | "issued" | "beginningAfter">;
  readonly revocations: Pick<Revocations, "beforeMs" | "add">;
  readonly settings: EnrollSettings;
  /** Throws Failure E_LISTEN. */
  readonly listen: (address: HostPort, accept: (connection: Connection) => void) => Listener;
}

/** What the command prints. */
export interface EnrollTokenView {
  readonly agent: string;
  readonly token: string;
  /** `backup.example.org:9846`, as far as the server knows how it is reached. */
  readonly server: string;
  readonly expiresWallMs: number;
  readonly replace: boolean;
}

/** Wall clocks jump: whether a token is still good is looked at this often. */
const LOOK_MS = 60_000;

export class Enrollment implements EnrollOffice {
  readonly #options: EnrollmentOptions;
  readonly #desk: EnrollDesk;
  /** By the token's hash: one certificate is made at a time, whoever asks. */
  readonly #issuing = new Map<string, Promise<IssuedByToken>>();
  #settings: EnrollSettings;
  #listener: Listener | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: EnrollmentOptions) {
    const { clock, events, settings } = options;
    this.#options = options;
    this.#settings = settings;
    this.#desk = new EnrollDesk({ clock, events, office: this });
  }

  /** The port is open while a token is good. Undefined: it is closed. */
  get port(): number | undefined {
    return this.#listener?.port;
  }

  /** Tokens of an earlier start may still be good. A port that cannot be had is said in the log. */
  start(): void {
    this.#settle();
  }

  /** A reload: what is under way goes on, what begins goes by these. The port stays open where it is the same. */
  use(settings: EnrollSettings): void {
    const isMoved = formatAddress(settings.address) !== formatAddress(this.#settings.address);
    this.#settings = settings;
    if (isMoved) this.#close();
    this.#settle();
  }

  stop(failure: Failure): void {
    this.#stopped = true;
    this.#close();
    this.#desk.close(failure);
  }

  /**
   * A new token. When this resolves its hash is on the disk and the port is open. Rejects with Failure E_ENROLL_OFF, E_NAME, E_ENROLL_LIVE,
   * E_LISTEN, E_STATE_DIR.
   */
  async makeToken(agent: string, replace: boolean): Promise<EnrollTokenView> {
    const { random, tokens, events } = this.#options;
    this.#issuer();
    checkAgentName(agent);
    refuseServerName(agent, parseCertificate(this.#settings.serverDer), "by its certificate");
    if (!replace) this.#refuseLive(agent);
    this.#open();
    const token = newToken(createHash("sha256").update(this.#settings.rootDer).digest("hex"), random);
    try {
      const record = await tokens.add(token.secret, agent, replace);
      events.emit(tokenMade(record));
      const { expiresWallMs } = record;
      return { agent, token: tokenText(token), server: this.#address(), expiresWallMs, replace };
    } catch (error) {
      throw stateFailure(error);
    } finally {
      this.#settle();
    }
  }

  authority(): Uint8Array {
    return this.#settings.rootDer;
  }

  find(secret: Uint8Array): TokenRecord {
    const { tokens } = this.#options;
    const token = tokens.find(secret);
    this.#issuer();
    return token;
  }

  async issue(token: TokenRecord, request: Uint8Array, remote: string): Promise<Message<"certificate">> {
    const keyHash = createHash("sha256").update(readRequest(request).publicKeyDer).digest("hex");
    const making = this.#issuing.get(token.hash);
    const issued = making === undefined ? await this.#issueOnce(token, request, keyHash, remote) : await making;
    // Two machines with one token: the first to ask has it.
    if (issued.keyHash !== keyHash) throw otherKey(token.agent);
    const { caPem, dataPort, storagesOf } = this.#settings;
    return {
      certificate: issued.certPem,
      authorities: caPem,
      port: dataPort,
      storages: storagesOf(token.agent).slice(0, HEALTH_STORAGES_MAX),
    };
  }

  async installed(token: TokenRecord, fingerprint: Uint8Array, remote: string): Promise<void> {
    const { tokens, register, revocations, events } = this.#options;
    const { issued } = tokens.current(token);
    if (issued === undefined || issued.fingerprint !== Buffer.from(fingerprint).toString("hex")) {
      throw new Failure("E_PROTOCOL", "another certificate than the one that was sent is said to be installed");
    }
    try {
      // A crash behind this leaves a good token, whose owner says once more that it has the certificate.
      if (issued.revokesMs !== undefined) {
        const later = register.beginningAfter(token.agent, issued.revokesMs);
        const others = later.filter((one) => one !== issued.fingerprint);
        await revocations.add(token.agent, issued.revokesMs, others);
      }
      await tokens.used(token);
    } catch (error) {
      throw stateFailure(error);
    }
    events.emit(agentEnrolled(token, issued.serial, remote));
    this.#settle();
  }

  #issueOnce(token: TokenRecord, request: Uint8Array, keyHash: string, remote: string): Promise<IssuedByToken> {
    const known = this.#options.tokens.current(token).issued;
    // The answer was lost, or the machine crashed: it gets the same certificate.
    if (known !== undefined) return Promise.resolve(known);
    const making = this.#make(token, request, keyHash, remote).finally(() => this.#issuing.delete(token.hash));
    this.#issuing.set(token.hash, making);
    return making;
  }

  async #make(token: TokenRecord, request: Uint8Array, keyHash: string, remote: string): Promise<IssuedByToken> {
    const { clock, tokens, register, revocations, events } = this.#options;
    const { agent, replace } = token;
    // The name may have come alive since the token was made.
    if (!replace) this.#refuseLive(agent);
    // What is older is revoked up to a whole second, so the new one begins behind it. One that is renewed until then is revoked with the
    // others: it begins an hour before it is made, and no token lives longer.
    const revokesMs = replace ? revocationTime(clock.wall(), revocations.beforeMs(agent)) : undefined;
    const certificate = await this.#issuer().issueAgent(agent, request, revokesMs);
    const { certPem, fingerprint, serial, notBeforeMs, notAfterMs } = certificate;
    const issued = { keyHash, certPem, fingerprint, serial, notBeforeMs, notAfterMs };
    try {
      // Both before it is sent: no certificate is out there that this server does not know of. A crash before them has made none, and
      // one between them only has the name free for who asks for a token by it.
      await tokens.keepIssued(token, revokesMs === undefined ? issued : { ...issued, revokesMs });
      await register.issued(agent, { fingerprint, serial, notBeforeMs, notAfterMs });
    } catch (error) {
      throw stateFailure(error);
    }
    events.emit(certificateIssued(certificate, remote, "enrolment"));
    return revokesMs === undefined ? issued : { ...issued, revokesMs };
  }

  #issuer(): Issuer {
    const { issuer, caPem } = this.#settings;
    if (issuer instanceof Failure) throw issuer;
    if (caPem.length > AUTHORITIES_TEXT_CHARS_MAX) {
      throw new Failure(
        "E_ENROLL_OFF",
        `tls.ca_cert holds ${caPem.length} characters of certificates, too many to send`,
        {
          hint: "Leave only the CAs of agents and servers in it.",
        },
      );
    }
    return issuer;
  }

  #refuseLive(agent: string): void {
    const live = this.#options.register.live(agent);
    if (live === undefined) return;
    throw new Failure("E_ENROLL_LIVE", `${agent} has a certificate that is valid until ${isoSeconds(live.notAfterMs)}`);
  }

  /** Opens the port while a token is good, closes it when none is. */
  #settle(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const goodForMs = this.#options.tokens.goodForMs;
    if (this.#stopped || goodForMs === undefined || this.#settings.issuer instanceof Failure) {
      this.#close();
      return;
    }
    try {
      this.#open();
    } catch (error) {
      const { code, message } = toFailure(error);
      this.#options.log.error("the enrolment port cannot be opened", { code, reason: message });
    }
    this.#timer = this.#options.clock.after(Math.min(LOOK_MS, goodForMs), () => this.#settle());
  }

  #open(): void {
    if (this.#listener !== undefined) return;
    const { address } = this.#settings;
    this.#listener = this.#options.listen(address, (connection) => this.#desk.accept(connection));
    const where = formatAddress({ host: address.host, port: this.#listener.port });
    this.#options.log.info("the enrolment port is open", { address: where });
  }

  #close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#listener === undefined) return;
    this.#listener.stop();
    this.#listener = undefined;
    this.#options.log.info("the enrolment port is closed", {});
  }

  /** The first of the certificate's names that others than this machine itself can use. */
  #address(): string {
    const { serverDer, address } = this.#settings;
    const { dnsNames, ipAddresses } = parseCertificate(serverDer);
    const names = [...dnsNames.filter((name) => name !== "localhost"), ...ipAddresses.filter(isReachable), ...dnsNames];
    return formatAddress({ host: names[0] ?? ipAddresses[0] ?? address.host, port: this.port ?? address.port });
  }
}

function isReachable(ip: string): boolean {
  return !ip.startsWith("127.") && ip !== "::1";
}

function otherKey(agent: string): Failure {
  return new Failure("E_ENROLL_TOKEN", `another machine has asked with this token for the certificate of ${agent}`, {
    hint: "If that was not you, somebody else has the token: revoke with nbackup-server pki revoke, and make a new one. If it was, begin anew with a new token and --replace.",
  });
}

function stateFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure("E_STATE_DIR", `the server cannot write its state_dir: ${String(error)}`, { cause: error });
}
